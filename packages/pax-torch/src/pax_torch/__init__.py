"""JAX's API on PyTorch: grad, functional modules, optimizers and schedules."""
