"""What joins Python callables to XLA's custom calls."""
