"""Random numbers: PyTorch's generators seeded by a key, and who draws without one.

PyTorch's own generators belong to the process: calls that draw from them or seed them do not overlap.
"""

from __future__ import annotations

import pickle
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from hashlib import blake2b
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

from torch2jax_bridge import _compat

_generators = threading.RLock()
_scope = threading.local()


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
        with _forked(key) if _compat.is_plain(key) else nullcontext():  # a fake one has no values
            yield
    finally:
        _scope.depth -= 1


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


def alone(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, which runs while no other call draws or has seeded the generators."""

    def run(*tensors: torch.Tensor) -> Any:
        with _generators:
            return call(*tensors)

    return run


def refusing_draws(call: Callable[..., Any], message: str) -> Callable[..., Any]:
    """Return the function, which raises a RuntimeError if the default generators were drawn from."""

    def run(*tensors: torch.Tensor) -> Any:
        before = default_states()
        results = call(*tensors)
        if default_states() != before:
            raise RuntimeError(message)
        return results

    return run


def default_states() -> tuple[Any, ...]:
    """Return what changes when PyTorch's, NumPy's or Python's own generator is drawn from."""
    numpy_state: Any = np.random.get_state(legacy=True)
    python_state: Any = random.getstate()
    torch_state = torch.default_generator.get_state().numpy().tobytes()
    return torch_state, numpy_state[1].tobytes(), numpy_state[2:], python_state


class HostDraws:
    """In the `with` block, notices draws from NumPy's and Python's generators, and undoes them.

    Known are their own ones, and the `numpy.random.Generator`, `RandomState` and `random.Random`
    that the function holds.

    Args:
        function: whose generators to look for.

    Attributes:
        seen: afterwards, whether one was drawn from.
    """

    seen = False

    def __init__(self, function: Callable[..., Any]) -> None:
        self._held = [_NUMPY, _PYTHON, *_held_generators(function)]

    def __enter__(self) -> HostDraws:
        self._before = list(map(_state_of, self._held))
        return self

    def __exit__(self, *error: Any) -> None:
        for generator, before in zip(self._held, self._before, strict=True):
            if pickle.dumps(_state_of(generator)) != pickle.dumps(before):
                self.seen = True
                _restore(generator, before)


_NUMPY: np.random.RandomState = np.random.get_state.__self__  # pyright: ignore[reportFunctionMemberAccess]
_PYTHON: random.Random = random.getstate.__self__  # pyright: ignore[reportFunctionMemberAccess]
_GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)
_LIMIT = 5000


def _state_of(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.get_state() if hasattr(generator, "get_state") else generator.getstate()


def _restore(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif hasattr(generator, "set_state"):
        generator.set_state(state)
    else:
        generator.setstate(state)


def _held_generators(function: Any) -> list[Any]:
    """Return the generators that a function refers to, as far as that can be seen in short time."""
    found: list[Any] = []
    waiting, seen = deque([function]), {id(function)}
    while waiting and len(seen) < _LIMIT:
        holder = waiting.popleft()
        if isinstance(holder, _GENERATORS):
            found.append(holder)
            continue
        with suppress(Exception):  # whatever an object does when it is looked at
            for held in _held_by(holder):
                if id(held) not in seen and not isinstance(held, _OPAQUE):
                    seen.add(id(held))
                    waiting.append(held)
    return found


_OPAQUE = (type, ModuleType, BuiltinFunctionType, torch.Tensor, np.ndarray, str, bytes, int, float)


def _held_by(holder: Any) -> Iterator[Any]:
    if isinstance(holder, FunctionType):
        yield from _held_by_function(holder)
    elif isinstance(holder, MethodType):
        yield from (holder.__self__, holder.__func__)
    elif isinstance(holder, partial):
        yield from (holder.func, holder.args, holder.keywords)
    elif isinstance(holder, dict):
        yield from holder.values()
    elif isinstance(holder, list | tuple | set | frozenset | deque):
        yield from holder
    yield from getattr(holder, "__dict__", {}).values()


def _held_by_function(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    names = _names_in(function.__code__)
    yield from (function.__globals__[name] for name in names if name in function.__globals__)


def _names_in(code: CodeType) -> Iterator[str]:
    """Return the names in the code of a function, and in that of the functions in it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
