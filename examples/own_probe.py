"""A probe of your own: how much of a layer comes from its loudest unit. ``plastikit.testing.check_probe`` tests it."""

import torch

import plastikit
from plastikit.watch.probe import Capture, Needs, Reading, Tier


class Loudest:
    """Share of the loudest unit in a layer's activity."""

    name, tier, needs, axes = "loudest", Tier.STEP, Needs.FEATURES, dict[str, tuple[float, ...]]()
    definitions = (plastikit.schema.Definition(
        variable="loudest_share", id="loudest_share/mean_absolute", long_name="share of the loudest unit", units="1",
        dims=("layer",), description="Largest mean |activation| of a unit over the units' sum.", valid_range="[0, 1]",
        pitfalls="Falls with the width.", reference="", cost="one pass over the activations"),)  # fmt: skip

    def __call__(self, capture: Capture) -> Reading:
        """Measure each layer."""
        means = {layer: features.float().abs().mean(dim=0) for layer, features in capture.features.items()}
        return {"loudest_share": {layer: mean.max() / mean.sum() for layer, mean in means.items()}}


model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
print(plastikit.measure(model, torch.randn(64, 8), probes=["dormancy", Loudest()]))
