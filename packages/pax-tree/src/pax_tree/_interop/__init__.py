"""What this library shares with JAX and PyTorch, without importing either."""
