"""Where networks are trained."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from plastikit.errors import ConfigurationError, UnknownNameError
from plastikit.train.config import TrainingConfig
from plastikit.train.device import tf32, training_device

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
needs_no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="what is said where there is no CUDA device")


def test_auto_takes_a_gpu_where_there_is_one() -> None:
    """The default device."""
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert training_device(TrainingConfig()).type == expected
    assert training_device(TrainingConfig(device="cpu")).type == "cpu"


@needs_no_cuda
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_a_gpu_that_is_not_there_is_refused(name: str) -> None:
    """The message says what was asked for, what there is, and what to do, in one line."""
    with pytest.raises(
        ConfigurationError, match=f"device is '{name}'.* finds 0 CUDA devices.* 'cpu' or 'auto'"
    ) as error:
        training_device(TrainingConfig(device=name))
    assert "\n" not in str(error.value)


@needs_cuda
def test_a_gpu_beyond_the_last_is_refused() -> None:
    """There is no such number."""
    with pytest.raises(ConfigurationError, match="device is 'cuda:99'"):
        training_device(TrainingConfig(device="cuda:99"))


@pytest.mark.parametrize("name", ["gpu", "meta", "cuda:", "cuda:one", "cpu:1", "auto:0", ""])
def test_names_that_are_none_are_refused(name: str) -> None:
    """Only the names that the configuration tells of."""
    with pytest.raises(UnknownNameError, match="unknown device"):
        training_device(TrainingConfig(device=name))


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_precisions_of_a_gpu_are_refused_on_a_cpu(precision: str) -> None:
    """A CPU computes float32."""
    with pytest.raises(ConfigurationError, match=f"precision is '{precision}' and the device is cpu"):
        training_device(TrainingConfig(device="cpu", precision=precision))


def test_tf32_is_not_left_behind() -> None:
    """Inside the block alone, and nowhere where it is off."""
    before = torch.get_float32_matmul_precision()
    with tf32(is_on=True):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before
    with tf32(is_on=False):
        assert torch.get_float32_matmul_precision() == before


def test_two_ways_to_set_a_precision_are_told() -> None:
    """Torch that was told in the newer of its two ways refuses the older; in a process of its own, which it spoils."""
    code = """
import torch
from plastikit.errors import ConfigurationError
from plastikit.train.device import tf32
torch.backends.cuda.matmul.fp32_precision = "tf32"
try:
    with tf32(is_on=True):
        pass
except ConfigurationError as error:
    print(error)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "fp32_precision of torch.backends was set in this process" in answer.stdout
