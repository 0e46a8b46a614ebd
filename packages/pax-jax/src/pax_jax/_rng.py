"""A stream of random keys for each thread, so that layers can be made without passing keys."""

from __future__ import annotations

import threading
import weakref
from typing import Any

import jax

from pax_jax._scope import current_trace

_DEFAULT_SEED = 0


class _Stream:
    """Keys number 0, 1, 2, ... of a seed; it holds no array, so a trace leaves nothing behind."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.count = 0

    def next(self) -> jax.Array:
        key = jax.random.fold_in(jax.random.key(self.seed), self.count)
        self.count += 1
        return key


class _Streams(threading.local):
    """The thread's stream of the top level, and those seeded in a running trace."""

    def __init__(self) -> None:
        self.top = _Stream(_DEFAULT_SEED)
        self.traced: weakref.WeakKeyDictionary[Any, _Stream] = weakref.WeakKeyDictionary()


_streams = _Streams()


def seed_rng_key(seed: int) -> None:
    """Seed the stream of `next_rng_key` in this thread.

    Inside a JAX transformation this seeds a stream for that transformation only.

    Args:
        seed: an integer. A thread that never seeds starts from 0.

    Raises:
        TypeError: `seed` is not an integer.

    Example:
        >>> import pax_jax as pax
        >>> pax.seed_rng_key(42)
        >>> first = pax.Linear(2, 3)
        >>> pax.seed_rng_key(42)
        >>> first == pax.Linear(2, 3)
        True
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(
            f"seed_rng_key expects an int, got {seed!r} of type {type(seed).__name__}. "
            "Where you have a key, give it to the module itself: `rng_key=key`."
        )
    trace = current_trace()
    if trace is None:
        _streams.top = _Stream(seed)
    else:
        _streams.traced[trace] = _Stream(seed)


def next_rng_key() -> jax.Array:
    """Return the next random key of this thread's stream.

    Returns:
        A typed key of shape `()`, as of `jax.random.key`.

    Raises:
        RuntimeError: called inside a JAX transformation that has not called `seed_rng_key`; a compiled
            function would use the same key at every call.

    Example:
        >>> import jax
        >>> import pax_jax as pax
        >>> pax.seed_rng_key(0)
        >>> bool(pax.next_rng_key() == pax.next_rng_key())
        False
    """
    trace = current_trace()
    stream = _streams.top if trace is None else _streams.traced.get(trace)
    if stream is None:
        raise RuntimeError(
            "next_rng_key() was called inside a JAX transformation (jax.jit, jax.grad, jax.vmap, "
            "...), where the key would be a constant of the compiled function. Pass a key as an "
            "argument and on to the module (`rng_key=key`), make the module outside, or call "
            "seed_rng_key(seed) inside."
        )
    return stream.next()
