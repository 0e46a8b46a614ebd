"""`python -m torch2jax_bridge`: what is installed, what shares memory, and whether it works here."""

from __future__ import annotations

import sys

from torch2jax_bridge._self_check import main

if __name__ == "__main__":
    sys.exit(main())
