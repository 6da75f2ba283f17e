"use strict";
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const night = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)").matches;
  const at = (id) => document.getElementById(id);
  const element = (name, text) => Object.assign(document.createElement(name), { textContent: text });

  // Colours are written for paper; on a dark ground each has a counterpart.
  const coloured = (value) => (night.matches
    ? JSON.parse(JSON.stringify(value).replace(/#[0-9a-f]{6}/g, (colour) => content.dark[colour] ?? colour))
    : structuredClone(value));

  const draw = (place, panel) => {
    const target = at(place);
    at(`${place}-caption`).textContent = panel.caption;
    if (!panel.figure) {
      Plotly.purge(target);
      const sentence = element("p", panel.sentence);
      sentence.className = "empty";
      target.replaceChildren(sentence);
      target.style.minHeight = "";
      return;
    }
    target.querySelector(".empty")?.remove();
    const { data, layout } = coloured(panel.figure);
    layout.template = coloured(content.template);
    layout.dragmode = coarse ? false : "zoom";
    target.style.minHeight = `${layout.height}px`;
    Plotly.react(target, data, layout, {
      responsive: true,
      displaylogo: false,
      displayModeBar: coarse ? false : "hover",
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d", "pan2d"],
    });
  };

  const fill = (select, entries) => {
    const kept = select.value;
    select.replaceChildren();
    const groups = new Map();
    for (const { value, label, group } of entries) {
      if (group && !groups.has(group)) {
        const box = document.createElement("optgroup");
        box.label = group;
        groups.set(group, select.appendChild(box));
      }
      (groups.get(group) ?? select).append(new Option(label, value));
    }
    if (entries.some((entry) => entry.value === kept)) select.value = kept;
  };

  const chosen = () => content.choices.find((choice) => choice.key === at("metric").value);
  const nothing = { figure: null, caption: "" };

  const showReadings = ({ readings = [], remarks = [] }) => {
    at("readings").replaceChildren(...readings.flatMap(({ title, lines }) => [
      element("dt", title),
      ...lines.map(([found, about]) => {
        const value = element("dd", found);
        value.append(element("small", about));
        return value;
      }),
    ]));
    at("remarks").replaceChildren(...remarks.map((remark) => element("p", remark)));
    at("readings").parentElement.hidden = readings.length + remarks.length === 0;
  };

  const showScaling = () => {
    const panel = chosen()?.scaling[at("network").value] ?? { ...nothing, sentence: content.empty };
    showReadings(panel); // first: the figure takes the room that is left
    draw("scaling", panel);
  };
  const showLayers = () => draw("layers", chosen()?.histories[at("run").value]
    ?? { ...nothing, sentence: chosen() ? content.no_layers : content.empty });
  const showCurves = () => draw("curves", content.curves[at("curve").value] ?? { ...nothing, sentence: content.no_curves });

  const showMetric = () => {
    const networks = Object.keys(chosen()?.scaling ?? {});
    fill(at("network"), networks.map((name) => ({ value: name, label: name })));
    at("network-field").hidden = networks.length < 2;
    at("metric-term").dataset.metric = chosen()?.terms.join("\n") ?? "";
    at("metric-term").hidden = !chosen();
    document.querySelector(".chooser").hidden = !chosen();
    at("run").closest("p").hidden = Object.keys(chosen()?.histories ?? {}).length < 2;
    showScaling();
    showLayers();
  };
  const showAll = () => { showMetric(); showCurves(); };

  // Definitions: on hovering, on focus and on a tap; Escape closes.
  const tip = at("tip");
  let owner = null;
  let leaving = 0;
  const close = () => {
    owner?.setAttribute("aria-expanded", "false");
    owner?.removeAttribute("aria-describedby");
    owner = null;
    tip.hidden = true;
  };
  const open = (button) => {
    clearTimeout(leaving);
    const sources = button.dataset.metric.split("\n").map((name) => at(`definition-${name}`)).filter(Boolean);
    if (owner === button || !sources.length) return;
    close();
    owner = button;
    tip.replaceChildren(...sources.flatMap((source) => [
      element("h3", source.querySelector("summary").textContent), source.querySelector("dl").cloneNode(true),
    ]));
    tip.hidden = false;
    tip.style.maxHeight = "";
    button.setAttribute("aria-expanded", "true");
    button.setAttribute("aria-describedby", "tip");
    const box = button.getBoundingClientRect();
    const room = document.documentElement.clientWidth;
    tip.style.left = `${Math.max(16, Math.min(box.left, room - tip.offsetWidth - 16)) + scrollX}px`;
    const [above, below] = [box.top - 16, innerHeight - box.bottom - 16];
    const under = below >= Math.min(tip.scrollHeight, above);
    tip.style.maxHeight = `${Math.max(under ? below : above, 120)}px`;
    tip.style.top = `${(under ? box.bottom + 8 : box.top - tip.offsetHeight - 8) + scrollY}px`;
  };
  const closeSoon = () => { leaving = setTimeout(close, 180); };
  for (const button of document.querySelectorAll(".term")) {
    button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && open(button));
    button.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && closeSoon());
    button.addEventListener("focus", () => open(button));
    button.addEventListener("blur", closeSoon);
    button.addEventListener("click", () => open(button));
  }
  tip.addEventListener("pointerenter", () => clearTimeout(leaving));
  tip.addEventListener("pointerleave", closeSoon);
  document.addEventListener("keydown", (event) => event.key === "Escape" && close());
  document.addEventListener("pointerdown", (event) => {
    if (owner && !tip.contains(event.target) && !owner.contains(event.target)) close();
  });

  fill(at("metric"), content.choices.map(({ key, label, group }) => ({ value: key, label, group })));
  if (content.first) at("metric").value = content.first;
  fill(at("run"), content.runs.map((name) => ({ value: name, label: name })));
  if (content.first_run) at("run").value = content.first_run;
  fill(at("curve"), Object.keys(content.curves).map((name) => ({ value: name, label: name })));
  at("curve").closest("p").hidden = Object.keys(content.curves).length < 2;
  at("metric").addEventListener("change", showMetric);
  at("network").addEventListener("change", showScaling);
  at("run").addEventListener("change", showLayers);
  at("curve").addEventListener("change", showCurves);
  night.addEventListener("change", showAll);
  showAll();
})();
