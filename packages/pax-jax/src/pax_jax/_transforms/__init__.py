"""JAX's transformations, for functions of modules."""
