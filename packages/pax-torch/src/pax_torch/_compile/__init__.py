"""Functions that are traced once: `jit` and `eval_shape`."""

from __future__ import annotations
