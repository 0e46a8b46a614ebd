"""`torch2jax`: PyTorch functions and modules as JAX functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import torch

from pax_tree import tree_map, tree_structure
from torch2jax_bridge._runtime.errors import ShapeInferenceError
from torch2jax_bridge._torch2jax.function import Options, debug_by_default
from torch2jax_bridge._torch2jax.module import Arrays, ModuleApply, as_key_data, split_module
from torch2jax_bridge._torch2jax.specialize import GivenShapes, TorchFunction


def torch2jax(
    fn: Callable[..., Any],
    *example_args: Any,
    example_kw: dict[str, Any] | None = None,
    output_shapes: Any = None,
    out: bool = False,
    input_output_aliases: Mapping[int, int] | None = None,
    vmap_method: str | None = None,
    randomness: str = "error",
    debug: bool | None = None,
    share_memory: bool = False,
    infer: str = "fake",
    widen_integers: bool = False,
    backend: str = "call",
    strict: bool = False,
) -> Any:
    """Wrap a PyTorch function, or a module, as a function of JAX arrays.

    The wrapped function works under `jax.jit`, `jax.grad`, `jax.jvp`, `jax.vmap`, `jax.lax.scan`,
    `jax.checkpoint` and their compositions, to any order. Its arguments are not copied. One
    wrapped function serves every shape and dtype. Arguments and results are pytrees; leaves that
    are not arrays (Python numbers and strings among them) are static and reach `fn` unchanged.

    `fn` runs under `torch.no_grad()` (its derivatives are taken by the bridge) and with PyTorch's
    settings where it is traced (autocast, default dtype and device, modes, ...), must not change
    its arguments in place nor keep them, and may not call JAX.

    Args:
        fn: a function of tensors that returns a pytree of tensors, or a `torch.nn.Module`.
        *example_args: positional arguments, tensors or arrays, for which the results are inferred
            at once; no example is needed, and other shapes may follow.
        example_kw: keyword arguments that go with `example_args`.
        output_shapes: a pytree like the results, of `Size`, `jax.ShapeDtypeStruct`, arrays or
            tensors; for a module, like its output, without the buffers. Needed only where the
            results cannot be inferred with fake tensors, because `fn` reads values. A `Size` has
            the dtype of the first floating argument. Lists may stand for tuples.
        out: whether `fn` takes `out=` as PyTorch's functions do: a tree like its results, of
            tensors over XLA's memory, that it is to write into. Without `output_shapes`, and for
            derivatives, it is called with `out=None` and returns new tensors.
        input_output_aliases: number of an array argument (of all leaves that are arrays, from 0)
            -> number of the result that takes its memory over. `fn` may change these arguments in
            place and return them. XLA copies an argument that is used elsewhere before the call.
        vmap_method: how `jax.vmap` is done. None is `torch.func.vmap`; the others are those of
            `jax.ffi.ffi_call`: "sequential", "sequential_unrolled", "expand_dims",
            "broadcast_all" and "legacy_vectorized".
        randomness: what random operations do under `jax.vmap`: "error", "different" numbers for each
            example, or the "same". Modules draw from `rng=` where it is given; without it, and in
            functions, every call draws anew.
        debug: whether each call is checked for arguments changed in place, tensors kept beyond the
            call, and NaNs that no argument has. None takes it from the environment variable
            TORCH2JAX_BRIDGE_DEBUG.
        share_memory: whether the arrays of a module lie in its own memory, where JAX can use that;
            the module must then not be written to, by an optimizer say. Else they are copies.
        infer: how results are inferred: "fake" runs `fn` on tensors that have shapes and no values,
            "run" on copies of the examples, so that it may read values. In a call of other shapes
            that is traced, "run" raises; an eager call is its own example.
        widen_integers: whether int32 arguments, JAX's integers, reach `fn` as int64, PyTorch's own
            integers, which `cross_entropy`, `one_hot` or `take` want; results are JAX's again.
        backend: "call" runs `fn` in PyTorch. "xla" runs it once, without values, and makes its
            operators operations of JAX, which XLA compiles; those that have no rule are called in
            PyTorch one by one. There `fn` is pure, as under `jax.jit`: tensors that it captures are
            constants, and random numbers come from `rng=`.
        strict: whether with "xla" an operator without a rule is an error.

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
    options = Options(
        out=out,
        aliases=_pairs(input_output_aliases or {}),
        vmap_method=vmap_method,
        randomness=randomness,
        debug=debug_by_default() if debug is None else debug,
        infer=infer,
        widen_integers=widen_integers,
        backend=backend,
        strict=strict,
    )
    if backend != "call" and (debug or output_shapes is not None):
        option = "debug" if debug else "output_shapes"
        raise ValueError(f'{option} is for backend="call"; with "{backend}" it has no effect.')
    if infer == "run" and output_shapes is not None:
        raise ValueError('output_shapes and infer="run" were both given; give one of them.')
    if isinstance(fn, torch.nn.Module):
        given = example_args, example_kw, output_shapes
        return _wrap_module(fn, *given, options, share_memory)
    if isinstance(fn, type) and issubclass(fn, torch.nn.Module):
        raise TypeError(
            f"torch2jax takes a module, and {fn.__name__} is a class of modules: make one of it, "
            f"torch2jax({fn.__name__}(...))."
        )
    if not callable(fn):
        raise TypeError(f"torch2jax takes a function or a torch.nn.Module, got {fn!r}.")
    given = None if output_shapes is None else GivenShapes(output_shapes)
    wrapped = TorchFunction(fn, given, options)
    if (example_args or example_kw) and output_shapes is None:
        wrapped.infer(example_args, example_kw or {})
    return wrapped


