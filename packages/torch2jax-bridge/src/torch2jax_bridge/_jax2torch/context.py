"""What a program of JAX depends on besides its arguments: JAX's settings, and the process."""

from __future__ import annotations

import itertools
import os
from typing import Any

from torch2jax_bridge._compat import backends_are_initialized, trace_context
from torch2jax_bridge._runtime.remembered import remembered

KEPT = 64  # contexts have meshes, and with them devices
_numbers: dict[Any, int] = {}
_new_numbers = itertools.count()  # none stands for two settings, also where one was forgotten
_last: tuple[Any, int] = ((), -1)
_is_hopeless = False


def number_of_context() -> int:
    """Return a number that stands for the settings of JAX's that a trace depends on.

    These are what `jax.jit` traces anew for: `jax_enable_x64`, the precision of products, the kind
    of random keys, promotion of dtypes, meshes. To compare with the last ones takes a tenth of the
    time of hashing them.
    """
    global _last
    context, last = trace_context(), _last
    if context == last[0]:
        return last[1]
    number = remembered(_numbers, context, next(_new_numbers), kept=KEPT)
    _last = context, number
    return number


def refuse_forks() -> None:
    """Raise in a process that was forked when JAX had its threads, where JAX would wait for ever.

    Raises:
        RuntimeError: says so.
    """
    if _is_hopeless:
        raise RuntimeError(
            "This process was forked after JAX had begun its work, and JAX does not work in a fork; "
            "start processes with the method 'spawn' or 'forkserver'."
        )


def _note_fork() -> None:
    global _is_hopeless
    _is_hopeless = _is_hopeless or backends_are_initialized()


os.register_at_fork(after_in_child=_note_fork)
