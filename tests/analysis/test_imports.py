"""What the analysis leans on."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_analysis_loads_neither_torch_nor_plots_nor_statistics_packages() -> None:
    """plastikit.analysis alone leaves torch, Zarr, Plotly, SciPy's statistics and statsmodels unloaded."""
    code = (
        "import sys, plastikit.analysis; "
        "print([m for m in ('torch', 'zarr', 'plotly', 'scipy.stats', 'statsmodels') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
