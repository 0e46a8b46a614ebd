"""The examples of what an extra brings run where that library is installed."""

from importlib.util import find_spec

NEEDS = {
    "_from_haiku.py": "haiku",
    "_from_equinox.py": "equinox",
    "_from_flax.py": "flax",
    "_from_torch.py": "torch2jax_bridge",
    "optim.py": "optax",
    "_unroll.py": "haiku",
    "checkpoint.py": "orbax",
    "weights.py": "torch2jax_bridge",
    "haiku.py": "haiku",
    "_mixed_precision.py": "jmp",
    "experimental/_precision.py": "jmp",
}

collect_ignore = [
    f"src/pax_jax/{file}" for file, library in NEEDS.items() if find_spec(library) is None
]
