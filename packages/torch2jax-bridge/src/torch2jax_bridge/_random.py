"""Random numbers that are a function of a JAX key."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from hashlib import blake2b
from typing import Any

import jax
import jax.numpy as jnp
import torch

# PyTorch's generators belong to the process: two calls that seed them may not overlap.
_generators = threading.RLock()
_scope = threading.local()


def as_key_data(key: Any) -> jax.Array:
    """Return the numbers of a JAX key, typed or not, as an array of uint32.

    Raises:
        TypeError: it is no key.
    """
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    if not isinstance(key, jax.Array) or key.dtype != jnp.uint32 or key.ndim != 1:
        raise TypeError(f"rng is {key!r}, expected one key of jax.random.key")
    return key


def is_seeded() -> bool:
    """Whether this thread is in `seeded`."""
    return getattr(_scope, "depth", 0) > 0


@contextmanager
def seeded(key: torch.Tensor) -> Iterator[None]:
    """In the `with` block PyTorch's generators give the numbers that belong to a key.

    Args:
        key: uint32 of shape (n,). On a GPU the host waits for it.
    """
    _scope.depth = getattr(_scope, "depth", 0) + 1
    try:
        with nullcontext() if has_no_values(key) else _forked(key):
            yield
    finally:
        _scope.depth -= 1


def has_no_values(tensor: torch.Tensor) -> bool:
    """Whether a tensor is a fake one, with which results are inferred."""
    return isinstance(tensor, torch._subclasses.FakeTensor)


@contextmanager
def _forked(key: torch.Tensor) -> Iterator[None]:
    devices = [key.device] if key.device.type == "cuda" else []
    with _generators, torch.random.fork_rng(devices):
        torch.manual_seed(_seed(key.tolist()))
        yield


def _seed(words: list[int]) -> int:
    """Return a seed of 64 bits; different keys of JAX's default generator have different ones."""
    if len(words) == 2:
        return words[0] << 32 | words[1]
    data = b"".join(word.to_bytes(4, "little") for word in words)
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")
