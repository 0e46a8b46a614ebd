"""Zero-copy PyTorch inside jitted JAX, with derivatives and batching."""
