"""`jax.jit` for modules: arguments cross into XLA as a flat list."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax

import pax_tree
from pax_jax._compat import program_count
from pax_jax._module.kinds import is_array, is_module
from pax_jax._transforms.changes import Changes, Plan, Watched, carry_out
from pax_jax._transforms.functions import Opened, closed, opened
from pax_jax._transforms.stages import Arguments, Stage
from pax_tree._static_args import Static, StaticArguments
from pax_tree._static_changes import StaticChanges


def jit(
    fun: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Iterable[int] | None = None,
    static_argnames: str | Iterable[str] | None = None,
    donate_argnums: int | Iterable[int] | None = None,
    donate_argnames: str | Iterable[str] | None = None,
    in_shardings: Any = None,
    out_shardings: Any = None,
) -> Callable[..., Any]:
    """Compile a function of modules; as `jax.jit`, with less to do for each call.

    A compiled function does to the modules that it is given what `fun` does: what it changes in one of
    them is assigned to the caller's module after the call, unless that module comes back in the result.
    Nothing is donated that is not asked for.

    Args:
        fun: a function of pytrees of modules and arrays, a method in a class body, a module or one of
            its methods. It may change its modules, and return them.
        static_argnums: numbers of arguments that are constants, hashable, however they are passed.
        static_argnames: the same by their names.
        donate_argnums: numbers of arguments whose memory may be used for the results. They can be read
            no more after the call, but for a module that is changed and does not come back: it gets
            all its arrays anew.
        donate_argnames: the same by their names.
        in_shardings: shardings of the positional arguments, or of parts of them: a prefix of their
            tuple, without those that are static. `None` leaves one to its array.
        out_shardings: shardings of the result; a prefix of it. `None` leaves one to XLA.

    Returns:
        The compiled function. Its `trace` and `lower` take the same arguments, and so does what
        `lower(...).compile()` returns; else they are those of `jax.jit`, on the flat list of leaves.
        `cache_size()` is the number of programs that it has, and `clear_cache()` drops them.

    Raises:
        TypeError: at a call, an argument holds something that is no array, number or module.
        ValueError: `fun` has no argument of a name or a number that is given, or an argument is both
            static and donated; or, at a call, a static argument is not hashable, an array that is to be
            donated is passed twice, or a module that changes is.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> @pax.jit
        ... def call(norm, x):
        ...     return norm(x)
        >>> norm = pax.BatchNorm1D(1)
        >>> for _ in range(3):
        ...     y = call(norm, jnp.ones((4, 1)))
        >>> norm.ema_mean
        Array([1.], dtype=float32)
    """
    options = {
        "static_argnums": static_argnums,
        "static_argnames": static_argnames,
        "donate_argnums": donate_argnums,
        "donate_argnames": donate_argnames,
        "in_shardings": in_shardings,
        "out_shardings": out_shardings,
    }
    if fun is None:
        return functools.partial(jit, **options)
    static = StaticArguments(fun, static_argnums, static_argnames, "jit")
    donated = StaticArguments(fun, donate_argnums, donate_argnames, "jit", "donate")
    static.check_apart(donated)
    call, owners = opened(fun)
    shared = _Options(
        getattr(fun, "__name__", type(fun).__name__), donated, in_shardings, out_shardings
    )
    programs = _WithStatics(call, static, shared) if static else _Programs(call, shared)
    compiled: Any = closed(fun, programs.run, owners)
    compiled.trace = functools.partial(programs.trace, owners)
    compiled.lower = lambda *args, **kwargs: programs.trace(owners, *args, **kwargs).lower()
    compiled.cache_size, compiled.clear_cache = programs.size, programs.clear
    return compiled


# How many programs a function keeps, as many as that of `jax.jit`; the oldest is dropped for a new one.
_KEPT = 4096
V = TypeVar("V")


def _remembered(known: dict[Any, V], key: Any, value: V) -> V:
    """Return what is known of a key, which is `value` if nothing is."""
    if key not in known and len(known) >= _KEPT:
        known.pop(next(iter(known)), None)
    return known.setdefault(key, value)


class _Options(NamedTuple):
    """What is the same for all programs of a function."""

    name: str
    donated: StaticArguments
    in_shardings: Any
    out_shardings: Any


class _WithStatics:
    """The compiled functions of a function some of whose arguments are constants."""

    def __init__(self, call: Opened, static: StaticArguments, options: _Options) -> None:
        self._call, self._static, self._options = call, static, options
        self._programs: dict[Static, _Programs] = {}
        self._seen = StaticChanges("jit", "an array")

    def run(self, owners: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs, constants = self._static.split(args, kwargs)
        return self._of(constants).run(owners, args, kwargs)

    def trace(self, owners: tuple[Any, ...], *args: Any, **kwargs: Any) -> Stage:
        args, kwargs, constants = self._static.split(args, kwargs)
        return self._of(constants).trace(owners, *args, **kwargs)

    def size(self) -> int:
        """Return the number of programs."""
        return sum(programs.size() for programs in list(self._programs.values()))

    def clear(self) -> None:
        """Drop the programs."""
        self._programs.clear()
        self._seen.clear()

    def _of(self, constants: Static) -> _Programs:
        self._seen.see(constants)
        programs = self._programs.get(constants)
        if programs is None:
            whole = _with_constants(self._call, constants)
            places = tuple(place for place, _ in constants.args)
            programs = _Programs(whole, self._options, places)
            programs = _remembered(self._programs, constants, programs)
        return programs


def _with_constants(call: Opened, constants: Static) -> Opened:
    return lambda owners, args, kwargs: call(owners, *constants.join(args, kwargs))


class _Result:
    """What a program returns beside arrays: the number of a structure of its results; it has no leaves.

    JAX keeps what functions have returned for longer than the functions, so it gets nothing else.
    """

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


jax.tree_util.register_pytree_node(
    _Result, lambda node: ((), node.number), lambda number, _: _Result(number)
)


class _Program(NamedTuple):
    """The compiled function for a structure of the arguments.

    Attributes:
        call: from leaves to leaves of the result, new leaves of the modules, and a `_Result`.
        results: by number, the structure of the result and the plan of the changes of modules.
        donated: the numbers of the leaves that are given away.
    """

    call: Any
    results: Sequence[tuple[Any, Plan]]
    donated: tuple[int, ...]


class _Programs:
    """The compiled functions of a function, one for each structure of its arguments.

    Args:
        call: the function, of its owners, arguments and keywords.
        options: those of `jit`.
        constants: the numbers of arguments that are constants, at which `None` stands.
    """

    def __init__(self, call: Opened, options: _Options, constants: Sequence[int] = ()) -> None:
        self._call, self._options, self._constants = call, options, constants
        self._known: dict[Any, _Program] = {}

    def run(self, owners: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the program for these arguments, and carry out what it has changed."""
        given = (args, kwargs, owners)
        leaves, structure = pax_tree.tree_flatten(given)
        program = self._known.get(structure) or self._make(structure, leaves)
        try:
            results, values, result = program.call(*leaves)
        except jax.errors.JaxRuntimeError as error:
            self._check_donated(program, structure, leaves, error)
            raise
        outer, plan = program.results[result.number]
        if plan:
            carry_out(given, Changes(plan, values))
        return pax_tree.tree_unflatten(outer, results)

    def trace(self, owners: tuple[Any, ...], *args: Any, **kwargs: Any) -> Stage:
        """Trace the program for these arguments, as `jax.jit(fun).trace` does."""
        leaves, structure = pax_tree.tree_flatten((args, kwargs, owners))
        program = self._known.get(structure) or self._make(structure, leaves)
        arguments = Arguments(structure, owners, self._constants)
        return Stage(program.call.trace(*leaves), arguments, program.results)

    def size(self) -> int:
        """Return the number of programs."""
        return sum(program_count(program.call) for program in list(self._known.values()))

    def clear(self) -> None:
        """Drop the programs."""
        self._known.clear()

    def _make(self, structure: Any, leaves: Sequence[Any]) -> _Program:
        """Make, and remember, the program for arguments of a structure."""
        name = self._options.name
        _check_leaves(name, structure, leaves)
        donated, given_away = self._given_away(structure, leaves)
        known: list[tuple[Any, Plan]] = []

        def flat(*leaves: Any) -> tuple[list[Any], list[Any], _Result]:
            args, kwargs, owners = given = pax_tree.tree_unflatten(structure, leaves)
            watched = Watched(given)
            result = self._call(owners, args, kwargs)
            changes = watched.changes(result, given_away)
            results, outer = pax_tree.tree_flatten(result)
            whole = outer, (changes.plan if changes else ())
            if whole not in known:
                known.append(whole)
            return results, list(changes.values), _Result(known.index(whole))

        flat.__name__ = name
        shardings = self._shardings(flat, known, structure, leaves)
        call = jax.jit(flat, donate_argnums=donated, **shardings)
        return _remembered(self._known, structure, _Program(call, known, donated))

    def _given_away(
        self, structure: Any, leaves: Sequence[Any]
    ) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        """Return the numbers of the leaves that are donated, and for each module whether it is."""
        args, _, _ = given = pax_tree.tree_unflatten(structure, leaves)
        numbers, names = self._options.donated.places(len(args))

        def is_donated(path: Any) -> bool:
            first, *rest = path[:2]
            own = (numbers, names, ())[first.idx]
            return bool(rest) and getattr(rest[0], "idx", getattr(rest[0], "key", None)) in own

        paths = pax_tree.tree_leaves_with_path(given)
        donated = tuple(
            number
            for number, (path, leaf) in enumerate(paths)
            if is_donated(path) and is_array(leaf)
        )
        items = pax_tree.tree_leaves_with_path(given, is_leaf=is_module)
        return donated, tuple(is_donated(path) for path, item in items if is_module(item))

    def _shardings(
        self,
        flat: Callable[..., Any],
        known: Sequence[tuple[Any, Plan]],
        structure: Any,
        leaves: Sequence[Any],
    ) -> dict[str, Any]:
        """Return the shardings of all arguments and results of the flat function, if there are."""
        found: dict[str, Any] = {}
        if self._options.in_shardings is not None:
            args, *rest = pax_tree.tree_unflatten(structure, leaves)
            args = tuple(arg for i, arg in enumerate(args) if i not in self._constants)
            given = _broadcast(self._options.in_shardings, args, "in_shardings")
            found["in_shardings"] = (*given, *[None] * len(pax_tree.tree_leaves(rest)))
        if self._options.out_shardings is not None:
            results, _, made = jax.eval_shape(flat, *leaves)
            result = known[made.number][0].unflatten(results)
            given = _broadcast(self._options.out_shardings, result, "out_shardings")
            found["out_shardings"] = (given, None, None)
        return found

    def _check_donated(
        self, program: _Program, structure: Any, leaves: Sequence[Any], error: Exception
    ) -> None:
        """Raise an error that names the arguments of a donated array that is passed twice, if one is.

        It is asked for after a call has failed with `error`, so that no call takes longer for it.
        """
        arguments: dict[int, list[str]] = {}
        for path, leaf in _with_paths(structure, leaves):
            arguments.setdefault(id(leaf), []).append(f"argument {pax_tree.keystr(path[1:])}")
        for number in program.donated:
            names = arguments.get(id(leaves[number]), ())
            if len(names) > 1:
                raise ValueError(
                    f"{' and '.join(names)} are one array, which is to be donated and can be given "
                    "away only once. Pass a copy (`jax.tree.map(jnp.copy, module)`), or do not "
                    "donate the argument."
                ) from error


