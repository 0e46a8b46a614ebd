"""Fast pytrees in C++ with JAX's semantics, needing neither PyTorch nor JAX."""
