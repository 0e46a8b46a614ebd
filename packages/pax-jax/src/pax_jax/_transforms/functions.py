"""Functions that are, or hold, modules: the modules are data, like the arguments."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import pax_tree
from pax_jax._module.kinds import is_module

# A function of its owners (the modules that it is, or is bound to), its arguments and its keywords.
Opened = Callable[[tuple[Any, ...], tuple[Any, ...], dict[str, Any]], Any]


class ModuleFunction:
    """A transformed module, or method of one: as the module, it is not hashable.

    Args:
        fun: what was transformed.
        call: the transformed function, of the owners, arguments and keywords.
        owners: the modules; each call reads what they hold then.
    """

    __static_by_identity__ = True

    def __init__(self, fun: Any, call: Opened, owners: tuple[Any, ...]) -> None:
        functools.update_wrapper(self, fun, updated=())
        self._call, self._owners = call, owners

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(self._owners, args, kwargs)

    def __hash__(self) -> int:
        return hash(self._owners)  # an error that says what to do


def opened(fun: Any) -> tuple[Opened, tuple[Any, ...]]:
    """Return a function that is given its modules, and the modules on which `fun` depends.

    These are a module given as a function, that of a bound method, those among the arguments of a
    `functools.partial`, and those of a module that was transformed before.
    """
    if isinstance(fun, ModuleFunction):
        return fun._call, fun._owners
    if is_module(fun) and callable(fun):
        method = type(fun).__call__
        return lambda owners, args, kwargs: method(owners[0], *args, **kwargs), (fun,)
    if inspect.ismethod(fun) and is_module(fun.__self__):
        method = fun.__func__
        return lambda owners, args, kwargs: method(owners[0], *args, **kwargs), (fun.__self__,)
    if isinstance(fun, functools.partial):
        return _opened_partial(fun)
    if not callable(fun):
        raise TypeError(f"Expected a function or a module that can be called, got {fun!r}.")
    return lambda _, args, kwargs: fun(*args, **kwargs), ()


def _opened_partial(fun: functools.partial) -> tuple[Opened, tuple[Any, ...]]:
    function, owners = opened(fun.func)
    leaves, structure = pax_tree.tree_flatten((fun.args, fun.keywords), is_leaf=is_module)
    places = [i for i, leaf in enumerate(leaves) if is_module(leaf)]
    count = len(owners)

    def call(owners: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = list(leaves)
        for place, module in zip(places, owners[count:], strict=True):
            given[place] = module
        first, keywords = structure.unflatten(given)
        return function(owners[:count], (*first, *args), {**keywords, **kwargs})

    return call, (*owners, *(leaves[place] for place in places))


def opened_all(funs: Sequence[Any]) -> tuple[list[Opened], tuple[Any, ...]]:
    """Return `opened` functions that share their owners: a module of several is there once."""
    pairs = [opened(fun) for fun in funs]
    owners = tuple({id(owner): owner for _, own in pairs for owner in own}.values())
    order = {id(owner): i for i, owner in enumerate(owners)}
    return [_chosen(call, [order[id(owner)] for owner in own]) for call, own in pairs], owners


def _chosen(function: Opened, places: Sequence[int]) -> Opened:
    def call(owners: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return function(tuple(owners[place] for place in places), args, kwargs)

    return call


def closed(fun: Any, call: Opened, owners: tuple[Any, ...]) -> Callable[..., Any]:
    """Return a transformed function as a function of its arguments alone."""
    if owners:
        return ModuleFunction(fun, call, owners)

    @functools.wraps(fun, updated=())
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return call((), args, kwargs)

    return wrapper
