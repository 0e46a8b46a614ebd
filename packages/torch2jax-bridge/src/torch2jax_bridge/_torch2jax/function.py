"""A wrapped function at given shapes, and the options that it was wrapped with."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from weakref import ref

import numpy as np
import torch

from pax_tree import PyTreeDef, tree_flatten, tree_structure, tree_unflatten
from torch2jax_bridge._avals import Aval, Tensors, canonical, dtype_j2t
from torch2jax_bridge._runtime.thread_state import Settings
from torch2jax_bridge._torch2jax.results import as_lists

VMAP_METHODS = (
    *(None, "sequential", "sequential_unrolled", "expand_dims", "broadcast_all"),
    "legacy_vectorized",
)
RANDOMNESS = ("error", "different", "same")
INFERENCE = ("fake", "run")
BACKENDS = ("call", "xla")
DEBUG_VARIABLE = "TORCH2JAX_BRIDGE_DEBUG"


@dataclass(frozen=True)
class Options:
    """The options of `torch2jax`; see there.

    Attributes:
        keyed: whether the function seeds PyTorch's generator from its first array argument,
            so that it draws the same numbers whenever it runs again.

    Raises:
        ValueError: an option has a value that it cannot have, or two do not go together.
    """

    out: bool = False
    aliases: tuple[tuple[int, int], ...] = ()
    vmap_method: str | None = None
    randomness: str = "error"
    debug: bool = False
    keyed: bool = False
    infer: str = "fake"
    widen_integers: bool = False
    backend: str = "call"
    strict: bool = False

    def __post_init__(self) -> None:
        _check_choice("vmap_method", self.vmap_method, VMAP_METHODS)
        _check_choice("randomness", self.randomness, RANDOMNESS)
        _check_choice("infer", self.infer, INFERENCE)
        _check_choice("backend", self.backend, BACKENDS)
        self._check_backend()
        if self.aliases and self.out:
            raise ValueError("out=True and input_output_aliases were both given; give one of them.")
        if len({result for _, result in self.aliases}) < len(self.aliases):
            raise ValueError(
                f"input_output_aliases {dict(self.aliases)} gives one result two arguments."
            )

    def _check_backend(self) -> None:
        if self.backend == "call":
            if self.strict:
                raise ValueError('strict=True is for backend="xla": "call" calls every operator.')
            return
        plain = Options()
        for name in ("out", "aliases", "vmap_method", "randomness", "infer"):
            if getattr(self, name) != getattr(plain, name):
                option = "input_output_aliases" if name == "aliases" else name
                raise ValueError(
                    f'{option} is for backend="call"; with "{self.backend}" the function is a '
                    "program of XLA, on which it has no effect."
                )


def debug_by_default() -> bool:
    """Whether the environment asks for `debug=True`."""
    return os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0")


def _check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, choices))}.")


class WrongArguments(TypeError):
    """What a function was given cannot be right; the message says all that there is to say."""


def widened(apply: Callable[..., Any], ins: Sequence[Aval]) -> Callable[..., Any]:
    """Return a function of flat tensors that hands int32 ones on as int64."""
    wide = [aval.dtype == np.int32 for aval in ins]
    if not any(wide):
        return apply

    def call(*tensors: torch.Tensor, **out: Any) -> Any:
        pairs = zip(tensors, wide, strict=True)
        return apply(*(t.to(torch.int64) if on else t for t, on in pairs), **out)

    return call


class JittedCalls(dict[Any, Any]):
    """The jitted calls of a function and of those derived from it.

    Owned by whoever calls the function, not by the function. A jitted call refers to the function,
    and JAX's caches hold the function for as long as the jitted call lives. If the function held
    the jitted call in turn, neither would ever be freed.
    """


@dataclass(frozen=True, eq=False)
class Function:
    """A wrapped PyTorch function of flat tensors. Two are equal only if they are the same one.

    Attributes:
        name: how messages call it.
        names: what messages call the arguments.
        apply: the function of flat tensors, returning its tree of results; takes `out=` by name
            if the options say so.
        options: the user's.
        ins: one `Aval` per argument.
        outs: one `Aval` per result.
        out_tree: the tree of the results.
        inferred: whether the results were inferred; then `apply` makes them itself if it is given
            `out=None`.
        random: whether the function draws random numbers without a key, so that running it again
            gives something else; None if that is not known, since it was not run on fake tensors.
        host_random: whether it draws them from NumPy's or Python's generators.
        settings: PyTorch's, where the function was traced.
        narrow: whether JAX has no 64 bits.
        jitted: refers to the `JittedCalls` of this function, which may be gone.
        variants: the same function for other shapes, by those of the arguments.
    """

    name: str
    names: tuple[str, ...]
    apply: Callable[..., Any]
    options: Options
    ins: tuple[Aval, ...]
    outs: tuple[Aval, ...]
    out_tree: PyTreeDef
    inferred: bool
    random: bool | None
    host_random: bool
    settings: Settings
    narrow: bool
    jitted: ref[JittedCalls]
    variants: dict[tuple[Aval, ...], Function] = field(default_factory=dict)
    linear = 0

    def __repr__(self) -> str:
        return self.name

    @property
    def root(self) -> Function:
        return self

    @cached_property
    def direct(self) -> Callable[..., Any]:
        """The function for C++.

        It returns one tensor or a tuple, perhaps of 64 bits where JAX has 32; with `out` it takes
        the output buffers after its arguments; it may change aliased arguments.
        """
        return self._into_buffers() if self.options.out else self._flat(self.apply)

    @cached_property
    def pure(self) -> Callable[..., Tensors]:
        """The function that derivatives and batches are made of.

        It returns a tuple of new tensors, of the dtypes that the results have in JAX, and changes
        nothing.
        """
        apply = self.apply
        if not self.options.out:
            return self._exact(self._unaliased(self.direct))
        if self.inferred:
            return self._exact(self._flat(lambda *tensors: apply(*tensors, out=None)))
        return self._into_new()

    def reshaped(self, ins: tuple[Aval, ...], outs: tuple[Aval, ...]) -> Function:
        """Return the same function for other shapes, for which it gives results of these shapes."""
        if ins not in self.variants:
            self.variants[ins] = replace(self, ins=ins, outs=outs, variants={})
        return self.variants[ins]

    # What follows are functions that do not refer to this one, so that it is freed at once.

    def _into_buffers(self) -> Callable[..., Tensors]:
        apply, out_tree, count = self.apply, self.out_tree, len(self.outs)

        def direct(*tensors: torch.Tensor) -> Tensors:
            arguments, buffers = tensors[:-count], tensors[-count:]
            apply(*arguments, out=tree_unflatten(out_tree, buffers))
            return buffers

        return direct

    def _into_new(self) -> Callable[..., Tensors]:
        apply, out_tree, outs = self.apply, self.out_tree, self.outs

        def call(*tensors: torch.Tensor) -> Tensors:
            device = tensors[0].device if tensors else None
            new = [torch.empty(o.shape, dtype=dtype_j2t(o.dtype), device=device) for o in outs]
            apply(*tensors, out=tree_unflatten(out_tree, new))
            return tuple(new)

        return call

    def _flat(self, apply: Callable[..., Any]) -> Callable[..., Any]:
        """Without the tree of results: a tuple of them, or the single one."""
        name, out_tree = self.name, self.out_tree
        if out_tree == tree_structure(0):
            return apply
        if out_tree == tree_structure((0,) * out_tree.num_leaves):
            return apply if self.inferred else _with_tuple(apply)

        def call(*tensors: torch.Tensor) -> Tensors:
            leaves, treedef = tree_flatten(apply(*tensors))
            if treedef != out_tree and as_lists(treedef) != as_lists(out_tree):
                raise TypeError(
                    f"{name} returned the tree {treedef}, but {out_tree} was inferred or given; what "
                    "is no tensor in it has to be the same in every call."
                )
            return tuple(leaves)

        return call

    def _unaliased(self, direct: Callable[..., Any]) -> Callable[..., Any]:
        written = {argument for argument, _ in self.options.aliases}
        if not written:
            return direct
        return lambda *ts: direct(*(t.clone() if i in written else t for i, t in enumerate(ts)))

    def _exact(self, direct: Callable[..., Any]) -> Callable[..., Tensors]:
        dtypes = [dtype_j2t(out.dtype) for out in self.outs]

        def call(*tensors: torch.Tensor) -> Tensors:
            out = direct(*tensors)
            leaves = out if isinstance(out, tuple) else (out,)
            return tuple(_cast(x, dtype) for x, dtype in zip(leaves, dtypes, strict=True))

        return call


def _with_tuple(apply: Callable[..., Any]) -> Callable[..., Any]:
    def call(*tensors: torch.Tensor) -> Any:
        results = apply(*tensors)
        return tuple(results) if isinstance(results, list) else results

    return call


def _cast(leaf: Any, dtype: torch.dtype) -> Any:
    """Return the tensor in 32 bits where JAX has no 64; whatever else differs is left to be reported."""
    if isinstance(leaf, torch.Tensor) and leaf.dtype is not dtype:
        return leaf.to(dtype) if dtype_j2t(canonical(leaf.dtype)) == dtype else leaf
    return leaf


def label(names: Sequence[str], index: int) -> str:
    """Return what messages call an argument."""
    name = f" ({names[index]})" if index < len(names) else ""
    return f"its array argument number {index}{name}"
