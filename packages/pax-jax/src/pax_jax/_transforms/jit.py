"""`jax.jit` for modules: arguments cross into XLA as a flat list, and what is replaced is donated."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax

import pax_tree
from pax_jax._module.kinds import is_array, is_module
from pax_jax._module.trees import outermost_modules
from pax_tree._static_args import Static, StaticArguments


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
        static_argnums: numbers of arguments that are constants, hashable, however they are passed.
        static_argnames: the same by their names.

    Returns:
        The compiled function; its `lower(*args)` is that of `jax.jit`, on the flat list of leaves.

    Raises:
        TypeError: at a call, an argument holds something that is no array, number or module.
        ValueError: `fun` has no argument of a name or a number that is to be static; or, at a call, a
            static argument is not hashable, or an array that is to be donated is passed twice.

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
    static = StaticArguments(fun, static_argnums, static_argnames, "jit")
    programs = _Programs(fun, donate)
    if static:
        return _with_statics(programs, static)
    find = programs.known.get
    flatten, unflatten = pax_tree.tree_flatten, pax_tree.tree_unflatten

    @functools.wraps(fun, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = flatten((args, kwargs))
        program = find(structure) or programs.make(structure, leaves)
        try:
            results, wrapped = program(*leaves)
        except jax.errors.JaxRuntimeError as error:
            programs.check_donated(structure, leaves, error)
            raise
        return unflatten(wrapped.structure, results)

    call.lower = programs.lower  # type: ignore[attr-defined]
    return call


def _with_statics(programs: _Programs, static: StaticArguments) -> Callable[..., Any]:
    """Make the function that keeps some arguments out of the tree."""
    by_constants: dict[Static, Any] = {}

    def split(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, tuple, dict]:
        args, kwargs, constants = static.split(args, kwargs)
        program = by_constants.get(constants)
        if program is None:
            whole = _with_constants(programs.fun, constants)
            program = by_constants[constants] = jit(whole, donate=programs.donate)
        return program, args, kwargs

    @functools.wraps(programs.fun, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        program, args, kwargs = split(args, kwargs)
        return program(*args, **kwargs)

    def lower(*args: Any, **kwargs: Any) -> Any:
        program, args, kwargs = split(args, kwargs)
        return program.lower(*args, **kwargs)

    call.lower = lower  # type: ignore[attr-defined]
    return call


def _with_constants(fun: Callable[..., Any], constants: Static) -> Callable[..., Any]:
    @functools.wraps(fun, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = constants.join(args, kwargs)
        return fun(*args, **kwargs)

    return call


class _ResultStructure:
    """What a program returns beside the leaves of its results: their structure; it has no leaves.

    Attributes:
        structure: of the results.
        modules: the signatures of the modules among them.
    """

    __slots__ = ("modules", "structure")

    def __init__(self, structure: Any, modules: tuple[Any, ...]) -> None:
        self.structure, self.modules = structure, modules


jax.tree_util.register_pytree_node(
    _ResultStructure,
    lambda node: ((), (node.structure, node.modules)),
    lambda parts, _: _ResultStructure(*parts),
)


class _Programs:
    """The compiled functions of a function, one for each structure of its arguments."""

    def __init__(self, fun: Callable[..., Any], donate: bool) -> None:
        self.fun = fun
        self.donate = donate
        self.known: dict[Any, Any] = {}
        self.donated: dict[Any, tuple[int, ...]] = {}

    def make(self, structure: Any, leaves: Sequence[Any]) -> Any:
        """Make, and remember, the program for arguments of a structure."""
        _check_leaves(self.fun, structure, leaves)

        def flat(*leaves: Any) -> tuple[list[Any], _ResultStructure]:
            args, kwargs = pax_tree.tree_unflatten(structure, leaves)
            returned = self.fun(*args, **kwargs)
            results, outer = pax_tree.tree_flatten(returned)
            signatures = (
                _signature(module, pax_tree.tree_leaves(module))
                for module in outermost_modules(returned)
            )
            return results, _ResultStructure(outer, tuple(signatures))

        flat.__name__ = getattr(self.fun, "__name__", flat.__name__)
        donated = self._donated(flat, structure, leaves) if self.donate else ()
        self.donated[structure] = donated
        program = jax.jit(flat, donate_argnums=donated)
        return self.known.setdefault(structure, program)

    def lower(self, *args: Any, **kwargs: Any) -> Any:
        """Lower the program for these arguments, as `jax.jit(fun).lower` does."""
        leaves, structure = pax_tree.tree_flatten((args, kwargs))
        program = self.known.get(structure) or self.make(structure, leaves)
        return program.lower(*leaves)

    def check_donated(self, structure: Any, leaves: Sequence[Any], error: Exception) -> None:
        """Raise an error that names the arguments of a donated array that is passed twice, if one is.

        It is asked for after a call has failed with `error`, so that no call takes longer for it.
        """
        arguments: dict[int, list[str]] = {}
        for path, leaf in _with_paths(structure, leaves):
            arguments.setdefault(id(leaf), []).append(f"argument {pax_tree.keystr(path[1:])}")
        for number in self.donated[structure]:
            names = arguments.get(id(leaves[number]), ())
            if len(names) > 1:
                raise ValueError(
                    f"{' and '.join(names)} are one array, which is to be donated and can be given "
                    "away only once. Pass a copy (`jax.tree.map(jnp.copy, module)`), or compile with "
                    "donate=False."
                ) from error

    def _donated(
        self, flat: Callable[..., Any], structure: Any, leaves: Sequence[Any]
    ) -> tuple[int, ...]:
        """Return the positions of the leaves of modules that come back; JAX traces `flat` once."""
        arguments = pax_tree.tree_unflatten(structure, leaves)
        given, start = [], 0
        for item in pax_tree.tree_leaves(arguments, is_leaf=is_module):
            end = start + len(pax_tree.tree_leaves(item))
            if is_module(item):
                given.append((range(start, end), item))
            start = end
        if not any(numbers for numbers, _ in given):
            return ()
        _, wrapped = jax.eval_shape(flat, *leaves)
        returned = Counter(wrapped.modules)
        donated: list[int] = []
        for numbers, module in given:
            signature = _signature(module, [leaves[number] for number in numbers])
            if returned[signature] > 0:
                returned[signature] -= 1
                donated += [number for number in numbers if is_array(leaves[number])]
        return tuple(donated)


def _signature(module: Any, leaves: Sequence[Any]) -> Any:
    """Return what two modules share of which one can take the memory of the other."""
    described = ((getattr(leaf, "shape", ()), getattr(leaf, "dtype", None)) for leaf in leaves)
    return type(module), tuple(described)


def _with_paths(structure: Any, leaves: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Return leaves with their paths; nodes of classes that check what they hold are made of these."""
    return pax_tree.tree_leaves_with_path(pax_tree.tree_unflatten(structure, leaves))


def _check_leaves(fun: Callable[..., Any], structure: Any, leaves: Sequence[Any]) -> None:
    for path, leaf in _with_paths(structure, leaves):
        if not (hasattr(leaf, "dtype") or isinstance(leaf, (bool, int, float, complex))):
            position, *rest = path[1:]
            raise TypeError(
                f"The argument {getattr(position, 'idx', getattr(position, 'key', ''))} of "
                f"{getattr(fun, '__name__', fun)!r}{' at ' + pax_tree.keystr(rest) if rest else ''} "
                f"is {leaf!r} of type {type(leaf).__name__}, which is no array, number or module. "
                "Name it in static_argnums or static_argnames, or keep it in a module's attribute."
            )
