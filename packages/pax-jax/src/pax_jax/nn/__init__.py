"""Layers."""

from ._batch_norm import BatchNorm1D, BatchNorm2D
from ._conv import Conv2D
from ._dropout import Dropout
from ._lambda import Lambda
from ._linear import Linear
from ._pool import avg_pool, max_pool
from ._sequential import Sequential

__all__ = [
    "BatchNorm1D",
    "BatchNorm2D",
    "Conv2D",
    "Dropout",
    "Lambda",
    "Linear",
    "Sequential",
    "avg_pool",
    "max_pool",
]
