"""What every test shares: one thread each, so that parallel workers and repeated runs agree."""

from __future__ import annotations

import os

# Read when torch and NumPy load, which is after this file.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
