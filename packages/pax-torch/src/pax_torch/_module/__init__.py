"""Modules of PyTorch as pure functions of their parameters and buffers."""
