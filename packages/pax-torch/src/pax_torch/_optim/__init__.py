"""Optimizers of PyTorch as pure functions of parameters, gradients and state."""

from __future__ import annotations
