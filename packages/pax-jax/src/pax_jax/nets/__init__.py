"""Whole networks."""

from ._language_model import LanguageModel
from ._resnet import ResNet, ResNet18, ResNet34, ResNet50, ResNet101, ResNet152, ResNet200
from ._transformer import Transformer, TransformerBlock
from ._vision_transformer import VisionTransformer

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
