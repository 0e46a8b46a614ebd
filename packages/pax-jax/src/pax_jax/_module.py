"""`Module`, a Python object whose arrays and modules are a pytree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import numpy as np

import pax_tree
from pax_tree import Record, record_set, record_spec

from ._compare import same_leaf
from ._construct import ModuleType
from ._kinds import MODULE, PARAMETER, STATE, classify, is_array, is_module
from ._scope import scope_error
from ._summary import summary_lines
from ._trees import (
    convert,
    copy_tree,
    freeze_spec,
    own_parameters,
    unfreeze_spec,
    update_parameters,
)

__all__ = ["Module", "ParameterModule", "StateModule"]

T = TypeVar("T", bound="Module")


class Module(Record, metaclass=ModuleType):
    """A stateful object that is a pytree of the arrays and modules assigned to it.

    An array assigned to an attribute is state (not trained) unless it is registered as a parameter.
    A module, or a list, tuple or dict of modules, is a submodule. Everything else is static: part of
    the structure, and so of what `jax.jit` compiles for. A module can be changed only where it was
    made: at the top level, or inside the JAX transformation that made or copied it.

    Args:
      name: shown in front of the class name when the module is printed.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import pax_jax as pax
      >>> class Counter(pax.Module):
      ...     def __init__(self):
      ...         super().__init__()
      ...         self.register_parameter("bias", jnp.zeros(()))
      ...         self.count = jnp.zeros((), jnp.int32)
      ...
      ...     def __call__(self, x):
      ...         self.count += 1
      ...         return x + self.bias
      >>> counter = Counter()
      >>> counter(2.0)
      Array(2., dtype=float32)
      >>> counter.count, counter.parameters().count
      (Array(1, dtype=int32), None)

    """

    _parameter_names: ClassVar[frozenset[str]] = frozenset()
    _array_kind: ClassVar[int | None] = None
    _checks_sharing: ClassVar[bool] = True
    _shown: ClassVar[tuple[str, ...]] = ()

    training: bool
    name: str | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        module = super().__new__(cls)
        record_set(module, "training", True, None)
        return module

    def __init__(self, name: str | None = None) -> None:
        if name is not None:
            self.name = name

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        declared = getattr(cls.__dict__.get("parameters"), "_parameter_names", frozenset())
        cls._parameter_names = cls._parameter_names | declared
        for name, value in vars(cls).items():
            if is_array(value):
                raise TypeError(
                    f"The class attribute {cls.__name__}.{name} is an array, which JAX would not "
                    "see. Assign it in __init__."
                )

    @staticmethod
    def _classify(module: Module, name: str, value: Any) -> int | None:
        _check_name(module, name)
        return classify(module, name, value)

    _scope_error = staticmethod(scope_error)

    def register_parameter(self, name: str, value: Any) -> None:
        """Assign an array that is trained.

        Args:
          name: the attribute.
          value: an array of any shape and dtype, or `None` for a parameter that is left out.

        Raises:
          TypeError: `value` is something else.

        Example:
          >>> import jax.numpy as jnp
          >>> import pax_jax as pax
          >>> module = pax.Module()
          >>> module.register_parameter("bias", jnp.zeros(3))
          >>> module.parameters().bias
          Array([0., 0., 0.], dtype=float32)

        """
        self._register("register_parameter", name, value, PARAMETER, _is_array_or_none, _AN_ARRAY)

    def register_state(self, name: str, value: Any) -> None:
        """Assign an array that is not trained; arguments and errors as in `register_parameter`."""
        self._register("register_state", name, value, STATE, _is_array_or_none, _AN_ARRAY)

    def register_module(self, name: str, value: Module) -> None:
        """Assign a submodule; `TypeError` if `value` is not a module."""
        self._register("register_module", name, value, MODULE, is_module, "a module")

    def register_parameter_subtree(self, name: str, value: Any) -> None:
        """Assign a pytree whose arrays are trained.

        Args:
          name: the attribute.
          value: a pytree of arrays and numbers.

        Raises:
          TypeError: a leaf is neither.

        Example:
          >>> import jax.numpy as jnp
          >>> import pax_jax as pax
          >>> module = pax.Module()
          >>> module.register_parameter_subtree("layers", [jnp.zeros(1), jnp.ones(1)])
          >>> module.parameters().layers
          [Array([0.], dtype=float32), Array([1.], dtype=float32)]

        """
        method = "register_parameter_subtree"
        self._register(method, name, value, PARAMETER, _has_numeric_leaves, _NUMERIC)

    def register_state_subtree(self, name: str, value: Any) -> None:
        """Assign a pytree whose arrays are not trained; else as `register_parameter_subtree`."""
        method = "register_state_subtree"
        self._register(method, name, value, STATE, _has_numeric_leaves, _NUMERIC)

    def register_module_subtree(self, name: str, value: Any) -> None:
        """Assign a pytree of modules, such as a list; `TypeError` if a leaf is not a module."""
        expected = "a pytree of modules"
        self._register("register_module_subtree", name, value, MODULE, _has_modules, expected)

    def _register(
        self,
        method: str,
        name: str,
        value: Any,
        kind: int,
        accepts: Callable[[Any], bool],
        expected: str,
    ) -> None:
        _check_name(self, name)
        if not accepts(value):
            raise TypeError(
                f"{type(self).__name__}.{method}({name!r}, ...) expects {expected}, "
                f"got {value!r} of type {type(value).__name__}."
            )
        record_set(self, name, value, kind)

    def parameters(self: T) -> T:
        """Return this module with every leaf that is not a parameter replaced by `None`."""
        return own_parameters(self)

    def update(self: T, params: T) -> T:
        """Return a copy of this module with the leaves of `params` that are not `None`.

        Args:
          params: a module of the same class, such as `self.parameters()`.

        Returns:
          A new module, free to be changed in the current scope.

        Raises:
          TypeError: `params` is, or holds, a module of another class.
          ValueError: the two differ in structure.

        Example:
          >>> import jax
          >>> import pax_jax as pax
          >>> layer = pax.Linear(1, 1)
          >>> doubled = layer.update(jax.tree.map(lambda p: 2 * p, layer.parameters()))
          >>> bool(doubled.weight == 2 * layer.weight)
          True

        """
        return update_parameters(self, params)

    def copy(self: T) -> T:
        """Return a copy that shares the arrays, free to be changed in the current scope."""
        return copy_tree(self)

    def replace(self: T, **attributes: Any) -> T:
        """Return a copy with some attributes replaced.

        Args:
          **attributes: new values of attributes that the module has.

        Raises:
          AttributeError: the module has no such attribute.

        Example:
          >>> import pax_jax as pax
          >>> pax.Linear(2, 3).replace(bias=None).bias is None
          True

        """
        module = self.copy()
        spec = record_spec(module)
        for name, value in attributes.items():
            if name not in spec.names and name not in spec.statics:
                raise AttributeError(
                    f"{type(self).__name__} has no attribute {name!r} to replace; it has "
                    f"{', '.join([*spec.names, *spec.statics])}."
                )
            setattr(module, name, value)
        return module

    def freeze(self: T) -> T:
        """Return a copy whose parameters, and those of its submodules, are not trained."""
        return convert(self, freeze_spec)

    def unfreeze(self: T) -> T:
        """Return a copy in which everything that `freeze` took out of training is trained again."""
        return convert(self, unfreeze_spec)

    def train(self: T, mode: bool = True) -> T:
        """Return a copy in training mode, or with `mode=False` in evaluation mode.

        Example:
          >>> import pax_jax as pax
          >>> net = pax.Sequential(pax.Dropout(0.5)).eval()
          >>> net.training, net.modules[0].training
          (False, False)

        """
        return convert(self, lambda spec: spec.with_static("training", bool(mode)))

    def eval(self: T) -> T:
        """Return a copy in evaluation mode."""
        return self.train(False)

    def summary(self, return_list: bool = False) -> Any:
        """Draw the module and its submodules as a tree.

        Args:
          return_list: return the lines rather than one string.

        Example:
          >>> import pax_jax as pax
          >>> print(pax.Sequential(pax.Linear(2, 3), pax.BatchNorm1D(3)).summary())
          Sequential
          ├── Linear(in_dim=2, out_dim=3, with_bias=True)
          └── BatchNorm1D(num_channels=3)

        """
        lines = summary_lines(self)
        return lines if return_list else "\n".join(lines)

    def __mod__(self: T, args: Any) -> tuple[T, Any]:
        """`module % x` and `module % (x, y)` call a copy: the updated copy and its output."""
        from ._pure import purecall

        return purecall(self, *args) if isinstance(args, tuple) else purecall(self, args)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other):
            return NotImplemented
        mine, structure = pax_tree.tree_flatten(self)
        theirs, other_structure = pax_tree.tree_flatten(other)
        return structure == other_structure and all(map(same_leaf, mine, theirs))

    def __hash__(self) -> int:
        return hash(pax_tree.tree_structure(self))

    def __repr__(self) -> str:
        prefix = f"({self.name}) " if self.name is not None else ""
        shown = ", ".join(f"{name}={getattr(self, name)}" for name in self._shown)
        return f"{prefix}{type(self).__name__}" + (f"({shown})" if shown else "")


class ParameterModule(Module):
    """A module whose arrays, and pytrees of arrays, are parameters unless registered as state.

    Example:
      >>> import jax.numpy as jnp
      >>> import pax_jax as pax
      >>> class Scale(pax.ParameterModule):
      ...     def __init__(self):
      ...         super().__init__()
      ...         self.scale = jnp.ones(2)
      >>> Scale().parameters().scale
      Array([1., 1.], dtype=float32)

    """

    _array_kind = PARAMETER


class StateModule(Module):
    """A module whose arrays, and pytrees of arrays, are state unless registered as parameters.

    Example:
      >>> import jax.numpy as jnp
      >>> import pax_jax as pax
      >>> class Statistics(pax.StateModule):
      ...     def __init__(self):
      ...         super().__init__()
      ...         self.moments = {"mean": jnp.zeros(()), "var": jnp.ones(())}
      >>> Statistics().parameters().moments
      {'mean': None, 'var': None}

    """

    _array_kind = STATE


_AN_ARRAY = "an array or None (a pytree of arrays has the `_subtree` form of this method)"
_NUMERIC = "a pytree of arrays and numbers"


def _is_array_or_none(value: Any) -> bool:
    return value is None or is_array(value)


def _has_numeric_leaves(tree: Any) -> bool:
    numbers = (bool, int, float, complex, np.generic)
    return all(is_array(leaf) or isinstance(leaf, numbers) for leaf in pax_tree.tree_leaves(tree))


def _has_modules(tree: Any) -> bool:
    return all(map(is_module, pax_tree.tree_leaves(tree, is_leaf=is_module)))


def _check_name(module: Module, name: str) -> None:
    if callable(Module.__dict__.get(name)):
        raise AttributeError(
            f"Cannot set {type(module).__name__}.{name}: it is a method of every module. "
            "Give the attribute another name."
        )
