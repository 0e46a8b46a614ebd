"""`jit`: functions that are traced once and compiled by `torch.compile`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from pax_torch._autodiff.flatten_fun import holds_residuals, to_tensor, to_tensors
from pax_torch._compile.cache import ProgramCache, runs_inline
from pax_torch._compile.inductor import compile_graph
from pax_torch._compile.trace import NO_GENERATORS
from pax_torch._errors import check_callable, leaf_place, place_in_call
from pax_tree import tree_flatten, tree_unflatten
from pax_tree._static_args import StaticArguments
from pax_tree._static_changes import StaticChanges


def jit(
    fun: Callable[..., Any],
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Iterable[str] | None = None,
    *,
    fullgraph: bool = True,
    dynamic: bool | None = None,
    **options: Any,
) -> Callable[..., Any]:
    """Return a compiled version of a function of pytrees.

    As in JAX, the function runs in Python once for each combination of tree structure, shapes,
    dtypes and static arguments, on tensors without values; what it does to them is compiled as one
    graph by `torch.compile`, and that runs from then on. So derivatives, `vmap`, functional modules
    and steps of optimizers all become part of one program, and what else the function does
    (printing, say) happens once. Tensors that it closes over stay as they are by reference.

    Inside another transform or another compiled function, `fun` runs as it is, so the outermost
    function is the one to compile. Ctrl-C arrives after what is being traced or compiled; a second one
    does not wait for that. A derivative of the compiled function that `grad` takes is
    compiled too, and computes the values again, with the same random numbers and under the same
    autocast. Where the compiler says nothing of the order in which they are drawn, that is for more
    than one draw of another kind than `rand`, `randn`, `randint`, `bernoulli` and dropout, or one
    beside these, the function to differentiate runs as it is.

    Args:
        fun: takes pytrees of tensors, arrays and numbers, all of which it gets as tensors.
        static_argnums: positional arguments that are part of the program instead: any hashable
            values, compared by equality.
        static_argnames: the same by name.
        fullgraph: False hands the function to `torch.compile` as it is, which runs what it cannot
            compile in Python, such as an `if` on the value of a tensor, and the transforms.
        dynamic: True makes programs with open sizes, each for all sizes of at least 2 for which the
            function does the same: an `if` on a size, a loop and a `scan` make one for each outcome. Without
            it there is a program for each combination of shapes.
        **options: other arguments of `torch.compile`, such as `mode` and `backend`.

    Returns:
        A function with the arguments and results of `fun`; numbers come back as tensors. Its
        `cache_size()` is the number of programs that it has made, those of derivatives included, and
        `clear_cache()` drops them. With `fullgraph=False` it is what `torch.compile` returns. A warning
        says once if a static number is another one in each call.

    Raises:
        TypeError: `fun` is no function; in a call: a leaf is no tensor, array or number, or the
            function needs the value of a tensor.
        ValueError: `fun` has no such argument as one that is to be static; in a call: a static
            argument is not hashable, or the function draws from a `torch.Generator`.

    Example:
        >>> import torch, pax_torch
        >>> step = pax_torch.jit(lambda x, n: x * n, static_argnums=1, backend="eager")
        >>> step(torch.tensor([1.0, 2.0]), 3)
        tensor([3., 6.])
        >>> step.cache_size()
        1

    The API is that of `jax.jit`.
    """
    check_callable(fun, "jit")
    static_arguments = StaticArguments(fun, static_argnums, static_argnames, "jit")
    if not fullgraph:
        return torch.compile(fun, dynamic=dynamic, **options)
    compile = functools.partial(compile_graph, dynamic, options)
    in_order = options.get("backend") in _RUN_IN_ORDER
    programs = ProgramCache(compile, in_order, dynamic is True)
    changes = StaticChanges("jit", "a tensor")

    @functools.wraps(fun, updated=())
    def jitted(*args: Any, **kwargs: Any) -> Any:
        args, kwargs, static = static_arguments.split(args, kwargs)
        # Where the function runs as it is, what `vjp` returns stays as it is too.
        inline = runs_inline()
        if static and not inline:
            changes.see(static)
        is_leaf = holds_residuals if inline else None
        leaves, treedef = tree_flatten((args, kwargs), is_leaf)
        if any(isinstance(leaf, torch.Generator) for leaf in leaves):
            raise TypeError(NO_GENERATORS)
        tensors = _tensors(leaves, lambda i: place_in_call(args, kwargs, i), _STATIC)

        def function(*tensors: Any) -> Any:
            args, kwargs = static.join(*tree_unflatten(treedef, tensors))
            result = fun(*args, **kwargs)
            leaves, structure = tree_flatten(result, holds_residuals)
            found = _tensors(leaves, lambda i: leaf_place(result, i, "the result of jit"))
            return tree_unflatten(structure, found)

        return programs.call(function, (static, treedef), tensors)

    def clear_cache() -> None:
        programs.clear()
        changes.clear()

    jitted.clear_cache, jitted.cache_size = clear_cache, programs.size  # pyright: ignore[reportAttributeAccessIssue]
    return jitted


# Backends that run a graph node by node.
_RUN_IN_ORDER = ("eager", "aot_eager")
_STATIC = "; what is no tensor is part of the program: name the argument in static_argnums"


def _tensors(leaves: Sequence[Any], place: Callable[[int], str], remedy: str = "") -> list[Any]:
    """Return the leaves as tensors, but for what `vjp` and `linearize` return."""
    if not any(map(holds_residuals, leaves)):
        return list(to_tensors(leaves, place, remedy))
    return [
        leaf if holds_residuals(leaf) else to_tensor(leaf, lambda i=i: place(i), remedy)
        for i, leaf in enumerate(leaves)
    ]
