"""A wrapped function at given shapes: as C++ calls it, and as PyTorch code that derivatives are made of."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple
from weakref import ref

import torch

from pax_tree import (
    PyTreeDef,
    tree_flatten,
    tree_structure,
    tree_unflatten,
)
from torch2jax_bridge._avals import Aval, Tensors, canonical, dtype_j2t

VMAP_METHODS = (
    *(None, "sequential", "sequential_unrolled", "expand_dims", "broadcast_all"),
    "legacy_vectorized",
)
RANDOMNESS = ("error", "different", "same")
DEBUG_VARIABLE = "TORCH2JAX_BRIDGE_DEBUG"


@dataclass(frozen=True)
class Options:
    """The options of `torch2jax`; see there.

    Attributes:
        keyed: whether the function seeds PyTorch's generator from its first array argument,
            so that it draws the same numbers whenever it runs again.
    """

    out: bool = False
    aliases: tuple[tuple[int, int], ...] = ()
    vmap_method: str | None = None
    randomness: str = "error"
    command_buffer: bool = False
    debug: bool = False
    keyed: bool = False


def make_options(
    *,
    out: bool,
    input_output_aliases: Mapping[int, int] | None,
    vmap_method: str | None,
    randomness: str,
    command_buffer: bool,
    debug: bool | None,
) -> Options:
    """Check the options that a user gave.

    Raises:
        ValueError: an option has a value that it cannot have, or two do not go together.
    """
    _check_choice("vmap_method", vmap_method, VMAP_METHODS)
    _check_choice("randomness", randomness, RANDOMNESS)
    aliases = tuple(sorted((input_output_aliases or {}).items()))
    if aliases and out:
        raise ValueError("out=True and input_output_aliases were both given; give one of them")
    if len({result for _, result in aliases}) < len(aliases):
        raise ValueError(f"input_output_aliases {dict(aliases)} gives one result two arguments")
    if debug is None:
        debug = os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0")
    return Options(out, aliases, vmap_method, randomness, command_buffer, debug)


def _check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, choices))}")


def label(names: Sequence[str], index: int) -> str:
    """Return what messages call an argument."""
    name = f" ({names[index]})" if index < len(names) else ""
    return f"its array argument number {index}{name}"


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


class Programs(dict[Any, Any]):
    """The jitted calls of a function and of those derived from it.

    Owned by whoever calls the function, not by the function: JAX's caches hold functions for as
    long as the jitted calls live that refer to them, and would keep both for ever.
    """


@dataclass(frozen=True, eq=False)
class Function:
    """A wrapped PyTorch function of flat tensors. Two are equal only if they are the same one.

    Attributes:
        name: how messages call it.
        template: makes its forms.
        ins: one `Aval` per argument.
        outs: one `Aval` per result.
        random: whether the function draws random numbers, so that running it again gives
            something else.
        narrow: whether JAX has no 64 bits.
        programs: refers to the `Programs` of this function, which may be gone.
        names: what messages call the arguments.
        variants: the same function for other shapes, by those of the arguments.
    """

    name: str
    template: Template
    ins: tuple[Aval, ...]
    outs: tuple[Aval, ...]
    random: bool
    narrow: bool
    programs: ref[Programs]
    names: tuple[str, ...] = ()
    variants: dict[tuple[Aval, ...], Function] = field(default_factory=dict)
    linear = 0

    def __repr__(self) -> str:
        return self.name

    @property
    def root(self) -> Function:
        return self

    @property
    def options(self) -> Options:
        return self.template.options

    @cached_property
    def forms(self) -> Forms:
        return self.template.forms(self.outs)

    def reshaped(self, ins: tuple[Aval, ...], outs: tuple[Aval, ...]) -> Function:
        """Return the same function for other shapes, for which it gives results of these shapes."""
        if ins not in self.variants:
            self.variants[ins] = replace(self, ins=ins, outs=outs, variants={})
        return self.variants[ins]
