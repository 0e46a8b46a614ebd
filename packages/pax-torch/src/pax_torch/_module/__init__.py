"""Modules of PyTorch as pure functions of their parameters and buffers."""

from __future__ import annotations
