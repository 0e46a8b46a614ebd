"""Optimizers of PyTorch as pure functions of parameters, gradients and state."""

from __future__ import annotations

from pax_torch._compat import runs_in_python

# Not the formulas and the averages, which compute with tensors alone.
for _module in ("checks", "multi_transform", "optimizer", "state", "torch_class"):
    runs_in_python(f"{__name__}.{_module}")
