"""Statistics over recorded runs: numbers in, numbers out. The unit is the run."""

from plastikit.analysis.aggregate import Interval, bootstrap_interval, interquartile_mean
from plastikit.analysis.catalogue import Metric, find_metric, metrics, networks
from plastikit.analysis.cells import Cell, RunValue
from plastikit.analysis.courses import course
from plastikit.analysis.curves import task_curves
from plastikit.analysis.layers import layer_history
from plastikit.analysis.scaling import Scaling, scaling
from plastikit.analysis.selection import Selection, select
from plastikit.analysis.slopes import Slope
from plastikit.analysis.summary import Summary, summary

__all__ = [
    "Cell",
    "Interval",
    "Metric",
    "RunValue",
    "Scaling",
    "Selection",
    "Slope",
    "Summary",
    "bootstrap_interval",
    "course",
    "find_metric",
    "interquartile_mean",
    "layer_history",
    "metrics",
    "networks",
    "scaling",
    "select",
    "summary",
    "task_curves",
]
