"""Independent random streams, each named after what draws from it."""

from __future__ import annotations

import numpy as np
import torch

from plastikit.train.randomness import numpy_generator, torch_generator


def test_a_stream_depends_on_its_seed_and_names_alone() -> None:
    """Asked again, a stream gives the same numbers; another name or seed gives others."""
    first = numpy_generator(0, "goals", "reach-v3").random(4)
    assert np.array_equal(first, numpy_generator(0, "goals", "reach-v3").random(4))
    assert not np.array_equal(first, numpy_generator(0, "goals", "push-v3").random(4))
    assert not np.array_equal(first, numpy_generator(1, "goals", "reach-v3").random(4))


def test_torch_streams_leave_the_global_state_alone() -> None:
    """Drawing from a stream moves no other generator."""
    before = torch.get_rng_state()
    drawn = torch.randn(3, generator=torch_generator(0, "actor"))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(drawn, torch.randn(3, generator=torch_generator(0, "actor")))
    assert not torch.equal(drawn, torch.randn(3, generator=torch_generator(0, "critic_0")))