def _broadcast(shardings: Any, tree: Any, name: str) -> list[Any]:
    """Return the sharding of each leaf of `tree`, of which `shardings` is a prefix."""
    try:
        found = pax_tree.broadcast_prefix(shardings, tree, none_is_leaf=True)
    except ValueError as error:
        what = "tuple of the positional arguments" if name == "in_shardings" else "result"
        raise ValueError(f"jit: {name} must be a prefix of the {what}: {error}") from error
    leaves = pax_tree.tree_leaves(tree, none_is_leaf=True)
    return [own for own, leaf in zip(found, leaves, strict=True) if leaf is not None]


def _with_paths(structure: Any, leaves: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Return leaves with their paths; nodes of classes that check what they hold are made of these."""
    return pax_tree.tree_leaves_with_path(pax_tree.tree_unflatten(structure, leaves))


def _check_leaves(name: str, structure: Any, leaves: Sequence[Any]) -> None:
    for path, leaf in _with_paths(structure, leaves):
        if not (hasattr(leaf, "dtype") or isinstance(leaf, (bool, int, float, complex))):
            position, *rest = path[1:]
            raise TypeError(
                f"The argument {getattr(position, 'idx', getattr(position, 'key', ''))} of "
                f"{name!r}{' at ' + pax_tree.keystr(rest) if rest else ''} "
                f"is {leaf!r} of type {type(leaf).__name__}, which is no array, number or module. "
                "Name it in static_argnums or static_argnames, or keep it in a module's attribute."
            )
