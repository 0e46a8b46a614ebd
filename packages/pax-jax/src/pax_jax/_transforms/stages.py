"""What is between a function and its compiled program: `jax.stages`, with the function's arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pax_tree
from pax_jax._transforms.changes import Changes, carry_out


class Stage:
    """A traced, lowered or compiled function of modules.

    It has the attributes of JAX's own stage, on the flat list of leaves; `lower`, `compile`, calls and
    what is said of the function's results are in terms of the function.

    Args:
        stage: JAX's.
        structure: of arguments, keywords and owners.
        owners: the modules of the function itself.
        constants: the numbers of the arguments that are static; they are left out in calls.
    """

    __static_by_identity__ = True

    def __init__(
        self, stage: Any, structure: Any, owners: tuple[Any, ...], constants: Sequence[int]
    ) -> None:
        self._stage, self._structure = stage, structure
        self._owners, self._constants = owners, constants

    def lower(self, **options: Any) -> Stage:
        """Lower the traced function."""
        return self._next(self._stage.lower(**options))

    def compile(self, *options: Any, **named: Any) -> Stage:
        """Compile the lowered function."""
        return self._next(self._stage.compile(*options, **named))

    def _next(self, stage: Any) -> Stage:
        return Stage(stage, self._structure, self._owners, self._constants)

    @property
    def out_info(self) -> Any:
        """The result, with shapes and dtypes in the place of arrays."""
        results, _, wrapped = self._stage.out_info
        return wrapped.structure.unflatten(results)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the compiled function with arguments of the structure that it was traced with.

        Raises:
            TypeError: they have another structure.
        """
        whole = list(args)
        for place in self._constants:
            whole.insert(place, None)
        given = (tuple(whole), kwargs, self._owners)
        leaves, structure = pax_tree.tree_flatten(given)
        if structure != self._structure:
            raise TypeError(
                "The compiled function is called with arguments of another structure than those it "
                f"was compiled for: {structure} and {self._structure}."
            )
        results, values, wrapped = self._stage(*leaves)
        carry_out(given, Changes(wrapped.plan, values))
        return wrapped.structure.unflatten(results)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage, name)
