"""Derivatives of functions of trees: reverse and forward mode, Jacobians, custom rules."""

from __future__ import annotations

from pax_torch._compat import runs_in_python

runs_in_python(__name__)
