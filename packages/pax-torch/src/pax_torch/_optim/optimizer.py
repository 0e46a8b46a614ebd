"""`functional_optimizer`: the optimizers of `torch.optim` as pure functions."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._autodiff.grad import value_and_grad
from pax_torch._optim.checks import (
    Gradients,
    as_scalars,
    as_tensors,
    check_donated,
    check_dtypes,
    check_options,
    given_gradients,
)
from pax_torch._optim.formulas import init_state, rule_of, take_steps
from pax_torch._optim.formulas.update_rule import UpdateRule
from pax_torch._optim.state import (
    Columns,
    OptimizerState,
    check_names,
    check_shapes,
    check_state,
    columns_of,
    columns_of_rows,
    leaves_like,
    replaced,
    rows_of,
    state_of,
)
from pax_torch._optim.torch_class import ClassStep, writable
from pax_torch._tracing import values_are_hidden
from pax_tree import tree_flatten, tree_leaves, tree_unflatten


def functional_optimizer(
    cls: type[torch.optim.Optimizer],
    *args: Any,
    donate: bool = False,
    differentiable: bool = False,
    **kwargs: Any,
) -> FunctionalOptimizer:
    """Return an optimizer of `torch.optim` as pure functions, `init`, `step` and `compute_update`.

    A step computes what the class itself does, to the last bit, by running it on copies. Where the
    class cannot run, inside `vmap` and `jit` and with `differentiable=True`, the same formulas are
    evaluated on tensors, with the same result up to rounding.

    Args:
        cls: a subclass of `torch.optim.Optimizer`.
        *args: hyperparameters, as `cls` takes them after the parameters.
        donate: let `step` write the new parameters and state into the memory of the old ones,
            which takes the time and the memory of the class itself. The trees given to `step`
            then hold the new values, as do all tensors that share their memory (those of the
            module the parameters came from, if they were not copied), so use the returned trees
            only. It is a permission: inside `vmap` and `jit` nothing is reused.
        differentiable: let gradients flow through `step`, from the new parameters and state to
            the old ones, to the gradients and to hyperparameters that are tensors. Otherwise the
            results carry no graph.
        **kwargs: hyperparameters by name.

    Returns:
        A `FunctionalOptimizer`.

    Raises:
        TypeError: `cls` is no optimizer class, needs a closure (as LBFGS does, which is served),
            or is asked to be differentiable without being a class of torch other than LBFGS.
        ValueError: `cls` refuses a hyperparameter, or both `donate` and `differentiable` are set.

    Example:
        >>> import torch, pax_torch
        >>> optimizer = pax_torch.functional_optimizer(torch.optim.SGD, lr=0.5)
        >>> params = {"w": torch.tensor(3.0)}
        >>> state = optimizer.init(params)
        >>> params, state = optimizer.step(params, {"w": torch.tensor(2.0)}, state)
        >>> params
        {'w': tensor(2.)}

    The API is that of a gradient transformation in optax that applies its own updates.
    """
    if not (isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer)):
        raise TypeError(f"functional_optimizer expected a torch.optim class, got {cls!r}.")
    closure = inspect.signature(cls.step).parameters.get("closure")
    required = closure is not None and closure.default is inspect.Parameter.empty
    if required and not issubclass(cls, torch.optim.LBFGS):
        raise TypeError(
            f"functional_optimizer cannot use {cls.__name__}: its step evaluates the loss through "
            "a closure, which is served for LBFGS alone."
        )
    if donate and differentiable:
        raise ValueError(
            "functional_optimizer got donate=True and differentiable=True, but a derivative "
            "needs the old parameters, whose memory donation gives away; choose one."
        )
    return FunctionalOptimizer(cls, args, kwargs, donate, differentiable)


class FunctionalOptimizer:
    """An optimizer whose state is a pytree; `functional_optimizer` makes it.

    It holds hyperparameters only, so that one object serves any number of parameter trees and
    threads. Its attributes `donates` and `needs_value_fn` say whether a step writes to its
    arguments, and whether it evaluates the loss itself, as that of LBFGS does.
    """

    __static_by_identity__ = True

    def __init__(
        self,
        cls: type[torch.optim.Optimizer],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        donate: bool,
        differentiable: bool,
    ) -> None:
        self._class_step = ClassStep(cls, args, kwargs)
        self._rule = rule_of(cls)
        self.needs_value_fn = issubclass(cls, torch.optim.LBFGS)
        self.donates, self._differentiable = donate, differentiable
        self._given = args, kwargs
        if differentiable:
            self._rule_or_error("with differentiable=True")

    def __repr__(self) -> str:
        args, kwargs = self._given
        given = [self._class_step.cls.__name__, *map(repr, args)]
        given += [f"{name}={value!r}" for name, value in kwargs.items()]
        flags = {"donate": self.donates, "differentiable": self._differentiable}
        given += [f"{name}=True" for name, value in flags.items() if value]
        return f"functional_optimizer({', '.join(given)})"

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The hyperparameters by name, all of which may be overridden in a step."""
        options = self._class_step.options
        return {name: value for name, value in options.items() if name != "differentiable"}

    def init(self, params: Any, **overrides: Any) -> OptimizerState:
        """Return the state before the first step.

        Args:
            params: a pytree of floating-point tensors; NumPy arrays and Python floats will do.
            **overrides: hyperparameters of the first step, such as `lr=0.1`. They matter where
                the first state depends on them, as that of ASGD and Rprop does on `lr`.

        Returns:
            For each of the names under which the class keeps its state (`exp_avg`, `step`, ...) a
            tree like `params`, of tensors or numbers, with None where a parameter has no such
            state. What a class makes on its first step (such as the momentum of SGD) comes with
            that step. The state of LBFGS belongs to all parameters together.

        Raises:
            TypeError: an override is no hyperparameter of the class, or a leaf is no tensor,
                array or number.
            ValueError: the class refuses a parameter.

        Example:
            >>> import torch, pax_torch
            >>> adagrad = pax_torch.functional_optimizer(torch.optim.Adagrad)
            >>> adagrad.init(torch.tensor([1.0, 2.0]))
            {'step': tensor(0.), 'sum': tensor([0., 0.])}
        """
        overrides = self._checked(overrides)
        leaves, treedef = tree_flatten(params)
        if not leaves:
            return {}
        tensors = as_tensors(leaves, params)
        check_dtypes(tensors, params)
        if self.needs_value_fn:
            return {"func_evals": 0, "n_iter": 0}
        if self._by_rule():
            rule, options = self._rule_or_error("here"), self._options(overrides)
            with self._grad_mode():
                rows = [init_state(rule, tensor, options) for tensor in tensors]
        else:
            rows = self._class_step.init(tensors, overrides)
        return state_of(columns_of_rows(rows), treedef)

    def step(
        self,
        params: Any,
        grads: Any,
        state: OptimizerState,
        *,
        value_fn: Callable[[Any], Tensor] | None = None,
        **overrides: Any,
    ) -> tuple[Any, OptimizerState]:
        """Return the parameters and the state after one step; changes none of the arguments.

        Args:
            params: a pytree of floating-point tensors, as given to `init`.
            grads: a tree like `params`, with leaves of the same shapes and dtypes. A None in the
                place of a leaf leaves that parameter and its state as they are.
            state: as returned by `init` or the last step.
            value_fn: for LBFGS, from parameters to the loss, a tensor of shape (). It is evaluated
                and differentiated as often as the step needs it; `grads` may then be None for the
                whole tree, which makes the step evaluate the first gradient too.
            **overrides: hyperparameters for this step only, such as `lr=0.1`; tensors of shape ()
                too.

        Returns:
            New `params` and `state`.

        Raises:
            TypeError: an override is no hyperparameter of the class, a leaf is no tensor, array
                or number, or `value_fn` is missing for LBFGS or given to another class.
            ValueError: a gradient does not match its parameter, the trees differ, or the state
                was made with other options.

        Example:
            >>> import torch, pax_torch
            >>> optimizer = pax_torch.functional_optimizer(torch.optim.SGD, lr=0.0)
            >>> params = torch.tensor(3.0)
            >>> optimizer.step(params, torch.tensor(1.0), optimizer.init(params), lr=0.5)
            (tensor(2.5000), {})
        """
        return self._step(params, grads, state, value_fn, overrides, self.donates)

    def compute_update(
        self,
        params: Any,
        grads: Any,
        state: OptimizerState,
        *,
        value_fn: Callable[[Any], Tensor] | None = None,
        **overrides: Any,
    ) -> tuple[Any, OptimizerState]:
        """Return what a step adds to the parameters, and the state after it.

        Args:
            params: as for `step`, as are all other arguments. With `donate=True` the memory of
                `state` is reused, that of `params` is not.
            grads: a tree like `params`.
            state: as returned by `init` or the last step.
            value_fn: for LBFGS.
            **overrides: hyperparameters for this step only.

        Returns:
            A tree like `params` of the new minus the old parameters, and the new state.

        Raises:
            TypeError, ValueError: as `step` does.

        Example:
            >>> import torch, pax_torch
            >>> optimizer = pax_torch.functional_optimizer(torch.optim.SGD, lr=0.5)
            >>> params = torch.tensor(3.0)
            >>> optimizer.compute_update(params, torch.tensor(1.0), optimizer.init(params))
            (tensor(-0.5000), {})

        The API is that of the `update` of a gradient transformation in optax.
        """
        new, new_state = self._step(params, grads, state, value_fn, overrides, False)
        leaves, treedef = tree_flatten(params)
        tensors, new_leaves = as_tensors(leaves, params), tree_flatten(new)[0]
        with self._grad_mode():
            updates = [x - old for x, old in zip(new_leaves, tensors, strict=True)]
        return tree_unflatten(treedef, updates), new_state

    def _step(
        self,
        params: Any,
        grads: Any,
        state: OptimizerState,
        value_fn: Callable[[Any], Tensor] | None,
        overrides: dict[str, Any],
        donate_params: bool,
    ) -> tuple[Any, OptimizerState]:
        overrides = self._checked(overrides)
        self._check_value_fn(value_fn)
        leaves, treedef = tree_flatten(params)
        if not leaves:
            return params, state
        tensors = as_tensors(leaves, params)
        if value_fn is not None:
            return self._closure_step(params, grads, state, value_fn, overrides, donate_params)
        columns = columns_of(state, treedef, self._class_step.name)
        by_rule = self._by_rule()
        if donate_params and not by_rule:
            check_donated(tensors, params)
        gradients = self._check(tensors, leaves_like(treedef, grads, "grads"), columns, params)
        is_part, chosen, old = len(gradients.places) < len(tensors), tensors, columns
        if is_part:
            chosen = [tensors[i] for i in gradients.places]
            old = {name: [column[i] for i in gradients.places] for name, column in columns.items()}
        with _naming_missing_state():
            if by_rule:
                new, new_columns = self._rule_step(chosen, gradients.tensors, old, overrides)
            else:
                donated = donate_params, self.donates
                step = self._class_step.step
                new, new_columns = step(chosen, gradients, old, overrides, donated)
        if is_part:
            new_columns = replaced(columns, gradients.places, new_columns, len(tensors))
            stepped = dict(zip(gradients.places, new, strict=True))
            new = [stepped.get(i, tensor) for i, tensor in enumerate(tensors)]
        return tree_unflatten(treedef, new), state_of(new_columns, treedef)

    def _closure_step(
        self,
        params: Any,
        grads: Any,
        state: OptimizerState,
        value_fn: Callable[[Any], Tensor],
        overrides: dict[str, Any],
        donated: bool,
    ) -> tuple[Any, OptimizerState]:
        """Return the parameters and the state after a step that evaluates the loss.

        It tries points that the loss may fail at, so that donated memory is written last.
        """
        if values_are_hidden():
            self._rule_or_error("here")
        check_state(state)
        check_names(state, self._class_step.name)
        leaves, treedef = tree_flatten(params)
        tensors = as_tensors(leaves, params)
        check_dtypes(tensors, params)
        if donated:
            check_donated(tensors, params)
        variables, known = writable(tensors, False), None
        if grads is not None:
            known = given_gradients(tensors, leaves_like(treedef, grads, "grads"), params).tensors
            if len(known) < len(tensors):
                raise ValueError(
                    "LBFGS needs the gradient of every parameter; give all, or grads=None."
                )

        def evaluate() -> tuple[Tensor, Sequence[Tensor]]:
            nonlocal known
            current = tree_unflatten(treedef, variables)
            if known is None:
                value, gradients = value_and_grad(value_fn)(current)
                return value, tree_leaves(gradients)
            gradients, known = known, None
            return value_fn(current), gradients

        new_state = self._class_step.step_by_closure(variables, state, overrides, evaluate)
        if donated:
            variables, new = writable(tensors, True), variables
            for variable, value in zip(variables, new, strict=True):
                variable.copy_(value)
        return tree_unflatten(treedef, variables), new_state

    def check(self, params: Any, grads: Any, state: OptimizerState, **overrides: Any) -> None:
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
            >>> sgd = pax_torch.functional_optimizer(torch.optim.SGD, donate=True)
            >>> sgd.check({"x": torch.ones(2)}, {"x": torch.ones(3)}, {})
            Traceback (most recent call last):
            ValueError: grads['x'] has shape (3,), but its parameter has shape (2,).
        """
        self._checked(overrides)
        leaves, treedef = tree_flatten(params)
        tensors, columns = (
            as_tensors(leaves, params),
            columns_of(state, treedef, self._class_step.name),
        )
        if self.donates and not self._by_rule():
            check_donated(tensors, params)
        self._check(tensors, leaves_like(treedef, grads, "grads"), columns, params)

    def _check(
        self, tensors: list[Tensor], leaves: list[Any], columns: Columns, params: Any
    ) -> Gradients:
        """Return the gradients that are given, once all is known to be right."""
        gradients = given_gradients(tensors, leaves, params)
        are_alike = gradients.alike and len(gradients.places) == len(tensors)
        check_dtypes(tensors[:1] if are_alike else tensors, params)
        if self._class_step.is_of_torch:
            check_shapes(columns, tensors, params)
        return gradients

    def _rule_step(
        self,
        tensors: list[Tensor],
        gradients: list[Tensor],
        columns: Columns,
        overrides: dict[str, Any],
    ) -> tuple[list[Tensor], Columns]:
        rule, options = self._rule_or_error("here"), self._options(overrides)
        with self._grad_mode():
            # The classes, too, start with parameters that have no state yet.
            pairs = zip(tensors, rows_of(columns, len(tensors)), strict=True)
            rows = [row or init_state(rule, tensor, options) for tensor, row in pairs]
            new = take_steps(rule, tensors, gradients, rows, options)
        return [tensor for tensor, _ in new], columns_of_rows([row for _, row in new])

    def _by_rule(self) -> bool:
        return self._differentiable or values_are_hidden()

    def _rule_or_error(self, where: str) -> UpdateRule:
        if self._rule is not None:
            return self._rule
        name = self._class_step.cls.__name__
        reason = (
            "its steps depend on values that are not known then"
            if self.needs_value_fn
            else "only the formulas of the classes of torch.optim are known"
        )
        raise TypeError(
            f"{name} cannot be used {where}, where steps are formulas on tensors (inside vmap and "
            f"jit and with differentiable=True): {reason}."
        )

    def _grad_mode(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext() if self._differentiable else torch.no_grad()

    def _options(self, overrides: dict[str, Any]) -> dict[str, Any]:
        return as_scalars({**self._class_step.options, **overrides})

    def _checked(self, overrides: dict[str, Any]) -> dict[str, Any]:
        step = self._class_step
        return check_options(overrides, step.options, step.cls) if overrides else overrides

    def _check_value_fn(self, value_fn: object) -> None:
        name = self._class_step.cls.__name__
        if self.needs_value_fn and value_fn is None:
            raise TypeError(
                f"{name} evaluates the loss itself: give its step value_fn=, the loss as a "
                "function of the parameters."
            )
        if not self.needs_value_fn and value_fn is not None:
            raise TypeError(f"{name} takes gradients and no value_fn; leave it out.")


def stateful(optimizer: FunctionalOptimizer) -> torch.optim.Optimizer:
    """Return an optimizer of the class and the hyperparameters of a functional one, of some parameter."""
    return optimizer._class_step.stateful()


@contextlib.contextmanager
def _naming_missing_state() -> Any:
    try:
        yield
    except KeyError as error:
        raise ValueError(
            f"The state has no {error} for a parameter, which this step's options need; "
            "give init the same options."
        ) from error
