"""`Module`, a Python object whose arrays and modules are a pytree."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, TypeVar

import pax_tree
from pax_jax._bugs import scan_bugs
from pax_jax._compare import same_leaf
from pax_jax._construct import ModuleType
from pax_jax._edit import EditMethods
from pax_jax._hk_init import hk_init
from pax_jax._kinds import PARAMETER, STATE, classify
from pax_jax._modes import ModeMethods
from pax_jax._register import RegisterMethods, checked_name
from pax_jax._scope import scope_error
from pax_jax._state_dict import StateDictMethods
from pax_jax._summary import summary_lines
from pax_jax._trees import own_parameters, own_states, update_parameters
from pax_tree import record_set, record_spec

T = TypeVar("T", bound="Module")


class Module(ModeMethods, StateDictMethods, metaclass=ModuleType):
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
        for name in ("__eq__", "__hash__", "__repr__"):  # which `dataclass` leaves as they are
            if name not in vars(cls):
                setattr(cls, name, getattr(cls, name))

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

    def update_parameters(self: T, params: T) -> T:
        """Return a copy of this module with the parameters of `params`; errors as in `update`."""
        return update_parameters(self, params.parameters())

    def filter(self: T, keep: str = "parameter") -> T:
        """Return this module with every leaf of another kind replaced by `None`.

        Args:
            keep: "parameter" for what is trained, "state" for the rest.

        Raises:
            ValueError: `keep` is neither.

        Example:
            >>> import pax_jax as pax
            >>> norm = pax.BatchNorm1D(2)
            >>> norm.filter("state").scale is None, norm.filter("parameter").ema_mean is None
            (True, True)
            >>> norm.filter("state") | norm.filter("parameter") == norm
            True
        """
        if keep not in ("parameter", "state"):
            raise ValueError(f'filter keeps "parameter" or "state", got {keep!r}.')
        return self.parameters() if keep == "parameter" else own_states(self)

    def scan_bugs(self: T) -> T:
        """Look for what would go wrong later, in this module and in those below, and return it.

        Raises:
            ValueError: an array or a module is held twice, or a parameter is not of a dtype that has
                gradients.
            TypeError: an attribute hides arrays from JAX, or a container of modules holds others.

        Example:
            >>> import pax_jax as pax
            >>> pair = pax.Sequential(pax.Linear(1, 1), pax.Linear(1, 1))
            >>> pair.modules[1] = pair.modules[0]
            >>> pair.scan_bugs()
            Traceback (most recent call last):
            ValueError: Sequential.modules[0] and Sequential.modules[1] are the same Linear...
        """
        scan_bugs(self)
        return self

    hk_init = hk_init

    def summary(self, return_list: bool = False, *, table: bool = False) -> Any:
        """Draw the module and its submodules as a tree.

        Args:
            return_list: return the lines rather than one string.
            table: draw a table that has, for every array, its path, shape, dtype, number of elements
                and bytes, and their sums (extra `rich`).

        Raises:
            ImportError: `table` without rich.

        Example:
            >>> import pax_jax as pax
            >>> print(pax.Sequential(pax.Linear(2, 3), pax.BatchNorm1D(3)).summary())
            Sequential
            ├── Linear(in_dim=2, out_dim=3, with_bias=True)
            └── BatchNorm1D(num_channels=3...)
        """
        if table:
            from pax_jax._table import table_lines

            lines = table_lines(self)
        else:
            lines = summary_lines(self)
        return lines if return_list else "\n".join(lines)

    def __mod__(self: T, args: Any) -> tuple[T, Any]:
        """Call a copy, by `module % x` or `module % (x, y)`: return the updated copy and its output."""
        from pax_jax._pure import purecall

        return purecall(self, *args) if isinstance(args, tuple) else purecall(self, args)

    def __or__(self: T, other: T) -> T:
        """Return a copy with the leaves of `other` that are not `None`."""
        return update_parameters(self, other)

    def __invert__(self: T) -> T:
        """Return `module.parameters()`."""
        return self.parameters()

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
        names = self._shown or _static_fields(self)
        shown = ", ".join(f"{name}={getattr(self, name)}" for name in names)
        return f"{prefix}{type(self).__name__}" + (f"({shown})" if shown else "")


def _static_fields(module: Module) -> tuple[str, ...]:
    """Return the fields of a module that is a dataclass and that hold neither arrays nor modules."""
    if not dataclasses.is_dataclass(module):
        return ()
    statics = record_spec(module).statics
    return tuple(f.name for f in dataclasses.fields(module) if f.repr and f.name in statics)


Module._method_names = frozenset(
    name
    for cls in (Module, ModeMethods, StateDictMethods, EditMethods, RegisterMethods)
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
