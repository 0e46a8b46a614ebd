"""A function with some arguments given, as a tree."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pax_tree._C import GetAttrKey
from pax_tree._registry import register_pytree_with_keys

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any


class Partial(partial):
    """A `functools.partial` whose arguments are leaves of trees, as `jax.tree_util.Partial`.

    `Partial(func, *args, **keywords)` calls `func` with these arguments before those of the call.
    The function is static, so two trees are alike only if it is equal; a `functools.partial` stays
    one function, whose own arguments do not become leaves.

    Example:
        >>> import operator, pax_tree
        >>> add_one = pax_tree.Partial(operator.add, 1)
        >>> add_one(2), pax_tree.tree_leaves(add_one)
        (3, [1])
        >>> pax_tree.tree_map(lambda leaf: 10 * leaf, add_one)(2)
        12
    """

    def __new__(cls, func: Callable[..., Any], /, *args: Any, **keywords: Any) -> Partial:
        """Make a function of the remaining arguments.

        Args:
            func: the function.
            *args: the first positional arguments, trees.
            **keywords: keyword arguments, trees.

        Raises:
            TypeError: `func` cannot be called.
        """
        if isinstance(func, partial):
            func = _Whole(func)  # else its arguments would be put before `args`
        return super().__new__(cls, func, *args, **keywords)

    @property
    def func(self) -> Callable[..., Any]:  # type: ignore[override]
        """The function that was given."""
        func = super().func
        return func.function if isinstance(func, _Whole) else func


class _Whole:
    """A partial function in a form that `functools.partial` does not take apart."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self.function(*args, **keywords)

    def __eq__(self, other: object) -> bool:
        return self.function == other.function if isinstance(other, _Whole) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.function)

    def __repr__(self) -> str:
        return repr(self.function)


register_pytree_with_keys(
    Partial,
    lambda p: (((GetAttrKey("args"), p.args), (GetAttrKey("keywords"), p.keywords)), p.func),
    lambda func, children: Partial(func, *children[0], **children[1]),
    lambda p: ((p.args, p.keywords), p.func),
)