def _pairs(aliases: Any) -> tuple[tuple[int, int], ...]:
    """Return the pairs of `input_output_aliases`."""
    if isinstance(aliases, Mapping):
        numbers = [*aliases, *aliases.values()]
        if all(isinstance(x, int) for x in numbers):
            return tuple(sorted(aliases.items()))
    raise TypeError(
        f"input_output_aliases is {aliases!r}, expected a dict: number of an array argument -> number "
        "of the result that takes its memory over."
    )


class WrappedModule(NamedTuple):
    """What `torch2jax` makes of a module."""

    apply: ModuleApply
    params: Arrays
    buffers: Arrays

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            "torch2jax(module) is no function, it is (apply, params, buffers): "
            "apply, params, buffers = torch2jax(module), and then "
            "out, buffers = apply(params, x, buffers=buffers)."
        )


def _wrap_module(
    module: torch.nn.Module,
    example_args: Sequence[Any],
    example_kw: dict[str, Any] | None,
    output_shapes: Any,
    options: Options,
    share_memory: bool,
) -> WrappedModule:
    if options.out or options.aliases:
        raise TypeError(
            "out and input_output_aliases are for functions; the buffers of a module are returned."
        )
    call, params, buffers = split_module(module, share_memory)
    given = None if output_shapes is None else GivenShapes(output_shapes, of_module=True)
    plain = TorchFunction(call, given, options)
    keyed = TorchFunction(call, given, replace(options, keyed=True))
    if (example_args or example_kw) and output_shapes is None:
        state = params, buffers, tuple(example_args), example_kw or {}
        if options.infer == "run":
            _run_examples(plain, keyed, state)
        else:
            plain.infer((None, True, *state), {})
    return WrappedModule(ModuleApply(plain, keyed), params, buffers)


def _run_examples(plain: TorchFunction, keyed: TorchFunction, state: tuple[Any, ...]) -> None:
    """Run a module on its examples in both modes, with and without a key.

    A module may fail in one of its modes; if it does in both, that is raised.
    """
    errors: list[ShapeInferenceError] = []
    for is_training in (True, False):
        try:
            plain.infer((None, is_training, *state), {})
            keyed.infer((as_key_data(jax.random.key(0)), is_training, *state), {})
        except ShapeInferenceError as error:
            errors.append(error)
    if len(errors) == 2:
        raise errors[0]


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
        raise ValueError(f"depth is {depth}, expected 0 or more.")
    if not use_zeros:
        raise ValueError("use_zeros=False is not possible: JAX has no gradients that are None.")
    if nondiff_argnums is not None and nondiff_mask is not None:
        raise ValueError("nondiff_argnums and nondiff_mask were both given; give one of them.")
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
        raise ValueError(f"nondiff_argnums has {wrong[0]}, but {len(args)} arguments were given.")
    positions = {i % len(args) for i in argnums}
    return tuple(tree_map(lambda _, on=i in positions: on, arg) for i, arg in enumerate(args))


def _check_mask(mask: Any, args: tuple) -> None:
    got, want = tree_structure(tuple(mask)), tree_structure(args)
    if got != want:
        raise ValueError(f"nondiff_mask has the tree {got}, but the arguments have {want}.")


def _stop_where(stop: bool, leaf: Any) -> Any:
    return jax.lax.stop_gradient(leaf) if stop else leaf
