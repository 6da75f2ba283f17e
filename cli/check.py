"""``plastikit check``: whether the files of runs are what was written, and what survives where they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from plastikit.cli import options
from plastikit.errors import PlastikitError

if TYPE_CHECKING:
    from plastikit.record.place import Place
    from plastikit.record.repair import Repair
    from plastikit.record.verification import Verdict

Locations = Annotated[
    list[str], typer.Argument(help="Runs, folders of runs, or patterns; paths or URLs.", show_default=False)
]


def check(
    runs: Locations,
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make what is damaged readable; what is lost is missing from then on.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Read every file of a run, and say what is damaged and what survives; exit code 1 where damage is left."""
    from plastikit.cli import console
    from plastikit.record.finding import places_of

    answers = [_answer(place, repairs=repair) for run in runs for place in places_of(run)]
    if json:
        console.print_json({"runs": answers})
    else:
        for answer in answers:
            _show(answer)
    if any(not (answer["whole"] or answer.get("repaired")) for answer in answers):
        raise typer.Exit(1)


def _answer(place: Place, *, repairs: bool) -> dict[str, Any]:
    from plastikit.record.repair import repair
    from plastikit.record.verification import verify

    try:
        if not repairs:
            return _found(verify(place))
        return _repaired(repair(place))
    except PlastikitError as error:
        return {"run": place.location, "whole": False, "error": str(error)}
    except OSError as error:
        reason = error.strerror or str(error)
        return {
            "run": place.location,
            "whole": False,
            "error": f"{place.location} cannot be {'repaired' if repairs else 'read'}: {reason}; "
            "make sure that it is there and that you may reach it",
        }


def _found(verdict: Verdict) -> dict[str, Any]:
    return {
        "run": verdict.place.location,
        "state": verdict.attributes["state"],
        "schema_version": verdict.attributes["schema_version"],
        "whole": not verdict.damaged,
        "damaged": [
            {
                "file": file.key,
                "variable": file.variable,
                "rows": None if file.rows is None else list(file.rows),
                "reason": file.reason,
                "told": str(file),
            }
            for file in verdict.damaged
        ],
        "survives": verdict.survives,
        "dropped": list(verdict.attributes.get("dropped", [])),
    }


def _repaired(done: Repair) -> dict[str, Any]:
    answer = _found(done.found)
    if not answer["whole"]:
        answer |= {
            "repaired": True,
            "kept_in": done.kept_in,
            "dropped": [*answer["dropped"], *done.dropped],
        }
    return answer


def _show(answer: dict[str, Any]) -> None:
    from plastikit.cli import console

    if "error" in answer:
        console.say(f"error: {answer['error']}", is_note=True)
        return
    verdict = "whole" if answer["whole"] else f"{_counted(len(answer['damaged']), 'file')} damaged"
    console.say(f"{answer['run']} ({answer['state']}): {verdict}", style="" if answer["whole"] else "bold red")
    for file in answer["damaged"]:
        console.say(f"  damaged   {file['told']}")
    if not answer["whole"]:
        for group, found in answer["survives"].items():
            whole = f"{found['whole']} of {_counted(found['variables'], 'variable')} whole"
            console.say(f"  survives  {group}: {_counted(found['rows'], 'row')}, {whole}")
    for entry in answer["dropped"]:
        variable = "/".join(filter(None, (entry["group"], entry.get("variable"))))
        span = f"{_counted(entry['rows'], 'row')} from {entry['first']} to {entry['last']}"
        console.say(f"  lost      {variable}: {span} ({entry['reason']})")
    if answer.get("repaired"):
        console.say(f"  repaired  the damaged files are kept in {answer['run']}/{answer['kept_in']}")
    elif not answer["whole"]:
        console.say(f"  'plastikit check {answer['run']} --repair' makes what survives readable")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
