"""Plotly figures of analysed data, and the page that holds them."""

from plastikit.figures.courses import course_figure
from plastikit.figures.layers import layer_figure
from plastikit.figures.scaling import scaling_figure
from plastikit.figures.tasks import run_curves_figure, task_curves_figure

__all__ = ["course_figure", "layer_figure", "run_curves_figure", "scaling_figure", "task_curves_figure"]
