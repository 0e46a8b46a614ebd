"""Shapes and dtypes of results: inferred with fake tensors, or given by the user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from pax_tree import PyTreeDef, keystr, tree_flatten, tree_flatten_with_path, tree_map
from torch2jax_bridge._avals import Aval, aval_of_tensor, dtype_j2t, dtype_t2j, is_differentiable
from torch2jax_bridge._compat import DispatchMode, fake_mode, schema, times_written
from torch2jax_bridge._runtime.generators import is_seeded
from torch2jax_bridge._runtime.thread_state import without_values
from torch2jax_bridge._torch2jax.function import Options, label

Size = torch.Size


class ShapeInferenceError(TypeError):
    """The results of a function could not be found out with tensors that have no values."""


class _Random(DispatchMode):
    """Notices operations that draw random numbers."""

    seen = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.seen = self.seen or (_draws(func, args, kwargs or {}) and not is_seeded())
        return func(*args, **(kwargs or {}))


def _draws(func: Any, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether a call of an operation draws random numbers. Some do only in one mode of theirs."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return False
    known = schema(func)
    names = known.arguments if known is not None else ()
    given = dict(zip((a.name for a in names), args, strict=False)) | kwargs
    switches = [a for a in names if a.name in ("dropout_p", "train", "training")]
    return all(given.get(a.name, a.default_value) for a in switches)


def infer(
    apply: Callable[..., Any],
    ins: Sequence[Aval],
    name: str,
    names: Sequence[str],
    options: Options,
) -> tuple[list[Aval], PyTreeDef, bool]:
    """Run a function of flat tensors on fake ones, which have shapes but no values.

    Args:
        apply: the function; its own parameters and other captured tensors may be real ones.
        ins: one `Aval` per argument.
        name: how messages call the function.
        names: what they call its arguments.
        options: the user's.

    Returns:
        One `Aval` per result, the tree of the results, and whether the function draws random
        numbers.

    Raises:
        ShapeInferenceError: the function failed on fake tensors.
        TypeError: it changes an argument in place, or a result is not a tensor.
    """
    device = "cuda" if jax.default_backend() in ("gpu", "cuda") else "cpu"
    no_out = {"out": None} if options.out else {}
    mode, random = fake_mode(), _Random()
    try:
        with without_values(), mode, random:
            fakes = [torch.empty(a.shape, dtype=dtype_j2t(a.dtype), device=device) for a in ins]
            pairs, treedef = tree_flatten_with_path(apply(*fakes, **no_out))
            changed = {i for i, fake in enumerate(fakes) if times_written(fake)}
    except Exception as error:
        given = ", ".join(map(str, ins))
        raise ShapeInferenceError(
            f"The results of {name} for arguments {given} could not be inferred: "
            f"{type(error).__name__}: {error}. If the function is right and reads values "
            "(.item(), .numpy(), a branch on a tensor, nonzero), pass output_shapes=."
        ) from error
    for i in changed - {argument for argument, _ in options.aliases}:
        raise TypeError(
            f"{name} changes {label(names, i)} in place; arrays of JAX may not be written to: "
            f"clone it first, or give input_output_aliases={{{i}: <number of a result>}}."
        )
    for path, leaf in pairs:
        if not isinstance(leaf, torch.Tensor):
            raise TypeError(
                f"{name} returned {leaf!r} of type {type(leaf).__name__} at result{keystr(path)}; "
                "expected only tensors, in any pytree: use torch.as_tensor."
            )
    return [aval_of_tensor(leaf) for _, leaf in pairs], treedef, random.seen


def _is_size(leaf: Any) -> bool:
    return isinstance(leaf, torch.Size)


def parse_output_shapes(output_shapes: Any, ins: Sequence[Aval]) -> tuple[list[Aval], PyTreeDef]:
    """Return the results that a user's `output_shapes` describes.

    Args:
        output_shapes: a pytree of `Size`, `jax.ShapeDtypeStruct`, arrays or tensors. A `Size` has
            the dtype of the first floating argument, or float32 if there is none.
        ins: one `Aval` per argument of the function.

    Returns:
        One `Aval` per result, and the tree of the results.

    Raises:
        TypeError: a leaf is something else.
    """
    default = next((a.dtype for a in ins if is_differentiable(a.dtype)), jnp.dtype("float32"))
    leaves, treedef = tree_flatten(output_shapes, is_leaf=_is_size)
    return [_parse_leaf(leaf, default) for leaf in leaves], treedef


def _parse_leaf(leaf: Any, default: np.dtype) -> Aval:
    if _is_size(leaf):
        return Aval(tuple(leaf), default)
    if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
        raise TypeError(
            f"A leaf of output_shapes is {leaf!r}; expected a Size, a jax.ShapeDtypeStruct, "
            "an array or a tensor."
        )
    dtype = dtype_t2j(leaf.dtype) if isinstance(leaf.dtype, torch.dtype) else leaf.dtype
    return Aval(tuple(leaf.shape), jnp.dtype(jax.dtypes.canonicalize_dtype(dtype)))


def as_examples(tree: Any) -> Any:
    """Return example arguments with every tensor as a `jax.ShapeDtypeStruct`, the rest unchanged."""
    return tree_map(_as_example, tree)


def _as_example(leaf: Any) -> Any:
    if not isinstance(leaf, torch.Tensor):
        return leaf
    aval = aval_of_tensor(leaf)
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype)
