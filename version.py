"""The one version that all five distributions carry; `tools/bump.py` changes it."""

__version__ = "1.0.0.dev0"
