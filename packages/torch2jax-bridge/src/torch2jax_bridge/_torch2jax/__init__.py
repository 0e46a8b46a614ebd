"""PyTorch functions and modules as JAX functions."""
