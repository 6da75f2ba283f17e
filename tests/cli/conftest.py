"""What several commands are tried with."""

from __future__ import annotations

from pathlib import Path

import pytest

_MODULE = """
from pathlib import Path

import gymnasium
from gymnasium.envs.classic_control.pendulum import PendulumEnv

MODEL = Path(__file__).with_name("arm.xml")

class Needing(PendulumEnv):
    def __init__(self):
        MODEL.read_text()
        super().__init__()

gymnasium.register("Needing-v0", entry_point=Needing)
"""


@pytest.fixture
def needing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A task whose environment cannot be made without the file ``arm.xml`` in ``tmp_path``, which is there."""
    # A name of its own: what one test imported would else be another's.
    module = f"needing_{tmp_path.name}"
    (tmp_path / f"{module}.py").write_text(_MODULE)
    (tmp_path / "arm.xml").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    return f"{module}:Needing-v0"
