"""What is between a function and its compiled program: `jax.stages`, with the function's arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pax_tree
from pax_jax._transforms.changes import Changes, Plan, carry_out


class Arguments(NamedTuple):
    """What is said of a function's arguments when it is traced.

    Attributes:
        structure: of arguments, keywords and owners.
        owners: the modules of the function itself.
        constants: the numbers of the arguments that are static; they are left out in calls.
    """

    structure: Any
    owners: tuple[Any, ...]
    constants: Sequence[int]


class Stage:
    """A traced, lowered or compiled function of modules.

    It has the attributes of JAX's own stage, on the flat list of leaves; `lower`, `compile`, calls and
    what is said of the function's results are in terms of the function.

    Args:
        stage: JAX's.
        arguments: those of the function.
        results: by number, the structure of the result and the plan of the changes of modules.
    """

    __static_by_identity__ = True

    def __init__(
        self, stage: Any, arguments: Arguments, results: Sequence[tuple[Any, Plan]]
    ) -> None:
        self._stage, self._arguments, self._results = stage, arguments, results

    def lower(self, **options: Any) -> Stage:
        """Lower the traced function."""
        return self._next(self._stage.lower(**options))

    def compile(self, *options: Any, **named: Any) -> Stage:
        """Compile the lowered function."""
        return self._next(self._stage.compile(*options, **named))

    def _next(self, stage: Any) -> Stage:
        return Stage(stage, self._arguments, self._results)

    @property
    def out_info(self) -> Any:
        """The result, with shapes and dtypes in the place of arrays."""
        results, _, result = self._stage.out_info
        structure, _ = self._results[result.number]
        return structure.unflatten(results)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the compiled function with arguments of the structure that it was traced with.

        Raises:
            TypeError: they have another structure.
        """
        whole = list(args)
        expected, owners, constants = self._arguments
        for place in constants:
            whole.insert(place, None)
        given = (tuple(whole), kwargs, owners)
        leaves, structure = pax_tree.tree_flatten(given)
        if structure != expected:
            raise TypeError(
                "The compiled function is called with arguments of another structure than those it "
                f"was compiled for: {structure} and {expected}."
            )
        results, values, result = self._stage(*leaves)
        outer, plan = self._results[result.number]
        carry_out(given, Changes(plan, values))
        return outer.unflatten(results)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage, name)
