"""Functions that are traced once: `jit` and `eval_shape`."""

from __future__ import annotations

from pax_torch._compat import runs_in_python

runs_in_python(__name__)
