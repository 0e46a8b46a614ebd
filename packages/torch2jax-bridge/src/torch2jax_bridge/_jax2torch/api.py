"""`jax2torch`: JAX functions as PyTorch functions."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Sequence
from functools import update_wrapper
from typing import Any

import torch

from pax_tree import PyTreeDef, tree_flatten, tree_unflatten
from pax_tree._static_args import Static, StaticArguments
from pax_tree._static_changes import StaticChanges
from torch2jax_bridge._compat import opaque_to_compile, runs_while_compiling
from torch2jax_bridge._jax2torch.autograd import call
from torch2jax_bridge._jax2torch.context import number_of_context, refuse_forks
from torch2jax_bridge._jax2torch.program import Program
from torch2jax_bridge._jax2torch.specialize import Leaves, TracedFunction, specialize
from torch2jax_bridge._runtime.named import Named, from_pickle, to_pickle
from torch2jax_bridge._runtime.remembered import remembered


class _GraphNode:
    """A function that is one opaque node of a compiled graph.

    `torch.compile` runs `prepare` while it traces and then finds `call` prepared: late, since only
    those who compile need what takes seconds to import. What is compiled for a callable object stays
    after `torch._dynamo.reset`, so the node refers weakly to its function: who calls it has it.
    """

    def __init__(self, function: JaxFunction) -> None:
        reference = weakref.ref(function)

        def call(*args: Any, **kwargs: Any) -> Any:
            found = reference()
            if found is None:
                raise RuntimeError(_GONE)
            return found._eager(*args, **kwargs)

        self.call: Callable[..., Any] = call
        self._is_prepared = False

        def prepare() -> None:
            if not self._is_prepared:
                self.call = opaque_to_compile(self.call)
                self._is_prepared = True

        runs_while_compiling(prepare)
        self.prepare = prepare


_GONE = (
    "A graph of torch.compile calls a function that jax2torch returned, which is gone: keep it for "
    "as long as the graph is used."
)


class JaxFunction:
    """A JAX function as PyTorch calls it. Made by `jax2torch`."""

    __static_by_identity__ = True

    def __init__(self, fn: Callable[..., Any], static: StaticArguments) -> None:
        self._fn = fn
        self._static = static
        self._changes = StaticChanges("jax2torch", "a tensor")
        self._traced: dict[Hashable, TracedFunction] = {}
        self._in_graphs: list[Program] = []  # of those that were freed
        self._name = getattr(fn, "__qualname__", type(fn).__name__)
        self._node = _GraphNode(self)
        update_wrapper(self, fn, updated=())

    def __repr__(self) -> str:
        return f"jax2torch({self._name})"

    def clear_cache(self) -> None:
        """Free the programs of all combinations of arguments; the next call of each makes a new one.

        A program that a graph of `torch.compile` calls stays until this function is dropped.
        """
        for made in self._traced.values():
            self._keep_for_graphs(made)
        self._traced.clear()
        self._changes.clear()

    def cache_size(self) -> int:
        """Return for how many combinations of arguments there is a program."""
        return len(self._traced)

    def __reduce__(self) -> tuple | str:
        if isinstance(named := to_pickle(self), Named):  # it stands where its function did
            return named.place[1]
        return _again, (to_pickle(self._fn), self._static)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_dynamo_compiling():
            self._node.prepare()
            return self._node.call(*args, **kwargs)
        return self._eager(*args, **kwargs)

    def _eager(self, *args: Any, **kwargs: Any) -> Any:
        args, kwargs, static = self._static.split(args, kwargs)
        self._changes.see(static)
        flat, treedef = tree_flatten((args, kwargs))
        leaves = Leaves(flat)
        made = self._specialized(leaves, treedef, static)
        outs = call(made.program, tuple(leaves.numbers), leaves.tensors)
        return tree_unflatten(made.out_tree, outs)

    def _specialized(self, leaves: Leaves, treedef: PyTreeDef, static: Static) -> TracedFunction:
        key = (treedef, number_of_context(), leaves.kinds, static)
        found = self._traced.get(key)
        if found is None:
            refuse_forks()
            fn = _bound(self._fn, static)
            found = specialize(fn, self._name, leaves.kinds, treedef, tuple(leaves.numbers))
            found = remembered(self._traced, key, found, self._keep_for_graphs)
        return found

    def _keep_for_graphs(self, freed: TracedFunction) -> None:
        if freed.program.is_in_graph():
            self._in_graphs.append(freed.program)


def _again(fn: Any, static: StaticArguments) -> JaxFunction:
    return JaxFunction(from_pickle(fn), static)


def _bound(fn: Callable[..., Any], static: Static) -> Callable[..., Any]:
    """Return the function of the arguments that are not static, with None in place of the others."""
    if not static:
        return fn

    def bound(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = static.join(args, kwargs)
        return fn(*args, **kwargs)

    return bound


def jax2torch(
    fn: Callable[..., Any],
    *,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
) -> Any:
    """Wrap a JAX function as a function of PyTorch tensors.

    The function is compiled by `jax.jit`, once for each combination of shapes and dtypes. Tensors
    become JAX arrays without a copy where JAX can use their memory, and results share JAX's. The
    wrapped function works with `Tensor.backward`, `torch.autograd.grad` and `forward_ad`, with
    `torch.func.grad`, `vjp`, `jvp`, `vmap`, `jacrev`, `jacfwd`, `hessian` and their compositions,
    to any order, and inside of `torch.compile`. The backward pass uses what the forward pass has
    kept. Complex gradients follow PyTorch's convention.

    Arguments and results are pytrees. Tensors, arrays and numbers are traced; numbers are weakly
    typed, as in JAX, and have no gradient. Integer tensors have no gradient either.

    Without `jax_enable_x64`, tensors of float64 and complex128 are refused; those of int64 become
    int32 if their values allow it, so integer results are int32.

    Args:
        fn: a function that `jax.jit` takes.
        static_argnums: positions of arguments that are hashable constants, as in `jax.jit`.
        static_argnames: names of such arguments. Given one of both, the other is inferred.

    Returns:
        The PyTorch function with the signature of `fn`. Its results are on the device of its
        arguments, and may be written to.

    Raises:
        TypeError: `fn` is not callable; in a call, an argument or a result is neither a tensor, an
            array nor a number, or has a dtype or layout that the other library lacks.
        ValueError: in a call, tensors are on several devices, or a static argument is not hashable.
        OverflowError: in a call, an int64 tensor has values that its int32 copy cannot have.

    Example:
        >>> import jax.numpy as jnp
        >>> f = jax2torch(lambda x, y: jnp.sum(x * jnp.sin(y)))
        >>> x, y = torch.ones(3), torch.zeros(3, requires_grad=True)
        >>> f(x, y).backward()
        >>> y.grad
        tensor([1., 1., 1.])
        >>> torch.func.hessian(f)(x, torch.zeros(3)).shape
        torch.Size([3, 3])
    """
    if not callable(fn):
        raise TypeError(f"jax2torch takes a function, got {fn!r} of type {type(fn).__name__}.")
    return JaxFunction(fn, StaticArguments(fn, static_argnums, static_argnames, "jax2torch"))
