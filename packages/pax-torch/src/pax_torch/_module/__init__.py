"""Modules of PyTorch as pure functions of their parameters and buffers."""

from __future__ import annotations

from pax_torch._compat import runs_in_python

runs_in_python(__name__)
