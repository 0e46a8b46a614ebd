"""Whole networks."""

from pax_jax.nets._language_model import LanguageModel
from pax_jax.nets._resnet import (
    ResNet,
    ResNet18,
    ResNet34,
    ResNet50,
    ResNet101,
    ResNet152,
    ResNet200,
)
from pax_jax.nets._transformer import Transformer, TransformerBlock
from pax_jax.nets._vision_transformer import VisionTransformer

__all__ = [
    "LanguageModel",
    "ResNet",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "ResNet200",
    "Transformer",
    "TransformerBlock",
    "VisionTransformer",
]
