"""Private names of JAX: what each is for, and what happens without it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from pax_tree._foreign import foreign

_FEATURE = "the check of where a module is changed"

# What `trace` of is the current trace, and the trace of the top level. Without one of them the
# traces are told apart by `jax.extend.core.get_opaque_trace_state`, which takes longer.
_CONTEXT = foreign("jax._src.core.trace_ctx", _FEATURE, None)
_TOP_LEVEL = foreign("jax._src.core.eval_trace", _FEATURE, None)
# What `trace_ctx.trace` reads. Without it `trace_ctx.trace` is read, which takes longer.
_STATE = foreign("jax._src.core.trace_state_strong_ref", _FEATURE, None)

# The values inside of `jax.vmap`. Without it `jax.vmap` itself refuses, in its own words, a result that
# should be the same for all indices and is not.
_BATCHED: Any = foreign(
    "jax._src.interpreters.batching.BatchTracer", "the errors of pax_jax.vmap", ()
)

# The traces that JAX keeps, for programs. Without it every trace counts as one of them.
_STAGED: Any = foreign("jax._src.interpreters.partial_eval.DynamicJaxprTrace", _FEATURE, object)


# JAX's functions that rebuild modules at the top level, for a function that they call there, and so
# are no copies that anybody asked for. Without them a change that is lost there is not told.
_UNFLATTEN = foreign("jax._src.tree_util.tree_unflatten", _FEATURE, None)
_CALLING = (
    foreign("jax._src.custom_derivatives", _FEATURE, None),
    foreign("jax._src.callback", _FEATURE, None),
    foreign("jax._src.debugging", _FEATURE, None),
)


def rebuilders() -> tuple[Any, tuple[dict[str, Any], ...]] | None:
    """Return the code of JAX's `tree_unflatten`, and the namespaces of those who call others with it."""
    code = getattr(_UNFLATTEN, "__code__", None)
    return code and (code, tuple(vars(module) for module in _CALLING if module is not None))


# The store of the processes of one program. Without it they tell each other by arrays on their devices
# what they save, and a save that fails in one of them ends in the others after orbax's time.
_DISTRIBUTED: Any = foreign("jax._src.distributed.global_state", "checkpoints", None)


def distributed_client() -> Any:
    """Return the client of the store of all processes; None without one."""
    client = getattr(_DISTRIBUTED, "client", None)
    needed = ("key_value_set", "key_value_dir_get", "key_value_delete", "blocking_key_value_get")
    return client if all(hasattr(client, name) for name in needed) else None


def program_count(compiled: Any) -> int:
    """Return how many programs a function that `jax.jit` returned has; 1 where it does not say."""
    size = getattr(compiled, "_cache_size", None)
    return 1 if size is None else size()


def is_staging(trace: Any) -> bool:
    """Say whether what a trace computes, or one around it, becomes part of a program that JAX keeps."""
    while trace is not None:
        if isinstance(trace, _STAGED):
            return True
        trace = getattr(trace, "parent_trace", None)
    return False


def is_batched(value: Any) -> bool:
    """Say whether a value differs along the axis of the innermost `jax.vmap`."""
    return isinstance(value, _BATCHED) and getattr(value, "batch_dim", None) is not None


def trace_reader() -> tuple[Callable[[], Any], Any]:
    """Return a function that returns the current trace, and what it returns at the top level.

    It is called for every module that is made, and so is the fastest that there is.
    """
    if _CONTEXT is None or _TOP_LEVEL is None:
        from jax.extend.core import get_opaque_trace_state  # slow to import

        return _Scopes(get_opaque_trace_state).current, None
    read = getattr(getattr(type(_STATE), "value", None), "fget", None)
    if read is None or read(_STATE) is not _CONTEXT.trace:
        return lambda: _CONTEXT.trace, _TOP_LEVEL
    return read.__get__(_STATE), _TOP_LEVEL


class _Scope:
    """Stands for a trace."""

    def __init__(self, state: Any) -> None:
        self.state = state


class _Scopes(threading.local):
    """The thread's traces by what JAX tells of them in public: states that can be compared."""

    most = 64

    def __init__(self, read: Callable[[], Any]) -> None:
        self.read = read
        self.top_level = _in_new_thread(read)
        self.known: list[_Scope] = []  # the latest ones

    def current(self) -> _Scope | None:
        """Return one object for each trace, None at the top level."""
        state = self.read()
        if state == self.top_level:
            return None
        scope = next((scope for scope in self.known if scope.state == state), None)
        if scope is None:
            scope = _Scope(state)
        else:
            self.known.remove(scope)
        self.known = [*self.known, scope][-self.most :]
        return scope


def _in_new_thread(read: Callable[[], Any]) -> Any:
    """Return what a function returns in a thread in which nothing is traced."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(read()))
    thread.start()
    thread.join()
    return results[0]
