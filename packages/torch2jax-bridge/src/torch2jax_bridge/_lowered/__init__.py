"""PyTorch functions as JAX operations: recorded once, then evaluated with a rule for each operator."""
