"""Random keys: a stream for each thread, and streams that are modules."""

from __future__ import annotations

import threading
import weakref
from typing import Any

import jax

from pax_jax._module.module import StateModule
from pax_jax._module.scope import current_trace


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
        self.top = _Stream(0)
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
    hint = " Where you have a key, give it to the module itself: `rng_key=key`."
    _check_seed("seed_rng_key expects an int", seed, hint)
    trace = current_trace()
    if trace is None:
        _streams.top = _Stream(seed)
    else:
        _streams.traced[trace] = _Stream(seed)


def _check_seed(expected: str, seed: Any, hint: str = "") -> None:
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"{expected}, got {seed!r} of type {type(seed).__name__}.{hint}")


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


class RngSeq(StateModule):
    """An endless sequence of random keys, whose state passes through JAX like any module.

    Args:
        seed: an integer.
        rng_key: the first key, before which `seed` is ignored; `next_rng_key()` without either.
        name: shown when the module is printed.

    Raises:
        TypeError: `seed` is not an integer.

    Example:
        >>> import pax_jax as pax
        >>> keys = pax.RngSeq(seed=42)
        >>> first, second = keys.next_rng_key(), keys.next_rng_key(2)
        >>> first.shape, len(second)
        ((), 2)
    """

    rng_key: jax.Array

    def __init__(
        self,
        seed: int | None = None,
        rng_key: jax.Array | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if seed is not None:
            _check_seed("RngSeq expects an int as seed", seed)
        if rng_key is None:
            rng_key = next_rng_key() if seed is None else jax.random.key(seed)
        self.rng_key = rng_key

    def next_rng_key(self, num_keys: int = 1) -> Any:
        """Return the next key, or a list of the next `num_keys` ones.

        In evaluation mode the sequence stands still: the same keys come again.

        Raises:
            ValueError: `num_keys` is not positive.
        """
        if num_keys < 1:
            raise ValueError(f"next_rng_key makes at least one key, got num_keys={num_keys}.")
        state, *keys = jax.random.split(self.rng_key, num_keys + 1)
        if self.training:
            self.rng_key = state
        return keys[0] if num_keys == 1 else keys


def split_key(rng_key: jax.Array | None, count: int = 2) -> jax.Array:
    """Return `count` keys made of a key, by default of the next one of this thread's stream."""
    return jax.random.split(next_rng_key() if rng_key is None else rng_key, count)
