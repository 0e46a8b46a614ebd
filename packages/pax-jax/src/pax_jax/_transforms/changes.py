"""What a function changes in the modules it is given, as arrays that a JAX transformation returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

import pax_tree
from pax_jax._module.kinds import MODULE, is_module
from pax_jax._module.trees import outermost_modules, same_objects
from pax_tree import record_flatten, record_set
from pax_tree._C import _check_record_scope

_ABSENT = object()


class Change(NamedTuple):
    """What is other in a module than before.

    Attributes:
        places: the numbers of the leaves that are new.
        structure: that of the changed module, where it is another; all its leaves are new then.
    """

    places: tuple[int, ...]
    structure: Any = None

    def __bool__(self) -> bool:
        return bool(self.places) or self.structure is not None


Plan = tuple[Change, ...]
# A module, the name of an attribute, what it becomes and its kind.
Write = tuple[Any, str, Any, int | None]


class Changes:
    """The new leaves of some modules, a pytree; which ones they are is its structure.

    Attributes:
        plan: a `Change` for each module.
        values: the new leaves of all modules, in order.
    """

    __slots__ = ("plan", "values")

    def __init__(self, plan: Plan, values: Sequence[Any]) -> None:
        self.plan, self.values = plan, values

    def __bool__(self) -> bool:
        return any(self.plan)


jax.tree_util.register_pytree_node(
    Changes,
    lambda changes: (tuple(changes.values), changes.plan),
    lambda plan, values: Changes(plan, values),
)


class Watched:
    """Modules as they are before a call.

    Args:
        tree: arguments of a function; they are copies that the function may change.
    """

    def __init__(self, tree: Any) -> None:
        self.modules = outermost_modules(tree)
        self._before = [pax_tree.tree_flatten(module) for module in self.modules]

    def changes(self, result: Any, given_away: Sequence[bool] = ()) -> Changes:
        """Return what has changed since, but for modules that come back in the result themselves.

        Args:
            result: what the function returned.
            given_away: for each module whether its leaves are donated. Of such a module that has
                changed every leaf counts as new: the caller's own can be read no more.
        """
        back = set(map(id, _all_modules(result)))
        given_away = given_away or [False] * len(self.modules)
        plan = tuple(
            Change(()) if id(module) in back else _change(module, before, away)
            for module, before, away in zip(self.modules, self._before, given_away, strict=True)
        )
        return Changes(plan, self.values(plan))

    def values(self, plan: Plan) -> list[Any]:
        """Return the leaves of a plan as they are now."""
        found: list[Any] = []
        for module, change in zip(self.modules, plan, strict=True):
            leaves = pax_tree.tree_leaves(module) if change else []
            found += [leaves[place] for place in change.places]
        return found


def _change(module: Any, before: tuple[list[Any], Any], given_away: bool) -> Change:
    leaves, structure = pax_tree.tree_flatten(module)
    everything = tuple(range(len(leaves)))
    old, old_structure = before
    if structure != old_structure:
        return Change(everything, structure)
    places = tuple(i for i in everything if leaves[i] is not old[i])
    return Change(everything if places and given_away else places)


def _all_modules(tree: Any) -> Iterator[Any]:
    for module in outermost_modules(tree):
        yield module
        yield from _all_modules(record_flatten(module)[0])


def plan_of(fun: Callable[..., Plan], *args: Any) -> Plan:
    """Return the plan that a function returns for arguments, from their shapes alone.

    JAX keeps the structures of the arguments of `jax.eval_shape`, and so what is static in modules:
    it gets leaves only.
    """
    plans: list[Plan] = []
    leaves, structure = pax_tree.tree_flatten(args)

    def flat(*leaves: Any) -> None:
        plans.append(fun(*structure.unflatten(leaves)))

    jax.eval_shape(flat, *leaves)
    return plans[-1]


def fixed(plan: Plan, modules: Sequence[Any], name: str) -> Plan:
    """Return a plan in which only leaves change.

    Raises:
        TypeError: the structure of a module changes in the transformation of this name.
    """
    for module, change in zip(modules, plan, strict=True):
        if change.structure is not None:
            raise TypeError(
                f"A {type(module).__name__} is given to pax_jax.{name} and its structure changes "
                f"there: static attributes, or parts that it makes. {name} carries out arrays only. "
                "Call the module once before (`module, _ = module % inputs`), or set the attribute "
                "outside."
            )
    return plan


def with_values(tree: Any, plan: Plan, values: Sequence[Any]) -> Any:
    """Return a copy of `tree` in which the leaves of a plan for its modules have these values."""
    leaves, structure = pax_tree.tree_flatten(tree)
    start, rest = 0, iter(values)
    starts = {}
    for item in pax_tree.tree_leaves(tree, is_leaf=is_module):
        if is_module(item):
            starts[len(starts)] = start
        start += pax_tree.tree_structure(item).num_leaves
    for number, change in enumerate(plan):
        for place in change.places:
            leaves[starts[number] + place] = next(rest)
    return structure.unflatten(leaves)


def carry_out(tree: Any, changes: Changes) -> None:
    """Assign to the modules of a tree what a function has changed in their copies.

    Args:
        tree: the arguments of the caller, of which copies were given to the function.
        changes: what the function has changed.

    Raises:
        RuntimeError: a module was not made in the current scope.
        ValueError: a changed module was given twice.
    """
    if not changes:
        return
    modules = outermost_modules(tree)
    _check_once(modules, changes.plan)
    values, writes = iter(changes.values), list[Write]()
    for module, change in zip(modules, changes.plan, strict=True):
        new = {place: next(values) for place in change.places}
        if change.structure is not None:
            writes += _becoming(module, change.structure.unflatten(list(new.values())))
        elif new:
            writes += _assignments(module, 0, new)
    for module, name, _, _ in writes:  # all or none
        _check_record_scope(module, name)
    for write in writes:
        record_set(*write)


def _check_once(modules: Sequence[Any], plan: Plan) -> None:
    """Raise if what has changed is held by two of the modules: each has got its own copy."""
    if len(modules) < 2:
        return
    seen: dict[int, int] = {}
    for number, module in enumerate(modules):
        for inner in _all_modules(module):
            other = seen.setdefault(id(inner), number)
            if other != number and (plan[other] or plan[number]):
                raise ValueError(
                    f"The same {type(inner).__name__} is given twice to a transformed function that "
                    "changes it, and each of its copies would change apart. Give it once."
                )


def _assignments(module: Any, start: int, new: dict[int, Any]) -> Iterator[Write]:
    """Yield what puts new leaves, by their numbers, into a module whose first is number `start`."""
    children, spec = record_flatten(module)
    for name, kind, child in zip(spec.names, spec.kinds, children, strict=True):
        stop = start + pax_tree.tree_structure(child).num_leaves
        own = {place: new[place] for place in range(start, stop) if place in new}
        if own and kind == MODULE:
            for part in outermost_modules(child):
                yield from _assignments(part, start, own)
                start += pax_tree.tree_structure(part).num_leaves
        elif own:
            leaves, structure = pax_tree.tree_flatten(child)
            for place, value in own.items():
                leaves[place - start] = value
            yield module, name, structure.unflatten(leaves), kind
        start = stop


def _becoming(module: Any, after: Any) -> Iterator[Write]:
    """Yield what gives a module the attributes of another, keeping submodules of the same class."""
    children, spec = record_flatten(module)
    known = dict(zip(spec.names, children, strict=True))
    kinds = dict(zip(spec.names, spec.kinds, strict=True))
    changed, new_spec = record_flatten(after)
    for name, kind, child in zip(new_spec.names, new_spec.kinds, changed, strict=True):
        own = known.get(name, _ABSENT)
        if kind == MODULE and _alike(own, child):
            for part, new in zip(*map(outermost_modules, (own, child)), strict=True):
                yield from _becoming(part, new)
        elif kind != kinds.get(name) or not _same(own, child):
            yield module, name, child, kind
    for name, value in new_spec.statics.items():
        if spec.statics.get(name, _ABSENT) is not value:
            yield module, name, value, None


def _alike(tree: Any, other: Any) -> bool:
    """Say whether two trees of modules are the same containers of modules of the same classes."""
    pairs = [pax_tree.tree_flatten(item, is_leaf=is_module) for item in (tree, other)]
    (modules, containers), (others, other_containers) = pairs
    return containers == other_containers and list(map(type, modules)) == list(map(type, others))


def _same(tree: Any, other: Any) -> bool:
    structure = pax_tree.tree_structure(tree)
    return structure == pax_tree.tree_structure(other) and same_objects(tree, other)
