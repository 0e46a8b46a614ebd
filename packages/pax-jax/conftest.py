"""The examples of what an extra brings run where that library is installed."""

from importlib.util import find_spec

NEEDS = {
    "_checkpoint.py": "orbax",
    "_interop/equinox.py": "equinox",
    "_interop/flax.py": "flax",
    "_interop/haiku.py": "haiku",
    "_interop/haiku_layers.py": "haiku",
    "_interop/optax.py": "optax",
    "_interop/torch.py": "torch2jax_bridge",
    "_precision.py": "jmp",
    "_weights.py": "torch2jax_bridge",
}

collect_ignore = [
    f"src/pax_jax/{file}" for file, library in NEEDS.items() if find_spec(library) is None
]
