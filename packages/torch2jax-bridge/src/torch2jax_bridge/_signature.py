"""One wrapped function at one combination of shapes, dtypes and static arguments."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import ref

import jax
import numpy as np
import torch

from torch2jax_bridge._dtypes import canonical, dtype_j2t
from torch2jax_bridge._primitive import compiled
from torch2jax_bridge._runtime import Tensors
from torch2jax_bridge._shapes import aval_of, aval_of_tensor, infer, parse_output_shapes
from torch2jax_bridge._specs import Aval, Function, Programs
from torch2jax_bridge._tree import (
    PyTreeDef,
    keystr,
    tree_flatten,
    tree_flatten_with_path,
    tree_structure,
    tree_unflatten,
)

ARRAYS = (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct)


class _Array:
    """Stands for an array among the leaves of a signature."""

    __slots__ = ()


ARRAY = _Array()


@dataclass(frozen=True)
class Signature:
    """How one call is made.

    Attributes:
        call: flat arrays to flat arrays.
        traced: which leaves of the arguments are arrays.
        out_tree: the tree of the results.
        programs: the jitted calls, kept for as long as this lives.
    """

    call: Callable[..., list[jax.Array]]
    traced: tuple[bool, ...]
    out_tree: PyTreeDef
    programs: Programs


def is_array(leaf: Any) -> bool:
    """Whether a leaf is traced; every other leaf is static."""
    return isinstance(leaf, ARRAYS)


def key_of(leaf: Any) -> Hashable:
    """What distinguishes a leaf in the cache of signatures. Equal static leaves of different
    types are different, and so are 0.0 and -0.0.
    """
    if is_array(leaf):
        return aval_of(leaf)
    if isinstance(leaf, torch.Tensor):
        raise TypeError("got a torch.Tensor, expected a JAX array; convert it with t2j")
    return type(leaf), repr(leaf) if isinstance(leaf, float | complex) else leaf


def build(
    fn: Callable[..., Any],
    name: str,
    leaves: Sequence[Any],
    treedef: PyTreeDef,
    output_shapes: Any,
) -> Signature:
    """Find out the results and make the flat function for one combination of arguments.

    Args:
        fn: the PyTorch function.
        name: how messages call it.
        leaves: the leaves of `(args, kwargs)`; arrays are looked at for shape and dtype only.
        treedef: the tree of `(args, kwargs)`.
        output_shapes: None to infer the results.
    """
    traced = tuple(map(is_array, leaves))
    template = [ARRAY if on else leaf for leaf, on in zip(leaves, traced, strict=True)]
    ins = tuple(aval_of(leaf) for leaf in leaves if is_array(leaf))
    apply = _applier(fn, template, treedef)
    if output_shapes is None:
        (outs, out_tree), random = _inferred(apply, ins, name)
    else:
        (outs, out_tree), random = parse_output_shapes(output_shapes, ins), False
    programs = Programs()
    direct = _direct_call(apply, out_tree, name)
    spec = Function(
        name=name,
        call=_exact_call(direct, outs),
        direct=direct,
        narrow=canonical(torch.int64).itemsize == 4,
        ins=ins,
        outs=tuple(outs),
        random=random,
        programs=ref(programs),
    )
    return Signature(compiled(spec), traced, out_tree, programs)


def _applier(fn: Callable[..., Any], template: list[Any], treedef: PyTreeDef) -> Callable[..., Any]:
    """A function of flat tensors that calls `fn` with the tree of its arguments."""
    if treedef == _positional(len(template)) and all(leaf is ARRAY for leaf in template):
        return fn

    def apply(*tensors: torch.Tensor) -> Any:
        given = iter(tensors)
        leaves = [next(given) if leaf is ARRAY else leaf for leaf in template]
        args, kwargs = tree_unflatten(treedef, leaves)
        return fn(*args, **kwargs)

    return apply


def _positional(count: int) -> PyTreeDef:
    return tree_structure(((0,) * count, {}))


def _inferred(
    apply: Callable[..., Any], ins: tuple[Aval, ...], name: str
) -> tuple[tuple[list[Aval], PyTreeDef], bool]:
    def flat(*tensors: torch.Tensor) -> Any:
        return tree_flatten_with_path(apply(*tensors))

    (pairs, treedef), random = infer(flat, ins, name)
    for path, leaf in pairs:
        if not isinstance(leaf, torch.Tensor):
            raise TypeError(
                f"{name} returned {leaf!r} of type {type(leaf).__name__} at result{keystr(path)}; "
                "expected only tensors, in any pytree: use torch.as_tensor"
            )
    return ([aval_of_tensor(leaf) for _, leaf in pairs], treedef), random


def _direct_call(apply: Callable[..., Any], out_tree: PyTreeDef, name: str) -> Callable[..., Any]:
    """The function without its tree of results: it returns a tuple of them, or the single one."""
    count = out_tree.num_leaves
    if out_tree == tree_structure(0) or out_tree == tree_structure((0,) * count):
        return apply

    def call(*tensors: torch.Tensor) -> Tensors:
        return tuple(_leaves(apply(*tensors), out_tree, name))

    return call


def _exact_call(direct: Callable[..., Any], outs: Sequence[Aval]) -> Callable[..., Tensors]:
    dtypes = [dtype_j2t(out.dtype) for out in outs]

    def call(*tensors: torch.Tensor) -> Tensors:
        out = direct(*tensors)
        leaves = out if isinstance(out, tuple) else (out,)
        return tuple(_cast(x, dtype) for x, dtype in zip(leaves, dtypes, strict=True))

    return call


def _leaves(out: Any, out_tree: PyTreeDef, name: str) -> list[Any]:
    leaves, treedef = tree_flatten(out)
    if treedef != out_tree:
        raise TypeError(f"{name} returned the tree {treedef}, but {out_tree} was inferred or given")
    return leaves


def _cast(leaf: Any, dtype: torch.dtype) -> Any:
    """The tensor in 32 bits where JAX has no 64; whatever else differs is left to be reported."""
    if isinstance(leaf, torch.Tensor) and leaf.dtype is not dtype:
        return leaf.to(dtype) if dtype_j2t(canonical(leaf.dtype)) == dtype else leaf
    return leaf
