"""Devices that still work for the training when a record asks them for a value."""

from __future__ import annotations

from collections.abc import Iterable

import torch


def wait_for_training(values: Iterable[object]) -> None:
    """Let the devices on which ``values`` lie end what the training handed them; of the host nothing is awaited.

    A record waits for its device anyway, where it reads its first number. Waited for before its clock starts, the
    training's own work is not counted as the record's. What is counted nowhere is that the device then stands idle
    until the host hands it more.
    """
    devices = {value.device for value in values if isinstance(value, torch.Tensor) and value.is_cuda}
    for device in devices:
        # While a graph is captured nothing runs, and whoever waits breaks it.
        if not torch.cuda.is_current_stream_capturing():
            torch.cuda.current_stream(device).synchronize()
