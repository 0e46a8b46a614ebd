"""`torch2jax`: PyTorch functions and modules as JAX functions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import update_wrapper
from types import BuiltinFunctionType
from typing import Any

import jax
import torch

from pax_tree import (
    PyTreeDef,
    keystr,
    tree_flatten,
    tree_flatten_with_path,
    tree_unflatten,
)
from torch2jax_bridge._errors import original_exception
from torch2jax_bridge._module import Apply, Arrays, split_module
from torch2jax_bridge._options import Options, make_options
from torch2jax_bridge._shapes import as_examples
from torch2jax_bridge._signature import Signature, build, key_of

_config: Any = jax.config


class TorchFunction:
    """A PyTorch function as JAX calls it. Made by `torch2jax`."""

    def __init__(
        self, fn: Callable[..., Any], output_shapes: Any = None, options: Options | None = None
    ) -> None:
        self._fn = fn
        self._output_shapes = output_shapes
        self._options = options or Options()
        self._signatures: dict[Hashable, Signature] = {}
        self._name = _name_of(fn)
        update_wrapper(self, fn, updated=())

    def __repr__(self) -> str:
        return f"torch2jax({self._name})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leaves, treedef = tree_flatten((args, kwargs))
        signature = self._signature(leaves, treedef)
        arrays = [leaf for leaf, traced in zip(leaves, signature.traced, strict=True) if traced]
        try:
            results = signature.call(*arrays)
        except (jax.errors.JaxRuntimeError, ValueError) as error:  # the latter by compiled calls
            if (original := original_exception(error)) is None:
                raise
            raise jax.errors.JaxRuntimeError(str(error)) from original
        return tree_unflatten(signature.out_tree, results)

    def infer(self, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """Find out the results for example arguments, which may be tensors, without a call."""
        self._signature(*tree_flatten(as_examples((tuple(args), kwargs))))

    def _signature(self, leaves: list[Any], treedef: PyTreeDef) -> Signature:
        try:
            key = (treedef, _config.jax_enable_x64, *map(key_of, leaves))
            found = self._signatures.get(key)
        except TypeError as error:
            raise _bad_argument(self._name, leaves, treedef) or error from None
        if found is None:
            given = self._output_shapes, self._options
            found = build(self._fn, self._name, leaves, treedef, *given)
            self._signatures[key] = found
        return found


def _name_of(fn: Callable[..., Any]) -> str:
    if isinstance(fn, BuiltinFunctionType):  # its qualified name has a class of PyTorch's inside
        return fn.__name__
    return getattr(fn, "__qualname__", type(fn).__name__)


def _bad_argument(name: str, leaves: list[Any], treedef: PyTreeDef) -> TypeError | None:
    """Return the error for the first argument that can be neither traced nor static."""
    for path, leaf in tree_flatten_with_path(tree_unflatten(treedef, leaves))[0]:
        try:
            hash(key_of(leaf))
        except TypeError as error:
            return TypeError(f"{name} was given, at (args, kwargs){keystr(path)}: {error}")
    return None


def torch2jax(
    fn: Callable[..., Any],
    *example_args: Any,
    example_kw: dict[str, Any] | None = None,
    output_shapes: Any = None,
    out: bool = False,
    input_output_aliases: Mapping[int, int] | None = None,
    vmap_method: str | None = None,
    randomness: str = "error",
    command_buffer: bool = False,
    debug: bool | None = None,
    share_memory: bool = False,
) -> Any:
    """Wrap a PyTorch function, or a module, as a function of JAX arrays.

    The wrapped function works under `jax.jit`, `jax.grad`, `jax.jvp`, `jax.vmap`, `jax.lax.scan`,
    `jax.checkpoint` and their compositions, to any order. Its arguments are not copied. One
    wrapped function serves every shape and dtype. Arguments and results are pytrees; leaves that
    are not arrays (Python numbers and strings among them) are static and reach `fn` unchanged.

    `fn` runs under `torch.no_grad()` (its derivatives are taken by the bridge), must not change
    its arguments in place nor keep them, and may not call JAX.

    Args:
        fn: a function of tensors that returns a pytree of tensors, or a `torch.nn.Module`.
        *example_args: positional arguments, tensors or arrays, for which the results are inferred
            at once; no example is needed, and other shapes may follow.
        example_kw: keyword arguments that go with `example_args`.
        output_shapes: a pytree like the results, of `Size`, `jax.ShapeDtypeStruct`, arrays or
            tensors. Needed only where the results cannot be inferred with fake tensors, because
            `fn` reads values. A `Size` has the dtype of the first floating argument.
        out: whether `fn` takes `out=` as PyTorch's functions do: a tree like its results, of
            tensors over XLA's memory, that it is to write into. Without `output_shapes`, and for
            derivatives, it is called with `out=None` and returns new tensors.
        input_output_aliases: number of an array argument (of all leaves that are arrays, from 0)
            -> number of the result that takes its memory over. `fn` may change these arguments in
            place and return them. XLA copies an argument that is used elsewhere before the call.
        vmap_method: how `jax.vmap` is done. None is `torch.func.vmap`; the others are those of
            `jax.ffi.ffi_call`: "sequential", "sequential_unrolled", "expand_dims",
            "broadcast_all" and "legacy_vectorized".
        randomness: what random operations do under `torch.func.vmap`: "error", "different" for
            each example, or the "same".
        command_buffer: whether XLA may record the call into a CUDA graph and replay it without
            calling `fn`. `fn` must then enqueue the same work each time and may not wait for the
            GPU. Without effect on a CPU.
        debug: whether each call is checked for arguments changed in place, tensors kept beyond the
            call, and NaNs that no argument has. None takes it from the environment variable
            TORCH2JAX_BRIDGE_DEBUG.
        share_memory: whether the arrays of a module lie in its own memory, where JAX can use that;
            the module must then not be written to, by an optimizer say. Else they are copies.

    Returns:
        The JAX function with the signature of `fn`. For a module `(apply, params, buffers)`:
        `apply(params, *args, buffers=buffers, is_training=True, **kwargs)` returns the module's
        output and the new buffers; `params` and `buffers` are flat dicts of JAX arrays.

    Raises:
        ShapeInferenceError: the results cannot be inferred.
        TypeError: `fn` is not callable, an argument is neither an array nor hashable, or a result
            is not a tensor.
        jax.errors.JaxRuntimeError: `fn` raised; the text holds its message and traceback, and
            `original_exception` finds the exception. Compiled functions that are called again raise
            a ValueError with the same text under some versions of JAX.

    Example:
        >>> import jax.numpy as jnp
        >>> f = torch2jax(lambda x, y: (x * torch.sin(y)).sum())
        >>> x, y = jnp.ones(3), jnp.zeros(3)
        >>> print(jax.jit(jax.grad(f, argnums=1))(x, y))
        [1. 1. 1.]
    """
    options = make_options(
        out=out,
        input_output_aliases=input_output_aliases,
        vmap_method=vmap_method,
        randomness=randomness,
        command_buffer=command_buffer,
        debug=debug,
    )
    if isinstance(fn, torch.nn.Module):
        given = example_args, example_kw, output_shapes
        return _wrap_module(fn, *given, options, share_memory)
    if not callable(fn):
        raise TypeError(f"torch2jax takes a function or a torch.nn.Module, got {fn!r}")
    wrapped = TorchFunction(fn, output_shapes, options)
    if (example_args or example_kw) and output_shapes is None:
        wrapped.infer(example_args, example_kw or {})
    return wrapped


def _wrap_module(
    module: torch.nn.Module,
    example_args: Sequence[Any],
    example_kw: dict[str, Any] | None,
    output_shapes: Any,
    options: Options,
    share_memory: bool,
) -> tuple[Apply, Arrays, Arrays]:
    if output_shapes is not None or options.out or options.aliases:
        raise TypeError(
            "output_shapes, out and input_output_aliases are for functions; "
            "the results of a module are inferred, and its buffers are returned"
        )
    call, params, buffers = split_module(module, share_memory)
    wrapped = TorchFunction(call, None, options)
    if example_args or example_kw:
        state = (None, True, params, buffers)
        wrapped.infer((*state, tuple(example_args), example_kw or {}), {})
    return Apply(wrapped, TorchFunction(call, None, replace(options, keyed=True))), params, buffers
