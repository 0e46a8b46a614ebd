"""`functional_optimizer`: the optimizers of `torch.optim` as pure functions."""

import inspect
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._args import leaf_place, to_tensors
from pax_tree import PyTreeDef, tree_flatten, tree_map, tree_unflatten

State = dict[str, Any]
_ParamState = dict[str, Any]


def functional_optimizer(
    cls: type[torch.optim.Optimizer], *args: Any, **kwargs: Any
) -> "FunctionalOptimizer":
    """Returns an optimizer of `torch.optim` as a pair of pure functions, `init` and `step`.

    A step computes what the class itself does, to the last bit, by running it on copies. Like the
    class it is not differentiated: its results carry no graph.

    Args:
        cls: a subclass of `torch.optim.Optimizer` whose `step` needs no closure.
        *args: hyperparameters, as `cls` takes them after the parameters.
        **kwargs: hyperparameters by name.

    Returns:
        A `FunctionalOptimizer`.

    Raises:
        TypeError: `cls` is no optimizer class, or needs a closure (as LBFGS does).
        ValueError: `cls` refuses a hyperparameter, or `differentiable=True` is asked for.

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
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise TypeError(
            f"functional_optimizer cannot use {cls.__name__}: its step evaluates the loss through "
            "a closure, and a functional step is given gradients."
        )
    if kwargs.get("differentiable"):
        raise ValueError(
            "functional_optimizer got differentiable=True, but its steps carry no graph; "
            "leave the option out."
        )
    return FunctionalOptimizer(cls, args, kwargs)


class FunctionalOptimizer:
    """An optimizer whose state is a pytree; `functional_optimizer` makes it.

    It holds hyperparameters only, so that one object serves any number of parameter trees and
    threads.
    """

    def __init__(
        self, cls: type[torch.optim.Optimizer], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._cls, self._args, self._kwargs = cls, args, kwargs
        # A matrix, since some classes (Muon) take nothing else.
        self._prototype = self._make([torch.zeros(1, 1)])

    def __repr__(self) -> str:
        given = [self._cls.__name__, *map(repr, self._args)]
        given += [f"{name}={value!r}" for name, value in self._kwargs.items()]
        return f"functional_optimizer({', '.join(given)})"

    def init(self, params: Any, **overrides: Any) -> State:
        """Returns the state before the first step.

        Args:
            params: a pytree of floating-point tensors; NumPy arrays and Python floats will do.
            **overrides: hyperparameters of the first step, such as `lr=0.1`. They matter where
                the first state depends on them, as that of ASGD and Rprop does on `lr`.

        Returns:
            For each of the names under which the class keeps its state (`exp_avg`, `step`, ...) a
            tree like `params`, of tensors or numbers, with None where a parameter has no such
            state. What a class makes on its first step (such as the momentum of SGD) comes with
            that step.

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
        self._check_overrides(overrides)
        leaves, treedef = tree_flatten(params)
        if not leaves:
            return {}
        tensors = to_tensors(leaves, lambda i: leaf_place(params, i, "params"))
        variables = [tensor.detach() for tensor in tensors]
        optimizer = self._make(variables, **overrides)
        _make_state(optimizer, variables)
        return _pack([optimizer.state[variable] for variable in variables], treedef)

    def step(self, params: Any, grads: Any, state: State, **overrides: Any) -> tuple[Any, State]:
        """Returns the parameters and the state after one step; changes none of the arguments.

        Args:
            params: a pytree of floating-point tensors, as given to `init`.
            grads: a tree like `params`, with leaves of the same shapes and dtypes. A None in the
                place of a leaf leaves that parameter and its state as they are.
            state: as returned by `init` or the last step.
            **overrides: hyperparameters for this step only, such as `lr=0.1`.

        Returns:
            New `params` and `state`.

        Raises:
            TypeError: an override is no hyperparameter of the class, or a leaf is no tensor,
                array or number.
            ValueError: a gradient does not match its parameter, or the trees differ.

        Example:
            >>> import torch, pax_torch
            >>> optimizer = pax_torch.functional_optimizer(torch.optim.SGD, lr=0.0)
            >>> params = torch.tensor(3.0)
            >>> optimizer.step(params, torch.tensor(1.0), optimizer.init(params), lr=0.5)
            (tensor(2.5000), {})

        """
        self._check_overrides(overrides)
        leaves, treedef = tree_flatten(params)
        old_states = _unpack(state, treedef, len(leaves))
        gradients = _leaves_like(treedef, grads, "grads")
        if not leaves:
            return params, state
        tensors = to_tensors(leaves, lambda i: leaf_place(params, i, "params"))
        given = [i for i, gradient in enumerate(gradients) if gradient is not None]
        variables = _copies([tensors[i] for i in given])
        for i, variable in zip(given, variables, strict=True):
            _set_grad(variable, gradients[i], lambda i=i: leaf_place(params, i, "grads"))
        states = self._run(variables, [old_states[i] for i in given], overrides)
        for i, variable, new_state in zip(given, variables, states, strict=True):
            tensors[i], old_states[i] = variable, new_state
        return tree_unflatten(treedef, tensors), _pack(old_states, treedef)

    def _make(self, variables: Sequence[Tensor], **options: Any) -> torch.optim.Optimizer:
        groups = [{"params": variables, **options}]
        return self._cls(groups, *self._args, **self._kwargs)  # pyright: ignore[reportCallIssue]

    def _check_overrides(self, overrides: dict[str, Any]) -> None:
        known = self._prototype.defaults.keys() - {"differentiable"}
        unknown = [name for name in overrides if name not in known]
        if unknown:
            raise TypeError(
                f"{self._cls.__name__} has no hyperparameter {unknown[0]!r} to override; "
                f"it has {', '.join(sorted(known))}."
            )

    def _run(
        self, variables: list[Tensor], states: list[_ParamState], overrides: dict[str, Any]
    ) -> list[_ParamState]:
        """Steps `variables` in place, and returns their new states."""
        optimizer = object.__new__(self._cls)
        optimizer.__dict__.update(self._prototype.__dict__)
        group = {**self._prototype.param_groups[0], **overrides, "params": variables}
        optimizer.param_groups = [group]
        optimizer.state = defaultdict(dict)
        for variable, state in zip(variables, _copies(states), strict=True):
            optimizer.state[variable] = state
        if variables:
            optimizer.step()
        for variable in variables:
            variable.grad = None
        return [optimizer.state[variable] for variable in variables]


