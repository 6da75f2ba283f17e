"""The fused path of torch's transformer encoder, which calls none of its modules, is seen like the slow one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import plastikit
from plastikit import every
from zoo import models_attention as attention
from zoo.reckoning import VARIABLES, Reckoning, Values, probes

GRADIENTS = ("unit_gradient", "grama_dormant_fraction")


def _expected(model: torch.nn.Module, given: torch.Tensor) -> Values:
    reckoning = Reckoning()
    values = {name: tensor.detach().double() for name, tensor in model.state_dict().items()}
    attention.of_encoder(is_batch_first=True, share=0.0)(values, reckoning, given.double())
    return reckoning.expected("model")


def test_measured_in_evaluation() -> None:
    """``measure`` runs without gradients in evaluation mode, where the fused path would be taken."""
    torch.manual_seed(0)
    model = attention.encoder(is_batch_first=True, share=0.1)()
    given = torch.randn(3, 4, 8)
    found = plastikit.measure(model, given, probes=probes())
    for variable, row in _expected(model, given).items():
        for label, value in row.items():
            got = found[variable][label]
            got = list(got.values()) if isinstance(got, dict) else got
            np.testing.assert_allclose(got, value, rtol=1e-4, atol=1e-6, err_msg=f"{variable} of {label}")


def test_observed_while_the_model_trains(tmp_path: Path) -> None:
    """``observe`` measures the weights of that moment; the training goes on to the same bits."""
    states = []
    for is_watched in (False, True):
        torch.manual_seed(0)
        model = attention.encoder(is_batch_first=True, share=0.1)()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        probe_batch = torch.randn(3, 4, 8)
        if is_watched:
            monitor = plastikit.attach(
                model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=every(2), probes=probes()
            )
        for number in range(6):
            optimizer.zero_grad()
            loss = model(torch.randn(4, 4, 8)).square().mean()
            if number == 4:
                with torch.no_grad():
                    # The user's own evaluation, by the fused path, on a due step.
                    model.eval()
                    model(probe_batch)
                    model.train()
            if is_watched and number == 4:
                expected = _expected(model, probe_batch)
                monitor.observe(probe_batch)
            loss.backward()
            optimizer.step()
        states.append([parameter.detach().clone() for parameter in model.parameters()])
    monitor.close()
    assert all(one.equal(other) for one, other in zip(*states, strict=True))
    diagnostics = plastikit.open_run(tmp_path / "run.zarr")["diagnostics"].to_dataset()
    for variable in VARIABLES:
        for label, value in expected.get(variable, {}).items():
            row = diagnostics[f"observed_{variable}"].sel(step=4)
            if row.dims[0] == "unit":
                position = list(diagnostics["layer"].values).index(label)
                got = row.values[diagnostics["unit_layer"].values == position]
            else:
                got = row.sel({row.dims[0]: label}).values
            np.testing.assert_allclose(got, value, rtol=1e-4, atol=1e-6, err_msg=f"{variable} of {label}")
