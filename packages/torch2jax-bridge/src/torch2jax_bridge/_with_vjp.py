"""`torch2jax_with_vjp`: the older name, for functions with arguments not to differentiate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from pax_tree import tree_map, tree_structure
from torch2jax_bridge._torch2jax import torch2jax


def torch2jax_with_vjp(
    fn: Callable[..., Any],
    *example_args: Any,
    depth: int = 1,
    nondiff_argnums: int | Sequence[int] | None = None,
    nondiff_mask: Any = None,
    output_shapes: Any = None,
    use_zeros: bool = True,
    use_torch_vjp: bool = True,
) -> Callable[..., Any]:
    """Wrap a PyTorch function for JAX, leaving some of its arguments out of differentiation.

    Every function of `torch2jax` can be differentiated; this one keeps the signature of the
    older API (rdyro's torch2jax).

    Args:
        fn: a function of tensors that returns a pytree of tensors.
        *example_args: positional arguments, tensors or arrays.
        depth: how often the function has to be differentiable; any order works, so this is only
            checked not to be negative.
        nondiff_argnums: positions of arguments whose gradients are zero.
        nondiff_mask: instead, a pytree of bools like `example_args`, True for zero gradients.
        output_shapes: as in `torch2jax`.
        use_zeros: must be True: JAX wants zeros, and no None, for arguments without gradient.
        use_torch_vjp: accepted for compatibility; the fastest way that PyTorch offers for the
            derivative asked for is always taken.

    Returns:
        The JAX function of the same positional arguments.

    Raises:
        ValueError: an option has a value that is not described here.

    Example:
        >>> import torch, jax.numpy as jnp
        >>> f = torch2jax_with_vjp(torch.dot, torch.ones(2), torch.ones(2), nondiff_argnums=1)
        >>> jax.grad(f, argnums=(0, 1))(jnp.ones(2), jnp.ones(2))
        (Array([1., 1.], dtype=float32), Array([0., 0.], dtype=float32))
    """
    if depth < 0:
        raise ValueError(f"depth is {depth}, expected 0 or more")
    if not use_zeros:
        raise ValueError("use_zeros=False is not possible: JAX has no gradients that are None")
    if nondiff_argnums is not None and nondiff_mask is not None:
        raise ValueError("nondiff_argnums and nondiff_mask were both given; give one of them")
    wrapped = torch2jax(fn, *example_args, output_shapes=output_shapes)
    if nondiff_argnums is None and nondiff_mask is None:
        return wrapped
    argnums = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else nondiff_argnums

    def call(*args: Any) -> Any:
        mask = _mask(args, argnums or ()) if nondiff_mask is None else nondiff_mask
        _check_mask(mask, args)
        return wrapped(*tree_map(_stop_where, tuple(mask), args))

    return call


def _mask(args: tuple, argnums: Sequence[int]) -> tuple:
    wrong = [i for i in argnums if not -len(args) <= i < len(args)]
    if wrong:
        raise ValueError(f"nondiff_argnums has {wrong[0]}, but {len(args)} arguments were given")
    positions = {i % len(args) for i in argnums}
    return tuple(tree_map(lambda _, on=i in positions: on, arg) for i, arg in enumerate(args))


def _check_mask(mask: Any, args: tuple) -> None:
    got, want = tree_structure(tuple(mask)), tree_structure(args)
    if got != want:
        raise ValueError(f"nondiff_mask has the tree {got}, but the arguments have {want}")


def _stop_where(stop: bool, leaf: Any) -> Any:
    return jax.lax.stop_gradient(leaf) if stop else leaf
