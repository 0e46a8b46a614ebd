"""A wrapped function as C++ calls it, and as PyTorch code that derivatives and batches are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from pax_tree import PyTreeDef, tree_flatten, tree_structure, tree_unflatten
from torch2jax_bridge._dtypes import canonical, dtype_j2t
from torch2jax_bridge._options import Options
from torch2jax_bridge._runtime import Tensors
from torch2jax_bridge._specs import Aval


class Forms(NamedTuple):
    """The forms of a function of flat tensors.

    Attributes:
        call: returns a tuple of new tensors, of the dtypes that the results have in JAX, and
            changes nothing.
        direct: for C++: returns one tensor or a tuple, perhaps of 64 bits where JAX has 32; takes
            the output buffers after its arguments with `out`, and may change aliased arguments.
    """

    call: Callable[..., Tensors]
    direct: Callable[..., Any]


class Template(NamedTuple):
    """How to make the forms of a function.

    Attributes:
        apply: the function of flat tensors, returning its tree of results; takes `out=` by name
            if the options say so.
        out_tree: the tree of the results.
        name: how messages call the function.
        options: the user's.
        allocates: whether `apply` makes its results itself when it is given `out=None`.
    """

    apply: Callable[..., Any]
    out_tree: PyTreeDef
    name: str
    options: Options
    allocates: bool

    def forms(self, outs: Sequence[Aval]) -> Forms:
        """Return the forms for results of these shapes and dtypes."""
        if self.options.out:
            return self._forms_with_out(outs)
        direct = self._flat(self.apply)
        return Forms(_exact(self._unaliased(direct), outs), direct)

    def _forms_with_out(self, outs: Sequence[Aval]) -> Forms:
        count = len(outs)

        def direct(*tensors: torch.Tensor) -> Tensors:
            arguments, buffers = tensors[:-count], tensors[-count:]
            self.apply(*arguments, out=tree_unflatten(self.out_tree, buffers))
            return buffers

        def into_new(*tensors: torch.Tensor) -> Tensors:
            device = tensors[0].device if tensors else None
            new = [torch.empty(o.shape, dtype=dtype_j2t(o.dtype), device=device) for o in outs]
            self.apply(*tensors, out=tree_unflatten(self.out_tree, new))
            return tuple(new)

        if self.allocates:
            return Forms(_exact(self._flat(lambda *t: self.apply(*t, out=None)), outs), direct)
        return Forms(into_new, direct)

    def _flat(self, apply: Callable[..., Any]) -> Callable[..., Any]:
        """Without the tree of results: a tuple of them, or the single one."""
        count = self.out_tree.num_leaves
        if self.out_tree == tree_structure(0) or self.out_tree == tree_structure((0,) * count):
            return apply
        return lambda *tensors: tuple(self._leaves(apply(*tensors)))

    def _leaves(self, out: Any) -> list[Any]:
        leaves, treedef = tree_flatten(out)
        if treedef != self.out_tree:
            raise TypeError(
                f"{self.name} returned the tree {treedef}, "
                f"but {self.out_tree} was inferred or given"
            )
        return leaves

    def _unaliased(self, direct: Callable[..., Any]) -> Callable[..., Any]:
        written = {argument for argument, _ in self.options.aliases}
        if not written:
            return direct
        return lambda *ts: direct(*(t.clone() if i in written else t for i, t in enumerate(ts)))


def _exact(direct: Callable[..., Any], outs: Sequence[Aval]) -> Callable[..., Tensors]:
    dtypes = [dtype_j2t(out.dtype) for out in outs]

    def call(*tensors: torch.Tensor) -> Tensors:
        out = direct(*tensors)
        leaves = out if isinstance(out, tuple) else (out,)
        return tuple(_cast(x, dtype) for x, dtype in zip(leaves, dtypes, strict=True))

    return call


def _cast(leaf: Any, dtype: torch.dtype) -> Any:
    """Return the tensor in 32 bits where JAX has no 64; whatever else differs is left to be reported."""
    if isinstance(leaf, torch.Tensor) and leaf.dtype is not dtype:
        return leaf.to(dtype) if dtype_j2t(canonical(leaf.dtype)) == dtype else leaf
    return leaf
