"""A stream of random keys as a module."""

from __future__ import annotations

from typing import Any

import jax

from pax_jax._module import StateModule
from pax_jax._rng import next_rng_key


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
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise TypeError(
                f"RngSeq expects an int as seed, got {seed!r} of type {type(seed).__name__}."
            )
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
