"""How each kind of Python state is put back in place, as it was noted before."""

from __future__ import annotations

import array
import sys
from collections import OrderedDict, deque
from contextlib import suppress
from operator import is_
from types import CellType, MemberDescriptorType
from typing import Any

import numpy as np
import torch

from torch2jax_bridge._compat import is_plain

ABSENT: Any = object()


def dict_kind(value: dict) -> Any:
    """Return the class whose methods change a dict in place: subclasses may have rules of their own."""
    return OrderedDict if isinstance(value, OrderedDict) else dict


def put_dict(target: dict, before: dict) -> None:
    """Give a dict the items that it had, in their order."""
    kind = dict_kind(target)
    keys, values = kind.keys(target), kind.values(target)
    same = len(target) == len(before) and all(map(is_, values, before.values()))
    if same and all(map(is_, keys, before)):
        return
    kind.clear(target)
    for key, value in before.items():
        kind.__setitem__(target, key, value)


def put_list(target: list, items: list[Any]) -> None:
    """Give a list the items that it had."""
    if not _same(target, items):
        list.__setitem__(target, slice(None), items)


def put_set(target: set, items: list[Any]) -> None:
    """Give a set the items that it had, and their order if a way to fill it gives that."""
    if _same(target, items):
        return
    for way in (set.update, _fill_at_once):
        set.clear(target)
        way(target, items)
        size = (sys.getsizeof(target) - sys.getsizeof(set())) // 16 or 8
        _rewind(target, size)
        way(target, items)
        if _same(target, items):
            return


def _fill_at_once(target: set, items: list[Any]) -> None:
    set.update(target, dict.fromkeys(items))  # the table gets its size before


def _rewind(target: set, size: int) -> None:
    """Empty a set and let `pop` begin at the front again: it goes on where it has stopped.

    Args:
        target: the set.
        size: the places of its table; the last one is emptied by `pop` here.
    """
    set.clear(target)
    set.update(target, range(size // 2))
    set.add(target, size - 1)
    for item in range(size // 2):  # one by one, so that the table keeps its size
        set.discard(target, item)
    set.pop(target)
    set.clear(target)


def put_deque(target: deque, items: list[Any]) -> None:
    """Give a deque the items that it had."""
    if not _same(target, items):
        target.clear()
        target.extend(items)


def _same(target: Any, items: list[Any]) -> bool:
    return len(target) == len(items) and all(map(is_, target, items))


def put_bytes(target: bytearray, contents: bytes) -> None:
    """Give a bytearray the contents that it had."""
    if target != contents:
        target[:] = contents


def put_array(target: array.array, contents: bytes) -> None:
    """Give an array of the standard library the numbers that it had."""
    if target.tobytes() != contents:
        del target[:]
        target.frombytes(contents)


def put_memory(target: Any, contents: bytes) -> None:
    """Write into an object of `ctypes` what was there."""
    memoryview(target).cast("B")[:] = contents


def put_cell(cell: CellType, contents: Any) -> None:
    """Give a variable of a closure what it had, or nothing."""
    if contents is not ABSENT:
        cell.cell_contents = contents
    else:
        with suppress(ValueError):  # it is empty
            del cell.cell_contents


def put_partial(target: Any, state: tuple[Any, ...]) -> None:
    """Give a `functools.partial` its function, arguments, keywords and attributes."""
    target.__setstate__(state)


def put_item(target: dict[str, Any], name: str, value: Any) -> None:
    """Give a name in a dict what it had, or take it away."""
    if value is ABSENT:
        target.pop(name, None)
    elif target.get(name, ABSENT) is not value:
        target[name] = value


def drop_new_items(target: dict[str, Any], names: set[str]) -> None:
    """Take the names away that a dict did not have."""
    for name in [name for name in target if name not in names]:
        del target[name]


def in_slot(slot: MemberDescriptorType, owner: Any) -> Any:
    """Return what a slot of an object holds."""
    try:
        return slot.__get__(owner)
    except AttributeError:
        return ABSENT


def put_slot(owner: Any, slot: MemberDescriptorType, value: Any) -> None:
    """Give a slot what it held, or empty it."""
    if in_slot(slot, owner) is value:
        return
    if value is ABSENT:
        slot.__delete__(owner)
    else:
        slot.__set__(owner, value)


def put_class_attribute(cls: type, name: str, value: Any) -> None:
    """Give an attribute of a class what it had."""
    if vars(cls).get(name, ABSENT) is not value:
        type.__setattr__(cls, name, value)


def drop_new_attributes(cls: type, names: set[str]) -> None:
    """Take the attributes away that a class did not have."""
    for name in set(vars(cls)) - names:
        if not name.startswith("__"):
            type.__delattr__(cls, name)


def put_file(file: Any, position: int) -> None:
    """Let a file be read from where it was."""
    with suppress(OSError):  # text in the middle of a line does not say where it is
        if file.closed or file.tell() == position:
            return
    file.seek(position)


def put_buffer(file: Any, state: Any) -> None:
    """Give a file in memory the contents and the position that it had."""
    with suppress(ValueError):  # closed by now
        file.__setstate__(state)


def put_cache(cached: Any, misses: int) -> None:
    """Empty a bounded `lru_cache` that has new entries: one alone cannot be taken out."""
    if cached.cache_info().misses != misses:
        cached.cache_clear()


def put_values(target: np.ndarray, values: np.ndarray) -> None:
    """Write into a NumPy array what was there."""
    if target.flags.writeable and target.tobytes() != values.tobytes():
        target[...] = values


def put_tensor(tensor: torch.Tensor, before: torch.Tensor, requires_grad: bool) -> None:
    """Let a tensor have the memory that it had."""
    if not is_plain(tensor) or not tensor.is_set_to(before):
        tensor.data = before
    if tensor.requires_grad is not requires_grad:
        tensor.requires_grad_(requires_grad)


def put_gradient(tensor: torch.Tensor, gradient: torch.Tensor | None) -> None:
    """Give a tensor the gradient that it had."""
    if tensor.grad is not gradient:
        tensor.grad = gradient
