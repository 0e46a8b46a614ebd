"""`jax.jit` for modules: arguments cross into XLA as a flat list, and what is replaced is donated."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax

import pax_tree
from pax_jax._module.kinds import is_array, is_module


def jit(
    fun: Callable[..., Any] | None = None,
    *,
    donate: bool = True,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
) -> Callable[..., Any]:
    """Compile a function of modules; as `jax.jit`, with less to do for each call.

    A module that goes in and comes back, changed, is donated: its memory is used for the new one, and
    the old one can be read no more. What is only read (the model in an evaluation) is not donated.

    Args:
        fun: a function of pytrees of modules and arrays. It may change and return its modules.
        donate: whether to donate modules that come back.
        static_argnums: positions of arguments that are constants, hashable.
        static_argnames: the same for keyword arguments.

    Returns:
        The compiled function; its `lower(*args)` is that of `jax.jit`, on the flat list of leaves.

    Raises:
        TypeError: at a call, an argument holds something that is no array, number or module.
        ValueError: at a call, an array that is to be donated is passed twice.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> @pax.jit
        ... def call(norm, x):
        ...     return norm(x), norm
        >>> norm = pax.BatchNorm1D(1)
        >>> for _ in range(3):
        ...     y, norm = call(norm, jnp.ones((4, 1)))
        >>> norm.ema_mean
        Array([1.], dtype=float32)
    """
    if fun is None:
        return functools.partial(
            jit, donate=donate, static_argnums=static_argnums, static_argnames=static_argnames
        )
    numbers = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    programs = _Programs(fun, donate)
    if numbers or names:
        return _with_statics(programs, numbers, names)
    find = programs.known.get
    flatten, unflatten = pax_tree.tree_flatten, pax_tree.tree_unflatten

    @functools.wraps(fun, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = flatten((args, kwargs))
        program = find(structure) or programs.make(structure, leaves)
        try:
            results, wrapped = program(*leaves)
        except jax.errors.JaxRuntimeError as error:
            _explain(error, structure, leaves)
            raise
        return unflatten(wrapped.structure, results)

    call.lower = programs.lower  # type: ignore[attr-defined]
    return call


def _with_statics(
    programs: _Programs, numbers: tuple[int, ...], names: tuple[str, ...]
) -> Callable[..., Any]:
    """Make the function that keeps some arguments out of the tree."""
    by_statics: dict[Any, Callable[..., Any]] = {}

    def split(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Callable, tuple, dict]:
        positions = {number % len(args) for number in numbers if number < len(args)}
        fixed = tuple((i, args[i]) for i in sorted(positions))
        fixed_names = tuple((name, kwargs[name]) for name in names if name in kwargs)
        key = fixed, fixed_names, tuple((type(value)) for _, value in fixed + fixed_names)
        program = by_statics.get(key)
        if program is None:
            whole = functools.partial(_call_with, programs.fun, dict(fixed), dict(fixed_names))
            program = by_statics[key] = jit(whole, donate=programs.donate)
        rest = tuple(arg for i, arg in enumerate(args) if i not in positions)
        return program, rest, {k: v for k, v in kwargs.items() if k not in names}

    @functools.wraps(programs.fun, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        program, rest, named = split(args, kwargs)
        return program(*rest, **named)

    def lower(*args: Any, **kwargs: Any) -> Any:
        program, rest, named = split(args, kwargs)
        return program.lower(*rest, **named)  # type: ignore[attr-defined]

    call.lower = lower  # type: ignore[attr-defined]
    return call


def _call_with(fun: Callable, fixed: dict[int, Any], names: dict, *args: Any, **kwargs: Any) -> Any:
    rest = iter(args)
    whole = [fixed[i] if i in fixed else next(rest) for i in range(len(fixed) + len(args))]
    return fun(*whole, **names, **kwargs)


class _Structure:
    """The structure of the results, which a program returns beside their leaves; it has none."""

    __slots__ = ("structure",)

    def __init__(self, structure: Any) -> None:
        self.structure = structure


jax.tree_util.register_pytree_node(
    _Structure, lambda node: ((), node.structure), lambda structure, _: _Structure(structure)
)


class _Programs:
    """The compiled functions of a function, one for each structure of its arguments."""

    def __init__(self, fun: Callable[..., Any], donate: bool) -> None:
        self.fun = fun
        self.donate = donate
        self.known: dict[Any, Any] = {}

    def make(self, structure: Any, leaves: Sequence[Any]) -> Any:
        """Make, and remember, the program for arguments of a structure."""
        _check_leaves(self.fun, structure, leaves)

        def flat(*leaves: Any) -> tuple[list[Any], _Structure]:
            args, kwargs = pax_tree.tree_unflatten(structure, leaves)
            results, outer = pax_tree.tree_flatten(self.fun(*args, **kwargs))
            return results, _Structure(outer)

        flat.__name__ = getattr(self.fun, "__name__", flat.__name__)
        donated = self._donated(flat, structure, leaves) if self.donate else ()
        program = jax.jit(flat, donate_argnums=donated)
        return self.known.setdefault(structure, program)

    def lower(self, *args: Any, **kwargs: Any) -> Any:
        """Lower the program for these arguments, as `jax.jit(fun).lower` does."""
        leaves, structure = pax_tree.tree_flatten((args, kwargs))
        program = self.known.get(structure) or self.make(structure, leaves)
        return program.lower(*leaves)

    def _donated(
        self, flat: Callable[..., Any], structure: Any, leaves: Sequence[Any]
    ) -> tuple[int, ...]:
        """Return the positions of the leaves of modules that come back; JAX traces `flat` once."""
        numbered = pax_tree.tree_unflatten(structure, range(len(leaves)))
        given = [(pax_tree.tree_leaves(module), module) for module in _modules(numbered)]
        if not any(numbers for numbers, _ in given):
            return ()
        results, wrapped = jax.eval_shape(flat, *leaves)
        returned = Counter(
            _signature(module, pax_tree.tree_leaves(module))
            for module in _modules(pax_tree.tree_unflatten(wrapped.structure, results))
        )
        donated: list[int] = []
        for numbers, module in given:
            signature = _signature(module, [leaves[number] for number in numbers])
            if returned[signature] > 0:
                returned[signature] -= 1
                donated += [number for number in numbers if is_array(leaves[number])]
        return tuple(donated)


def _modules(tree: Any) -> list[Any]:
    """Return the outermost modules of a tree."""
    return [leaf for leaf in pax_tree.tree_leaves(tree, is_leaf=is_module) if is_module(leaf)]


def _signature(module: Any, leaves: Sequence[Any]) -> Any:
    """Return what two modules share of which one can take the memory of the other."""
    described = ((getattr(leaf, "shape", ()), getattr(leaf, "dtype", None)) for leaf in leaves)
    return type(module), tuple(described)


def _check_leaves(fun: Callable[..., Any], structure: Any, leaves: Sequence[Any]) -> None:
    for path, leaf in pax_tree.tree_leaves_with_path(pax_tree.tree_unflatten(structure, leaves)):
        if not is_array(leaf) and not hasattr(leaf, "dtype") and not _is_number(leaf):
            position, *rest = path[1:]
            raise TypeError(
                f"The argument {getattr(position, 'idx', getattr(position, 'key', ''))} of "
                f"{getattr(fun, '__name__', fun)!r}{' at ' + pax_tree.keystr(rest) if rest else ''} "
                f"is {leaf!r} of type {type(leaf).__name__}, which is no array, number or module. "
                "Name it in static_argnums or static_argnames, or keep it in a module's attribute."
            )


def _explain(error: Exception, structure: Any, leaves: Sequence[Any]) -> None:
    """Raise an error that names the places of an array that was to be donated twice, if one was."""
    if "donate" not in str(error):
        return
    places: dict[int, list[str]] = {}
    for path, leaf in pax_tree.tree_leaves_with_path(pax_tree.tree_unflatten(structure, leaves)):
        places.setdefault(id(leaf), []).append(f"argument {pax_tree.keystr(path[1:])}")
    for names in places.values():
        if len(names) > 1:
            raise ValueError(
                f"{' and '.join(names)} are one array, which is to be donated and can be given away "
                "only once. Pass a copy (`jax.tree.map(jnp.copy, module)`), or compile with "
                "donate=False."
            ) from error


def _is_number(leaf: Any) -> bool:
    return isinstance(leaf, (bool, int, float, complex))
