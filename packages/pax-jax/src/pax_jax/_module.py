"""`Module`, a Python object whose arrays and modules are a pytree."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import pax_tree
from pax_tree import record_set, record_spec

from ._compare import same_leaf
from ._construct import ModuleType
from ._kinds import PARAMETER, STATE, classify, is_array
from ._register import RegisterMethods, checked_name
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


class Module(RegisterMethods, metaclass=ModuleType):
    """A stateful object that is a pytree of the arrays and modules assigned to it.

    An array assigned to an attribute is state (not trained) unless it is registered as a parameter.
    A module, or a list, tuple or dict of modules, is a submodule. Everything else is static: part of
    the structure, and so of what `jax.jit` compiles for (to change a static list, assign a new one).
    A module can be changed only where it was made: at the top level, or inside the JAX
    transformation that made or copied it.

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
    _method_names: ClassVar[frozenset[str]] = frozenset()

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

    def _classify(self, name: str, value: Any) -> int | None:
        return classify(self, checked_name(self, name), value)

    def _scope_error(self, name: str) -> RuntimeError:
        return scope_error(self, name)

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


Module._method_names = frozenset(
    name
    for cls in (Module, RegisterMethods)
    for name, value in vars(cls).items()
    if callable(value)
)


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
