"""Functions that are traced once: `jit` and `eval_shape`."""
