"""Derivatives of functions of trees: reverse and forward mode, Jacobians, custom rules."""

from __future__ import annotations
