"""Random numbers: PyTorch's generators seeded by a key, and who draws without one.

PyTorch's own generators belong to the process: calls that draw from them or seed them do not overlap.
"""

from __future__ import annotations

import pickle
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from hashlib import blake2b
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
        with _forked(key) if _compat.has_values(key) else nullcontext():
            yield
    finally:
        _scope.depth -= 1


@contextmanager
def _forked(key: torch.Tensor) -> Iterator[None]:
    """Seed the generators that a call draws from, of the CPU and of the key's device; others stay."""
    seed = _seed(key.tolist())
    with _generators:
        used = _generators_of(key.device)
        before = [generator.get_state() for generator in used]
        try:
            for generator in used:
                generator.manual_seed(seed)
            yield
        finally:
            for generator, state in zip(used, before, strict=True):
                generator.set_state(state)


def _generators_of(device: torch.device) -> list[torch.Generator]:
    """Return the default generators that a call on a device draws from."""
    if device.type != "cuda":
        return [torch.default_generator]
    return [torch.default_generator, torch.cuda.default_generators[device.index]]


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
        device = tensors[0].device if tensors else torch.device("cpu")
        before = default_states(device)
        results = call(*tensors)
        if default_states(device) != before:
            raise RuntimeError(message)
        return results

    return run


def default_states(device: torch.device) -> tuple[Any, ...]:
    """Return what changes when PyTorch's, NumPy's or Python's own generators are drawn from.

    Args:
        device: PyTorch's generator of this device counts, and the CPU's.
    """
    numpy_state: Any = np.random.get_state(legacy=True)
    python_state: Any = random.getstate()
    torch_states = [x.get_state().numpy().tobytes() for x in _generators_of(device)]
    return torch_states, numpy_state[1].tobytes(), numpy_state[2:], python_state


class HostDraws:
    """In the `with` block, notices draws from NumPy's and Python's generators, and undoes them.

    Known are their own ones, and those that are given.

    Args:
        held: `numpy.random.BitGenerator`, `RandomState` and `random.Random` that may be drawn from.

    Attributes:
        seen: afterwards, whether one was drawn from. One without a state counts as drawn from.
    """

    def __init__(self, held: Iterable[Any]) -> None:
        known = [_NUMPY, _PYTHON, *held]
        self._held = [x for x in known if not isinstance(x, random.SystemRandom)]
        self.seen = len(self._held) < len(known)

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


def _state_of(generator: Any) -> Any:
    if isinstance(generator, np.random.BitGenerator):
        return generator.state
    return generator.get_state() if hasattr(generator, "get_state") else generator.getstate()


def _restore(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.BitGenerator):
        generator.state = state
    elif hasattr(generator, "set_state"):
        generator.set_state(state)
    else:
        generator.setstate(state)
