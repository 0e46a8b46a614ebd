"""One JAX function at one combination of shapes, dtypes, devices and static arguments."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import ShapeDtypeStruct
from jax.core import Tracer

from pax_tree import PyTreeDef, keystr, tree_flatten_with_path, tree_unflatten
from torch2jax_bridge._avals import canonical, dtype_j2t, dtype_t2j, is_differentiable
from torch2jax_bridge._compat import number_of_modes
from torch2jax_bridge._convert import j2t
from torch2jax_bridge._jax2torch.program import Array, Numbers, Program, traced

_config: Any = jax.config
NUMBERS = (bool, int, float, complex)
ARRAYS = (jax.Array, np.ndarray, np.generic)
SYMBOLS = (torch.SymInt, torch.SymFloat, torch.SymBool)


@dataclass(frozen=True)
class TracedFunction:
    """How one call is made.

    Attributes:
        program: the function of numbers and flat arrays.
        out_tree: the tree of its results.
    """

    program: Program
    out_tree: PyTreeDef


class Leaves:
    """The leaves of the arguments of one call, sorted into numbers and tensors.

    Attributes:
        numbers: Python's numbers, which keep JAX's weak types.
        tensors: everything else; arrays of JAX and NumPy become tensors.
        kinds: what each leaf was, in order: all that a signature depends on.
    """

    def __init__(self, leaves: Sequence[Any]) -> None:
        self.numbers: list[Any] = []
        self.tensors: list[torch.Tensor] = []
        self.kinds = tuple(map(self._add, leaves))

    def _add(self, leaf: Any) -> Hashable:
        if isinstance(leaf, torch.Tensor):
            self.tensors.append(leaf)
            return _shape(leaf), leaf.dtype, leaf.device, leaf.layout
        if isinstance(leaf, ARRAYS) and not isinstance(leaf, Tracer):
            return self._add_array(leaf)
        if isinstance(leaf, SYMBOLS):
            leaf = leaf.node.pytype(leaf)
        if isinstance(leaf, NUMBERS):
            self.numbers.append(leaf)
            return type(leaf)
        return _Unknown(leaf)

    def _add_array(self, leaf: Any) -> Hashable:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            impl = jax.random.key_impl(leaf)
            return _Key(impl, self._add(j2t(jax.random.key_data(leaf))))
        return self._add(j2t(jnp.asarray(leaf)))


def _shape(tensor: torch.Tensor) -> tuple[int, ...]:
    """Return the shape; sizes that `torch.compile` holds open are fixed, for JAX compiles for each."""
    shape = tensor.shape
    return tuple(map(int, shape)) if number_of_modes() else shape


@dataclass(frozen=True)
class _Key:
    """A typed random key, as a tensor of its data."""

    impl: Any
    data: Any


class _Unknown:
    """A leaf that is neither an array nor a number; never equal to another."""

    def __init__(self, leaf: Any) -> None:
        self.leaf = leaf


def specialize(
    fn: Callable[..., Any], name: str, kinds: Sequence[Any], treedef: PyTreeDef, numbers: Numbers
) -> TracedFunction:
    """Check the arguments, and find out the results without a run.

    Args:
        fn: the JAX function.
        name: how messages call it.
        kinds: `Leaves.kinds` of the leaves of `(args, kwargs)`.
        treedef: the tree of `(args, kwargs)`.
        numbers: the Python numbers among them.

    Raises:
        TypeError: an argument cannot be given to JAX, or a result not to PyTorch.
    """
    numbered = tree_unflatten(treedef, list(range(len(kinds))))
    paths = [_path(path) for path, _ in tree_flatten_with_path(numbered)[0]]
    for path, kind in zip(paths, kinds, strict=True):
        _check(name, path, kind)
    datas = [_data(kind) for kind in kinds]
    ins = [ShapeDtypeStruct(d[0], canonical(d[1])) for d in datas if isinstance(d, tuple)]
    _check_devices(name, paths, datas)
    trees: list[PyTreeDef] = []
    x64 = bool(_config.jax_enable_x64)
    call = traced(_flat(fn, name, kinds, treedef, trees), numbers, ins, x64)
    return TracedFunction(Program(name, call, ins, numbers, x64), trees[0])


def _flat(
    fn: Callable[..., Any],
    name: str,
    kinds: Sequence[Any],
    treedef: PyTreeDef,
    trees: list[PyTreeDef],
) -> Callable[..., tuple[Array, ...]]:
    """Return the function of numbers and flat arrays. A trace of it appends the tree of the results."""

    def call(numbers: Numbers, *arrays: Array) -> tuple[Array, ...]:
        given, counted = iter(arrays), iter(numbers)
        leaves = [next(counted) if isinstance(k, type) else _leaf(k, next(given)) for k in kinds]
        args, kwargs = tree_unflatten(treedef, leaves)
        pairs, out_tree = tree_flatten_with_path(fn(*args, **kwargs))
        trees.append(out_tree)
        return tuple(_result(name, path, leaf) for path, leaf in pairs)

    return call


def _leaf(kind: Any, array: Array) -> Array:
    return jax.random.wrap_key_data(array, impl=kind.impl) if isinstance(kind, _Key) else array


def _result(name: str, path: Any, leaf: Any) -> Array:
    where = f"{name} returned, at result{keystr(path)},"
    if not isinstance(leaf, (*ARRAYS, *NUMBERS)):
        raise TypeError(
            f"{where} {leaf!r} of type {type(leaf).__name__}; expected arrays and numbers only."
        )
    array = jnp.asarray(leaf)
    try:
        dtype_j2t(array.dtype)
    except TypeError as error:
        raise TypeError(f"{where} an array that PyTorch cannot have: {error}") from None
    return array


def _path(path: Any) -> str:
    """`[0][1]['w']` as `args[1]['w']`."""
    return ("args", "kwargs")[path[0].idx] + keystr(path[1:])


def _data(kind: Any) -> Any:
    return kind.data if isinstance(kind, _Key) else kind


def _check(name: str, path: str, kind: Any) -> None:
    if isinstance(kind, _Unknown):
        raise TypeError(f"{name} was given, at {path}, {_unknown(kind.leaf)}")
    data = _data(kind)
    if isinstance(data, tuple):
        problem = _problem(*data)
        if problem:
            raise TypeError(f"{name} was given, at {path}, {problem}")


def _unknown(leaf: Any) -> str:
    if isinstance(leaf, Tracer):
        return f"the tracer {leaf}; inside of JAX's transformations call the JAX function itself."
    return (
        f"{leaf!r} of type {type(leaf).__name__}; expected tensors, arrays and numbers: "
        "name other arguments in static_argnums or static_argnames."
    )


def _problem(shape: Any, dtype: torch.dtype, device: torch.device, layout: torch.layout) -> str:
    if layout is not torch.strided:
        return f"a tensor of layout {layout}; expected a strided one: call .to_dense()."
    if device.type not in ("cpu", "cuda", "meta"):
        return f"a tensor on the device {device}, which JAX does not have; move it to a CPU."
    try:
        wide = dtype_t2j(dtype)
    except TypeError as error:
        return f"a tensor that JAX cannot have: {error}"
    if canonical(dtype) != wide and is_differentiable(wide):
        return (
            f"a tensor of dtype {dtype}, but JAX has only {canonical(dtype)}: turn on "
            "jax_enable_x64 or convert the tensor."
        )
    return ""


def _check_devices(name: str, paths: Sequence[str], datas: Sequence[Any]) -> None:
    found = [(p, d[2]) for p, d in zip(paths, datas, strict=True) if isinstance(d, tuple)]
    for path, device in found[1:]:
        if device != found[0][1]:
            raise ValueError(
                f"{name} was given tensors on several devices: {found[0][0]} is on "
                f"{found[0][1]}, {path} on {device}; move them to one."
            )
