"""The rules: what each operator of PyTorch computes, in JAX operations."""

from torch2jax_bridge._lowered.rules import (  # noqa: F401
    activations,
    attention,
    convolution,
    creation,
    elementwise,
    fourier,
    gradients,
    indexing,
    linalg,
    losses,
    matmul,
    normalization,
    pooling,
    random,
    recurrent,
    reductions,
    scatter,
    shapes,
    sorting,
)
