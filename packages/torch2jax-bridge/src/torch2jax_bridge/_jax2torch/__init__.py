"""JAX functions as PyTorch functions."""
