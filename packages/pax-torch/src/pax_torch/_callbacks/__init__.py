"""Functions that are called in Python from transformed and compiled code."""

from __future__ import annotations
