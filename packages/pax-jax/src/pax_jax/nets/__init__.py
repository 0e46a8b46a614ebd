"""Whole networks."""

from ._transformer import Transformer, TransformerBlock

__all__ = ["Transformer", "TransformerBlock"]
