"""`Module`, a Python object whose arrays and modules are a pytree."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, TypeVar

import jax

import pax_tree
from pax_jax._module.calls import hk_init, purecall
from pax_jax._module.checks import check_descriptor, kind_registered, scan_bugs
from pax_jax._module.compare import same_leaf
from pax_jax._module.deep import Steps, map_modules, modules_of, run, unchanged
from pax_jax._module.hidden import is_whole
from pax_jax._module.kinds import (
    PARAMETER,
    STATE,
    check_method,
    classify,
    classify_again,
    is_module,
)
from pax_jax._module.meta import ModuleType, settle_containers, with_class, with_methods
from pax_jax._module.modes import (
    enable_eval_mode,
    enable_train_mode,
    freeze_parameters,
    unfreeze_parameters,
)
from pax_jax._module.read_only import own, read_only, telling
from pax_jax._module.scope import (
    ScopeError,
    forget_programs,
    is_staged,
    scope_error,
    unhashable,
    warn_of_loss,
)
from pax_jax._module.state_dict import state_dict_of, with_state_dict
from pax_jax._module.tied import Shared
from pax_jax._module.trees import (
    copy_tree,
    own_containers,
    own_parameters,
    own_states,
    submodules,
    update_parameters,
)
from pax_jax._show.html import html_of
from pax_jax._show.table import table_lines
from pax_jax._show.text import text_of
from pax_jax._show.titles import title, title_of
from pax_jax._show.tree import summary_lines
from pax_tree import Record, record_flatten, record_set, record_spec, record_unflatten
from pax_tree._C import _check_record_scope

T = TypeVar("T")


class Module(Record, metaclass=ModuleType):
    """A stateful object that is a pytree of the arrays and modules assigned to it.

    An array assigned to an attribute is state (not trained) unless it is registered as a parameter.
    A module, or a list, tuple or dict of modules, is a submodule. Everything else is static: part of
    the structure, and so of what `jax.jit` compiles for; a list that is changed in place too.
    A module can be changed only where it was made: at the top level, or inside the JAX
    transformation that made or copied it. It has no hash: it is data, never a constant of a program.

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

    _title = property(title_of)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
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
        kind = classify(self, _checked_name(self, name), value)
        if kind is None and isinstance(value, Shared):
            raise TypeError(
                f"{type(self).__name__}.{name} is assigned Shared({value.path!r}), which is "
                f"declared in the class body: `{name} = pax_jax.Shared({value.path!r})`."
            )
        return kind

    def _classify_again(self, name: str, value: Any, kind: int) -> int | None:
        return classify_again(self, name, value, kind)

    def _scope_error(self, name: str) -> ScopeError:
        return scope_error(self, name)

    def _read_only(self, name: str, value: Any) -> Any:
        return read_only(self, name, value)

    def _telling(self, name: str, value: Any) -> Any:
        return telling(self, name, value)

    @classmethod
    def _kept_value(cls, value: Any) -> Any:
        return own(value)

    @classmethod
    def _form_of(cls, value: Any) -> Any:
        return pax_tree.tree_flatten(value, is_leaf=is_whole)

    @classmethod
    def _differs(cls, value: Any, form: Any) -> bool:
        leaves, structure = pax_tree.tree_flatten(value, is_leaf=is_whole)
        same = len(leaves) == len(form[0]) and all(map(operator.is_, leaves, form[0]))
        return not same or structure != form[1]

    @classmethod
    def _handed_out(cls, value: Any) -> Any:
        return own_containers(value)

    @classmethod
    def _change_lost(cls, name: str) -> None:
        warn_of_loss(cls, name)

    @classmethod
    def _is_kept(cls) -> bool:
        return is_staged()

    @classmethod
    def _captured_changed(cls, name: str) -> None:
        forget_programs(cls, name)

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
        self._register("register_parameter", name, value)

    def register_state(self, name: str, value: Any) -> None:
        """Assign an array that is not trained; arguments and errors as in `register_parameter`."""
        self._register("register_state", name, value)

    def register_module(self, name: str, value: Any) -> None:
        """Assign a submodule; `TypeError` if `value` is not a module."""
        self._register("register_module", name, value)

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
        self._register("register_parameter_subtree", name, value)

    def register_state_subtree(self, name: str, value: Any) -> None:
        """Assign a pytree whose arrays are not trained; else as `register_parameter_subtree`."""
        self._register("register_state_subtree", name, value)

    def register_module_subtree(self, name: str, value: Any) -> None:
        """Assign a pytree of modules, such as a list; `TypeError` if a leaf is not a module."""
        self._register("register_module_subtree", name, value)

    def _register(self, method: str, name: str, value: Any) -> None:
        check_descriptor(self, method, name)
        value = own(value)
        kind = kind_registered(self, method, name, value)
        record_set(self, _checked_name(self, name), value, kind)

    @property
    def pytree_attributes(self) -> tuple[str, ...]:
        """The names of the attributes that hold arrays or modules, in the order of the leaves."""
        return record_spec(self).names

    def find_and_register_pytree_attributes(self) -> None:
        """Look again at lists and dicts that were filled after they were assigned.

        An assignment registers what it assigns, and the end of `__init__` what was filled in it.

        Raises:
            TypeError: as the assignment of the container as it is now.

        Example:
            >>> import pax_jax as pax
            >>> module = pax.Module()
            >>> module.layers = {}
            >>> module.layers["a"] = pax.Linear(1, 1)
            >>> module.find_and_register_pytree_attributes()
            >>> module.pytree_attributes
            ('layers',)
        """
        settle_containers(self)

    def parameters(self) -> Self:
        """Return this module with every leaf that is not a parameter replaced by `None`."""
        return own_parameters(self)

    parameters.is_usual = True

    def update(self, params: Self) -> Self:
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

    def update_parameters(self, params: Self) -> Self:
        """Return a copy of this module with the parameters of `params`; errors as in `update`."""
        return update_parameters(self, params.parameters())

    def filter(self, keep: str = "parameter") -> Self:
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

    def copy(self) -> Self:
        """Return a copy that shares the arrays, free to be changed in the current scope."""
        return copy_tree(self)

    def replace(self, **attributes: Any) -> Self:
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
            if not hasattr(module, name) or callable(getattr(type(module), name, None)):
                raise AttributeError(
                    f"{type(self).__name__} has no attribute {name!r} to replace; it has "
                    f"{', '.join([*spec.names, *spec.statics])}."
                )
            setattr(module, name, value)
        return module

    def set_attribute(self, name: str, value: Any) -> Self:
        """Return a copy in which the attribute `name`, old or new, has this value.

        Example:
            >>> import pax_jax as pax
            >>> pax.Linear(2, 3).set_attribute("label", "head").label
            'head'
        """
        module = self.copy()
        setattr(module, name, value)
        return module

    def replace_method(self, **methods: Callable[..., Any]) -> Self:
        """Return a copy, of a subclass of the same name, with some methods replaced.

        The same methods give the same subclass, so that nothing is compiled anew.

        Args:
            **methods: functions that take the module first.

        Raises:
            TypeError: a value is not a function.

        Example:
            >>> import jax.numpy as jnp
            >>> import pax_jax as pax
            >>> negative = pax.Linear(1, 1).replace_method(__call__=lambda self, x: -x)
            >>> negative(jnp.array(2.0))
            Array(-2., dtype=float32, weak_type=True)
        """
        for name, method in methods.items():
            if not callable(method):
                raise TypeError(
                    f"replace_method expects functions, got {method!r} of type "
                    f"{type(method).__name__} for {name!r}. Attributes have `replace`."
                )
            check_method(type(self).__name__, name, method)
        return with_class(self.copy(), with_methods(type(self), tuple(sorted(methods.items()))))

    def replace_node(self, node: Any, value: Any) -> Self:
        """Return a copy with one array or submodule replaced, wherever it stands.

        Args:
            node: the object itself, found by identity; `net.modules[0].weight`, say.
            value: what takes its place.

        Raises:
            ValueError: the object is not held exactly once.

        Example:
            >>> import jax, jax.numpy as jnp
            >>> import pax_jax as pax
            >>> net = pax.Sequential(pax.Linear(2, 2), jax.nn.relu)
            >>> net = net.replace_node(net.modules[0].weight, jnp.zeros((2, 3)))
            >>> net.modules[0].weight.shape
            (2, 3)
        """
        leaves, structure = pax_tree.tree_flatten(self, is_leaf=lambda leaf: leaf is node)
        count = sum(leaf is node for leaf in leaves)
        if count != 1:
            raise ValueError(
                f"replace_node expects an array or a module that {type(self).__name__} holds once, "
                f"got a {type(node).__name__} that it holds {count} times. Nodes are found by "
                "identity: take it from this very module."
            )
        return structure.unflatten([value if leaf is node else leaf for leaf in leaves])

    def map(self, func: Callable[..., Any], *modules: Any) -> Any:
        """Return a copy with `func` of each leaf (and of those of `modules`); as `jax.tree.map`.

        Example:
            >>> import jax.numpy as jnp
            >>> import pax_jax as pax
            >>> layer = pax.Linear(2, 1)
            >>> layer.map(jnp.add, layer).weight.shape
            (2, 1)
        """
        return jax.tree.map(func, self, *modules)

    def submodules(self) -> list[Any]:
        """Return the modules directly inside this one, through lists, tuples and dicts.

        Example:
            >>> import jax
            >>> import pax_jax as pax
            >>> pax.Sequential(pax.Linear(1, 2), jax.nn.relu).submodules()
            [Linear(in_dim=1, out_dim=2, with_bias=True, ...), Lambda(relu)]
        """
        return submodules(self)

    def apply(self, func: Callable[[Any], Any]) -> Any:
        """Apply a function to every module, the inner ones first and this one last.

        Args:
            func: takes a copy of a module, which it may change, and returns a module.

        Returns:
            What `func` made of this module.

        Raises:
            TypeError: `func` returns something else.

        Example:
            >>> import pax_jax as pax
            >>> net = pax.Sequential(pax.Linear(1, 2), pax.Linear(2, 3))
            >>> net = net.apply(lambda m: m.freeze() if isinstance(m, pax.Linear) else m)
            >>> net.parameters().modules[0].weight is None
            True
        """
        return run(_applied(self, func))

    def apply_submodules(self, func: Callable[[Any], Any]) -> Self:
        """Apply a function to every module below this one; as `apply`, which applies it here too."""
        return run(_applied_below(self, func))

    def train(self, mode: bool = True) -> Self:
        """Return a copy in training mode, or with `mode=False` in evaluation mode.

        Example:
            >>> import pax_jax as pax
            >>> net = pax.Sequential(pax.Dropout(0.5)).eval()
            >>> net.training, net.modules[0].training
            (False, False)
        """
        return enable_train_mode(self) if mode else enable_eval_mode(self)

    def eval(self) -> Self:
        """Return a copy in evaluation mode."""
        return enable_eval_mode(self)

    def freeze(self) -> Self:
        """Return a copy whose parameters, and those of its submodules, are not trained."""
        return freeze_parameters(self)

    def unfreeze(self, origin: Self | None = None) -> Self:
        """Return a copy in which frozen parameters are trained again; as `unfreeze_parameters`."""
        return unfreeze_parameters(self, origin)

    def state_dict(self) -> dict[str, Any]:
        """Return every array, parameters and states, by its path.

        Returns:
            A flat dict from paths such as "modules.0.weight" to the arrays, in the order of the leaves.

        Raises:
            ValueError: two arrays have the same path, because a key of a dict has a dot in it.

        Example:
            >>> import pax_jax as pax
            >>> list(pax.Sequential(pax.Linear(1, 2)).state_dict())
            ['modules.0.weight', 'modules.0.bias']
        """
        return state_dict_of(self)

    def load_state_dict(self, state_dict: Mapping[str, Any], *, cast: bool = False) -> Self:
        """Return a copy of this module with the arrays of a `state_dict`.

        Args:
            state_dict: an array (of JAX or of NumPy) for every path, of the shape and dtype of that in
                this module.
            cast: whether arrays of another precision are converted: from `float16` to `float32`, say,
                but not from integers to floats.

        Returns:
            A new module; this one stays as it is. `pax_jax.weights.load_partial` takes a part of it.

        Raises:
            ValueError: a path is missing or unknown, or an array has another shape or dtype; the message
                names every one.

        Example:
            >>> import pax_jax as pax
            >>> a, b = pax.Linear(1, 2), pax.Linear(1, 2)
            >>> b.load_state_dict(a.state_dict()) == a
            True
        """
        return with_state_dict(self, state_dict, cast)

    hk_init = hk_init

    def scan_bugs(self) -> Self:
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

    def summary(
        self, return_list: bool = False, *, table: bool = False, arrays: bool = True
    ) -> Any:
        """Draw the module, its submodules and arrays as a tree, with how many numbers are in each.

        Args:
            return_list: return the lines rather than one string.
            table: draw a table that has, for every array, its path, shape, dtype, number of elements
                and bytes, and their sums (extra `rich`).
            arrays: whether the tree shows arrays, and counts.

        Raises:
            ImportError: `table` without rich.

        Example:
            >>> import pax_jax as pax
            >>> net = pax.Sequential(pax.Linear(2, 3), pax.Dropout(0.5))
            >>> print(net.summary())
            Sequential                                                  9 parameters, 1 state
            ├── modules[0]: Linear(in_dim=2, out_dim=3, with_bias=True) 9 parameters
            │   ├── weight: float32[2,3]                                6 parameters
            │   └── bias: float32[3]                                    3 parameters
            └── modules[1]: Dropout(dropout_rate=0.5)                   1 state
                └── rng_key: state key<fry>[]                           1 state
            >>> print(net.summary(arrays=False))
            Sequential
            ├── modules[0]: Linear(in_dim=2, out_dim=3, with_bias=True)
            └── modules[1]: Dropout(dropout_rate=0.5)
        """
        lines = table_lines(self) if table else summary_lines(self, arrays)
        return lines if return_list else "\n".join(lines)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy with copies of the arrays; the innermost modules are copied first."""
        for module in reversed(list(modules_of(record_flatten(self)[0], memo))):
            copy.deepcopy(module, memo)
        return super().__deepcopy__(memo)

    def __copy__(self) -> Self:
        """Return a shallow copy, or where this module may not be changed one with its own containers."""
        try:
            _check_record_scope(self, "copy")
        except ScopeError:
            return copy_tree(self)
        return super().__copy__()

    def __mod__(self, args: Any) -> tuple[Self, Any]:
        """Call a copy, by `module % x` or `module % (x, y)`: return the updated copy and its output."""
        return purecall(self, *args) if isinstance(args, tuple) else purecall(self, args)

    def __or__(self, other: Self) -> Self:
        """Return a copy with the leaves of `other` that are not `None`."""
        return update_parameters(self, other)

    def __invert__(self) -> Self:
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
        raise unhashable(self)

    def __repr__(self) -> str:
        return text_of(self)

    def _repr_html_(self) -> str:
        return html_of(self)


def _checked_name(module: Any, name: str) -> str:
    """Return `name` unless it is that of a method of every module, which is an `AttributeError`."""
    if name in module._method_names:
        raise AttributeError(
            f"Cannot set {type(module).__name__}.{name}: it is a method of every module. "
            "Give the attribute another name."
        )
    if name.startswith("__") and callable(getattr(type(module), name, None)):
        raise AttributeError(
            f"Cannot set {type(module).__name__}.{name}: Python looks for it in the class. Define it there, "
            f"or take a copy that has it, `module.replace_method({name}=...)`."
        )
    return name


def _applied(module: Any, func: Callable[[Any], Any]) -> Steps:
    if type(module).apply_submodules is Module.apply_submodules:
        module = yield _applied_below(module, func)
    else:
        module = module.apply_submodules(func)
    result = func(module)
    if is_module(result):
        return result
    raise TypeError(
        f"apply expects a function that returns a module; for {title(module)} it returned "
        f"{result!r} of type {type(result).__name__}."
    )


def _applied_below(module: Any, func: Callable[[Any], Any]) -> Steps:
    def call(leaf: Any) -> Steps:
        if type(leaf).apply is Module.apply:
            return (yield _applied(leaf, func))
        return leaf.apply(func)

    children, spec = record_flatten(module)
    return record_unflatten(spec, (yield map_modules(call, children, unchanged)))


Module._method_names = frozenset(name for name, value in vars(Module).items() if callable(value))


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


class Optimizer(StateModule):
    """A module that holds the state of an optimizer.

    A subclass is made for some parameters and defines `step(grads, model)`, which changes the
    optimizer and returns the updated model.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> class SGD(pax.Optimizer):
        ...     def __init__(self, params, learning_rate):
        ...         super().__init__()
        ...         self.learning_rate = learning_rate
        ...         self.register_state_subtree("sum", jax.tree.map(jnp.zeros_like, params))
        ...
        ...     def step(self, grads, model):
        ...         self.sum = jax.tree.map(jnp.add, self.sum, grads)
        ...         update = lambda p, s: p - self.learning_rate * s
        ...         return model.update(jax.tree.map(update, model.parameters(), self.sum))
        >>> net = pax.Linear(1, 1)
        >>> grads = jax.tree.map(jnp.ones_like, net.parameters())
        >>> SGD(net.parameters(), 0.5).step(grads, net).bias
        Array([-0.5], dtype=float32)
    """


class LazyModule(Module):
    """A module that makes its submodules when it first needs them.

    Args:
        training: whether it is in training mode.
        name: shown when the module is printed.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> class Net(pax.LazyModule):
        ...     def __call__(self, x):
        ...         layer = self.get_or_create("layer", lambda: pax.Linear(x.shape[-1], 2))
        ...         return layer(x)
        >>> net, y = Net() % jnp.ones((1, 3))
        >>> net.layer
        Linear(in_dim=3, out_dim=2, with_bias=True, ...)
    """

    def __init__(self, *, training: bool = True, name: str | None = None) -> None:
        super().__init__(name=name)
        self.training = training

    def get_or_create(self, name: str, create_fn: Callable[[], T]) -> T:
        """Return an attribute, which is made and assigned first if the module does not have it.

        Args:
            name: the attribute.
            create_fn: makes its value: a module, an array, or what else an attribute may be.

        Raises:
            TypeError: `create_fn` cannot be called.
            RuntimeError: the attribute is to be made where the module cannot be changed (see `Module`).
        """
        if not callable(create_fn):
            raise TypeError(
                f"get_or_create expects a function that makes {name!r}, got {create_fn!r} "
                f"of type {type(create_fn).__name__}."
            )
        if not hasattr(self, name):
            setattr(self, name, create_fn())
        return getattr(self, name)

    def parameters(self) -> Any:
        """Return this module with every leaf that is not a parameter replaced by `None`.

        Raises:
            ValueError: nothing has been made yet.
        """
        fields = getattr(self, "__dataclass_fields__", {})
        if not vars(self).keys() - {"training", "name", *fields}:
            raise ValueError(
                f"{title(self)} has made none of its parts yet, so it has no parameters. Call it first: "
                "`module, _ = module % inputs`."
            )
        return super().parameters()
