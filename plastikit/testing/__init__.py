"""For tests of code that stands on plastikit: runs with made-up values, and the rules that every probe keeps."""

from plastikit.testing.conformance import RULES, Rule, check_probe
from plastikit.testing.runs import write_synthetic_run, write_synthetic_sweep

__all__ = ["RULES", "Rule", "check_probe", "write_synthetic_run", "write_synthetic_sweep"]