def _copies(tree: Any) -> Any:
    with torch.no_grad():
        return tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, tree)


def _make_state(optimizer: torch.optim.Optimizer, variables: Sequence[Tensor]) -> None:
    """Lets the optimizer make the state that it has before its first step."""
    init_group = getattr(optimizer, "_init_group", None)
    if init_group is None:
        return
    for variable in variables:
        variable.grad = torch.zeros_like(variable)
    lists = [[] for _ in inspect.signature(init_group).parameters][1:]
    init_group(optimizer.param_groups[0], *lists)


def _set_grad(variable: Tensor, gradient: Any, place: Any) -> None:
    (tensor,) = to_tensors([gradient], lambda _: place())
    if tensor.shape != variable.shape:
        raise ValueError(
            f"{place()} has shape {tuple(tensor.shape)}, "
            f"but its parameter has shape {tuple(variable.shape)}."
        )
    try:
        variable.grad = tensor
    except RuntimeError as error:
        raise ValueError(
            f"{place()} has dtype {tensor.dtype} on {tensor.device}, but its parameter has dtype "
            f"{variable.dtype} on {variable.device}; they must be the same."
        ) from error


def _pack(states: Sequence[Mapping[str, Any]], treedef: PyTreeDef) -> State:
    """Turns one dictionary per parameter into one tree like the parameters per name."""
    names = dict.fromkeys(name for state in states for name in state)
    return {name: tree_unflatten(treedef, [s.get(name) for s in states]) for name in names}


def _unpack(state: State, treedef: PyTreeDef, size: int) -> list[_ParamState]:
    """The inverse of `_pack`."""
    if not isinstance(state, Mapping):
        raise TypeError(
            "state must be a dictionary, as init and step return it, "
            f"got {type(state).__qualname__}; the order is step(params, grads, state)."
        )
    columns = {
        name: _leaves_like(treedef, tree, f"state[{name!r}]") for name, tree in state.items()
    }
    return [
        {name: column[i] for name, column in columns.items() if column[i] is not None}
        for i in range(size)
    ]


def _leaves_like(treedef: PyTreeDef, tree: Any, name: str) -> list[Any]:
    """The parts of `tree` in the places of the parameters' leaves, None included."""
    try:
        return treedef.flatten_up_to(tree)
    except ValueError as error:
        raise ValueError(f"{name} does not have the structure of params: {error}") from None
