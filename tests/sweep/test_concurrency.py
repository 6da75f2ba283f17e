"""How a machine is shared out among the runs of a sweep."""

from __future__ import annotations

import pytest

from plastikit.sweep.concurrency import concurrency


@pytest.mark.parametrize(
    ("asked", "left", "cores", "is_on_gpu", "expected"),
    [
        (None, 40, 16, False, (16, 1)),
        (None, 3, 16, False, (3, 5)),
        (None, 40, 16, True, (2, 8)),
        (None, 1, 16, True, (1, 16)),
        (None, 40, 1, True, (1, 1)),
        (6, 40, 16, True, (6, 2)),
        (6, 40, 4, False, (6, 1)),
        (6, 2, 4, False, (2, 2)),
    ],
)
def test_runs_and_the_cores_of_each(
    asked: int | None, left: int, cores: int, *, is_on_gpu: bool, expected: tuple[int, int]
) -> None:
    """One run per core, two on a GPU, or as many as are asked for, but no more than are left; cores are shared out."""
    assert concurrency(asked, left=left, cores=cores, is_on_gpu=is_on_gpu) == expected
