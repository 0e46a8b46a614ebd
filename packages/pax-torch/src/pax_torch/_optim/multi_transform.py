"""`multi_transform`: different optimizers for different parameters."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple, Protocol

import torch

from pax_torch._errors import leaf_place
from pax_torch._optim.checks import as_tensors, check_donated
from pax_torch._optim.optimizer import FunctionalOptimizer
from pax_torch._optim.parts import Part, by_names, with_none
from pax_torch._optim.state import check_state, leaves_like
from pax_torch._tracing import values_are_hidden
from pax_tree import PyTreeDef, broadcast_prefix, tree_flatten, tree_leaves, tree_unflatten


class Optimizer(Protocol):
    """What `multi_transform` combines: a `FunctionalOptimizer`, or anything with its methods."""

    @property
    def hyperparameters(self) -> Mapping[str, Any]: ...
    def init(self, params: Any, **overrides: Any) -> Any: ...
    def step(self, params: Any, grads: Any, state: Any, **overrides: Any) -> tuple[Any, Any]: ...
    def compute_update(
        self, params: Any, grads: Any, state: Any, **overrides: Any
    ) -> tuple[Any, Any]: ...


def multi_transform(
    optimizers: Mapping[Hashable, Optimizer], param_labels: Any, *, allow_unused: bool = False
) -> MultiTransform:
    """Return an optimizer that steps each parameter with the optimizer of its label.

    Args:
        optimizers: an optimizer for each label.
        param_labels: a tree of labels like the parameters, or a prefix of one (a label then holds
            for all leaves below it), or a function from the parameters to such a tree.
        allow_unused: whether an optimizer's label may be that of no parameter, which mostly is a
            mistake in writing a label or a path.

    Returns:
        An optimizer with the methods of `FunctionalOptimizer`. Its state has the state of each
        optimizer under its label, for its own parameters alone: as dictionaries by their names, or,
        for optimizers of other classes, as trees like the parameters with None for all others. An
        override reaches every optimizer that has the hyperparameter;
        as a dictionary by label (`lr={"body": 0.1}`) it reaches the labels it names.

    Raises:
        TypeError: `optimizers` is no dictionary of optimizers, or one is LBFGS, whose step evaluates
            the loss of all parameters together; in a call: no optimizer, or not that of the label
            it is given for, has an override's name.
        ValueError: in a call: a label has no optimizer, no state or no parameter, or the labels do not
            fit the parameters.

    Example:
        >>> import torch, pax_torch
        >>> adamw = lambda decay: pax_torch.functional_optimizer(
        ...     torch.optim.AdamW, weight_decay=decay
        ... )
        >>> optimizer = pax_torch.multi_transform(
        ...     {True: adamw(0.1), False: adamw(0.0)},  # decay matrices, not norms and biases
        ...     lambda params: pax_torch.tree_map(lambda p: p.dim() > 1, params),
        ... )
        >>> params = {"weight": torch.ones(2, 2), "bias": torch.ones(2)}
        >>> grads = pax_torch.tree_map(torch.zeros_like, params)
        >>> optimizer.step(params, grads, optimizer.init(params), lr=1.0)[0]["bias"]
        tensor([1., 1.])

    The API is that of `optax.multi_transform`.
    """
    if not isinstance(optimizers, Mapping):
        raise TypeError(
            "multi_transform expected a dictionary from labels to optimizers, "
            f"got {type(optimizers).__qualname__}."
        )
    for label, optimizer in optimizers.items():
        _check_optimizer(label, optimizer)
    return MultiTransform(optimizers, param_labels, allow_unused)


def _check_optimizer(label: Hashable, optimizer: object) -> None:
    if isinstance(optimizer, type) or not hasattr(optimizer, "compute_update"):
        raise TypeError(
            f"multi_transform expected an optimizer for label {label!r}, such as "
            f"functional_optimizer(...) returns, got {optimizer!r}."
        )
    if getattr(optimizer, "needs_value_fn", False):
        raise TypeError(
            f"multi_transform cannot use {optimizer!r} (label {label!r}): its step evaluates the "
            "loss, which depends on the parameters of the other labels too; let it step all."
        )


class MultiTransform:
    """Optimizers by label; `multi_transform` makes it.

    Its attribute `donates` says whether one of them writes to the arguments of a step.
    """

    __static_by_identity__ = True

    def __init__(
        self, optimizers: Mapping[Hashable, Optimizer], param_labels: Any, allow_unused: bool
    ) -> None:
        self._optimizers, self._labels = dict(optimizers), param_labels
        self._allow_unused = allow_unused
        self._last: tuple[list[Any], PyTreeDef, list[Part]] | None = None
        self.donates = any(getattr(each, "donates", False) for each in optimizers.values())

    def __repr__(self) -> str:
        return f"multi_transform({self._optimizers!r}, {self._labels!r})"

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The hyperparameters by name, each with its values by label."""
        together: dict[str, Any] = {}
        for label, optimizer in self._optimizers.items():
            for name, value in optimizer.hyperparameters.items():
                together.setdefault(name, {})[label] = value
        return together

    def init(self, params: Any, **overrides: Any) -> dict[Hashable, Any]:
        """Return the state before the first step: that of each optimizer, under its label.

        Args:
            params: a pytree of floating-point tensors.
            **overrides: hyperparameters of the first step.

        Raises:
            TypeError, ValueError: as in a step.

        Example:
            >>> import torch, pax_torch
            >>> rprop = pax_torch.functional_optimizer(torch.optim.Rprop, lr=0.1)
            >>> sgd = pax_torch.functional_optimizer(torch.optim.SGD)
            >>> optimizer = pax_torch.multi_transform({"a": rprop, "b": sgd}, {"x": "a", "y": "b"})
            >>> optimizer.init({"x": torch.zeros(2), "y": torch.zeros(2)})["a"]["step_size"]
            {'x': tensor([0.1000, 0.1000])}
        """
        leaves = tree_leaves(params)
        return {
            group.label: group.optimizer.init(group.part.of(leaves), **group.overrides)
            for group in self._groups(params, overrides)
        }

    def step(
        self, params: Any, grads: Any, state: Mapping[Hashable, Any], **overrides: Any
    ) -> tuple[Any, dict[Hashable, Any]]:
        """Return the parameters and the state after one step.

        Args:
            params: a pytree of floating-point tensors, as given to `init`.
            grads: a tree like `params`; None leaves a parameter as it is.
            state: as returned by `init` or the last step.
            **overrides: hyperparameters for this step only.

        Raises:
            TypeError, ValueError: as `multi_transform` and the optimizers say.

        Example:
            >>> import torch, pax_torch
            >>> sgd = pax_torch.functional_optimizer(torch.optim.SGD, lr=1.0)
            >>> optimizer = pax_torch.multi_transform({"a": sgd, "b": sgd}, {"x": "a", "y": "b"})
            >>> params = {"x": torch.ones(()), "y": torch.ones(())}
            >>> state = optimizer.init(params)
            >>> optimizer.step(params, params, state, lr={"a": 0.5})[0]
            {'x': tensor(0.5000), 'y': tensor(0.)}
        """
        return self._each("step", params, grads, state, overrides)

    def compute_update(
        self, params: Any, grads: Any, state: Mapping[Hashable, Any], **overrides: Any
    ) -> tuple[Any, dict[Hashable, Any]]:
        """Return what a step adds to the parameters, and the state after it.

        Args:
            params: as for `step`, as are all other arguments.
            grads: a tree like `params`.
            state: as returned by `init` or the last step.
            **overrides: hyperparameters for this step only.

        Raises:
            TypeError, ValueError: as `step` does.

        Example:
            >>> import torch, pax_torch
            >>> sgd = pax_torch.functional_optimizer(torch.optim.SGD, lr=0.5)
            >>> optimizer = pax_torch.multi_transform({"all": sgd}, "all")
            >>> params = {"x": torch.ones(())}
            >>> optimizer.compute_update(params, params, optimizer.init(params))[0]
            {'x': tensor(-0.5000)}
        """
        return self._each("compute_update", params, grads, state, overrides)

    def check(
        self, params: Any, grads: Any, state: Mapping[Hashable, Any], **overrides: Any
    ) -> None:
        """Raise what `step` would raise before it writes to donated memory; changes nothing.

        Args:
            params: as for `step`, as are all other arguments.
            grads: a tree like `params`.
            state: as returned by `init` or the last step.
            **overrides: hyperparameters for this step only.

        Raises:
            TypeError, ValueError: as `step` does.

        Example:
            >>> import torch, pax_torch
            >>> sgd = pax_torch.functional_optimizer(torch.optim.SGD)
            >>> optimizer = pax_torch.multi_transform({"a": sgd}, "a")
            >>> optimizer.check(torch.ones(2), torch.ones(3), {"a": {}})
            Traceback (most recent call last):
            ValueError: grads has shape (3,), but its parameter has shape (2,).
        """
        self._check(self._parts(params, grads, state, overrides), params, donate_params=True)

    def _parts(
        self, params: Any, grads: Any, state: Mapping[Hashable, Any], overrides: dict[str, Any]
    ) -> list[tuple[_Group, tuple[Any, Any, Any]]]:
        """Return each group of a step, with its parameters, gradients and state."""
        groups = self._groups(params, overrides)
        self._check_labels(state)
        leaves, treedef = tree_flatten(params)
        slopes = leaves_like(treedef, grads, "grads")
        return [
            (group, (group.part.of(leaves), group.part.of(slopes), state[group.label]))
            for group in groups
        ]

    def _check(
        self,
        parts: list[tuple[_Group, tuple[Any, Any, Any]]],
        params: Any,
        donate_params: bool,
    ) -> None:
        """Raise what a group's step would raise, before another has written to its arguments."""
        for group, given in parts:
            if isinstance(group.optimizer, FunctionalOptimizer | MultiTransform):
                group.optimizer.check(*given, **group.overrides)
        if donate_params and self.donates and not values_are_hidden():
            check_donated(as_tensors(tree_leaves(params), params), params)

    def _each(
        self,
        method: str,
        params: Any,
        grads: Any,
        state: Mapping[Hashable, Any],
        overrides: dict[str, Any],
    ) -> tuple[Any, dict[Hashable, Any]]:
        parts = self._parts(params, grads, state, overrides)
        if self.donates and not values_are_hidden():
            self._check(parts, params, donate_params=method == "step")
        treedef = tree_flatten(params)[1]
        leaves: list[Any] = [None] * treedef.num_leaves
        new_state = dict(state)
        for group, given in parts:
            new, after = getattr(group.optimizer, method)(*given, **group.overrides)
            new_state[group.label] = after
            for i, leaf in zip(group.part.places, tree_leaves(new), strict=True):
                leaves[i] = leaf
        return tree_unflatten(treedef, leaves), new_state

    def _groups(self, params: Any, overrides: dict[str, Any]) -> list[_Group]:
        self._check_overrides(overrides)
        treedef = tree_flatten(params)[1]
        labels = self._labels(params) if callable(self._labels) else self._labels
        try:
            labels = broadcast_prefix(labels, params)
        except ValueError as error:
            raise ValueError(f"param_labels is no prefix of params: {error}") from None
        return [
            _Group(label, optimizer, _overrides_of(label, optimizer, overrides), part)
            for (label, optimizer), part in zip(
                self._optimizers.items(), self._parts_of(labels, params, treedef), strict=True
            )
        ]

    def _parts_of(self, labels: list[Any], params: Any, treedef: PyTreeDef) -> list[Part]:
        """Return the leaves of each optimizer; those of the step before, for the same structure."""
        compiling = torch.compiler.is_compiling()
        if self._last is not None and not compiling and self._last[:2] == (labels, treedef):
            return self._last[2]
        places: dict[Hashable, list[int]] = {label: [] for label in self._optimizers}
        for i, label in enumerate(labels):
            if label not in places:
                raise ValueError(
                    f"{leaf_place(params, i, 'params')} has label {label!r}, for which there is "
                    f"no optimizer; there are {', '.join(map(repr, places))}."
                )
            places[label].append(i)
        self._check_used(places)
        paths = treedef.paths()
        parts = [
            _part(self._optimizers[label], treedef, paths, found) for label, found in places.items()
        ]
        if not compiling:
            self._last = labels, treedef, parts
        return parts

    def _check_used(self, places: dict[Hashable, list[int]]) -> None:
        used = [label for label, found in places.items() if found]
        if len(used) < len(places) and used and not self._allow_unused:
            unused = next(label for label, found in places.items() if not found)
            raise ValueError(
                f"No parameter has the label {unused!r}, for which there is an optimizer; they have "
                f"{', '.join(map(repr, used))}. If that is right, give multi_transform "
                "allow_unused=True."
            )

    def _check_overrides(self, overrides: dict[str, Any]) -> None:
        known = self.hyperparameters
        for name, value in overrides.items():
            if name not in known:
                raise TypeError(
                    f"No optimizer has a hyperparameter {name!r} to override; "
                    f"there are {', '.join(sorted(known))}."
                )
            if isinstance(value, Mapping):
                for label in value:
                    self._check_label(name, label)

    def _check_label(self, name: str, label: Hashable) -> None:
        if label not in self._optimizers:
            raise TypeError(
                f"{name} is given for label {label!r}, for which there is no optimizer; "
                f"there are {', '.join(map(repr, self._optimizers))}."
            )
        known = self._optimizers[label].hyperparameters
        if name not in known:
            raise TypeError(
                f"{name} is given for label {label!r}, whose optimizer has no such hyperparameter "
                f"to override; it has {', '.join(sorted(known))}."
            )

    def _check_labels(self, state: Mapping[Hashable, Any]) -> None:
        check_state(state)
        missing = [label for label in self._optimizers if label not in state]
        if missing:
            raise ValueError(
                f"The state has no part for label {missing[0]!r}, only for "
                f"{', '.join(map(repr, state)) or 'none'}; give the one that init returns."
            )


class _Group(NamedTuple):
    """The leaves of one label, their optimizer, and the overrides for it."""

    label: Hashable
    optimizer: Optimizer
    overrides: dict[str, Any]
    part: Part


def _part(optimizer: Optimizer, treedef: PyTreeDef, paths: list[Any], places: list[int]) -> Part:
    """Return the part of the parameters that an optimizer gets.

    One that may look at their structure gets that; so does each, if two parameters have one name.
    """
    if not isinstance(optimizer, FunctionalOptimizer):
        return with_none(treedef, places)
    try:
        return by_names(paths, places)
    except ValueError:
        return with_none(treedef, places)


def _overrides_of(
    label: Hashable, optimizer: Optimizer, overrides: dict[str, Any]
) -> dict[str, Any]:
    """Return those that an optimizer has, for all labels or for its own."""
    return {
        name: value[label] if isinstance(value, Mapping) else value
        for name, value in overrides.items()
        if name in optimizer.hyperparameters and (not isinstance(value, Mapping) or label in value)
    }
