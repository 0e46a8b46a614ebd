"""Forward-mode differentiation in several threads, such as those that XLA runs its devices in."""

from __future__ import annotations

from pax_tree._forward_level import forward_level

__all__ = ["forward_level"]
