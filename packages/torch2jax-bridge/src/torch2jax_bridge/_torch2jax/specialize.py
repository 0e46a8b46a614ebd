"""`TorchFunction`, what the user calls: one `Function` for each combination of arguments."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial, update_wrapper
from types import BuiltinFunctionType
from typing import Any
from weakref import ref

import jax
import numpy as np
import torch

from pax_tree import (
    PyTreeDef,
    keystr,
    tree_flatten,
    tree_flatten_with_path,
    tree_structure,
    tree_unflatten,
)
from torch2jax_bridge._avals import Aval, aval_of, canonical
from torch2jax_bridge._lowered.evaluate import Computed
from torch2jax_bridge._lowered.lower import lower, report
from torch2jax_bridge._runtime.errors import original_exception, printable
from torch2jax_bridge._runtime.named import Named, from_pickle, to_pickle
from torch2jax_bridge._runtime.remembered import remembered
from torch2jax_bridge._runtime.thread_state import current_settings, enter_settings
from torch2jax_bridge._torch2jax.function import Function, JittedCalls, Options, widened
from torch2jax_bridge._torch2jax.infer import (
    Given,
    Inferred,
    as_examples,
    infer,
    likely_device,
    parse_output_shapes,
    values_of,
)
from torch2jax_bridge._torch2jax.module import BUFFERS, ModuleCall
from torch2jax_bridge._torch2jax.primitive import jitted_call
from torch2jax_bridge._torch2jax.results import carried_by_jax
from torch2jax_bridge._torch2jax.static_numbers import StaticNumbers

_config: Any = jax.config


@dataclass(frozen=True)
class GivenShapes:
    """What the user says of the results.

    Attributes:
        shapes: the `output_shapes`.
        of_module: whether they are those of a module, which gives back its buffers besides.
    """

    shapes: Any
    of_module: bool = False

    def __call__(self, args: Sequence[Any]) -> Any:
        """Return the shapes of all results of a call."""
        return (self.shapes, args[BUFFERS]) if self.of_module else self.shapes


class TorchFunction:
    """A PyTorch function as JAX calls it. Made by `torch2jax`."""

    __static_by_identity__ = True

    def __init__(
        self,
        fn: Callable[..., Any],
        output_shapes: GivenShapes | None = None,
        options: Options | None = None,
    ) -> None:
        self._fn = fn
        self._output_shapes = output_shapes
        self._options = options or Options()
        self._traced: dict[Hashable, TracedCall] = {}
        self._name = _name_of(fn)
        self._numbers = StaticNumbers(self._name)
        update_wrapper(self, fn, updated=())

    def __repr__(self) -> str:
        return f"torch2jax({self._name})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leaves, treedef = tree_flatten((args, kwargs))
        made = self._specialized(leaves, treedef)
        arrays = [leaf for leaf, traced in zip(leaves, made.traced, strict=True) if traced]
        try:
            results = made.call(*arrays)
        except (jax.errors.JaxRuntimeError, ValueError) as error:  # the latter by compiled calls
            if (original := original_exception(error)) is None:
                raise
            raise jax.errors.JaxRuntimeError(str(error)) from original
        return tree_unflatten(made.out_tree, results)

    def __reduce__(self) -> tuple | str:
        if isinstance(named := to_pickle(self), Named):  # it stands where its function did
            return named.place[1]
        return _again, (to_pickle(self._fn), self._output_shapes, self._options)

    def clear_cache(self) -> None:
        """Free the programs of all combinations of arguments; the next call of each makes a new one.

        Programs of `jax.jit` around the function live on.
        """
        self._traced.clear()

    def cache_size(self) -> int:
        """Return for how many combinations of arguments there is a program."""
        return len(self._traced)

    def report(self) -> str:
        """Return a table of the operators in all programs: which are lowered, and which are called.

        Raises:
            ValueError: the function was wrapped with `backend="call"`.
        """
        return report(self.programs())

    def programs(self) -> list[Sequence[Computed]]:
        """Return the operators of each program.

        Raises:
            ValueError: the function was wrapped with `backend="call"`.
        """
        if self._options.backend == "call":
            raise ValueError('A report is for backend="xla"; "call" calls all operators.')
        return [made.steps for made in self._traced.values()]

    def infer(self, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """Find out the results for example arguments, which may be tensors, without a call."""
        examples = as_examples((tuple(args), kwargs), self._options.infer == "run")
        self._specialized(*tree_flatten(examples))

    def _specialized(self, leaves: list[Any], treedef: PyTreeDef) -> TracedCall:
        try:
            settings = current_settings(), _config.jax_enable_x64
            keys = tuple(map(key_of, leaves))
            key = (treedef, *settings, *keys)
            found = self._traced.get(key)
        except TypeError as error:
            raise _bad_argument(self._name, leaves, treedef) or error from None
        if found is None:
            self._numbers.note(leaves, treedef, keys)
            given = self._output_shapes, self._options
            found = specialize(self._fn, self._name, leaves, treedef, *given)
            found = remembered(self._traced, key, found)
        return found


def _again(fn: Any, output_shapes: GivenShapes | None, options: Options) -> TorchFunction:
    return TorchFunction(from_pickle(fn), output_shapes, options)


def _name_of(fn: Callable[..., Any]) -> str:
    if isinstance(fn, BuiltinFunctionType):  # its qualified name has a class of PyTorch's inside
        return fn.__name__
    return printable(getattr(fn, "__qualname__", type(fn).__name__))


def _bad_argument(name: str, leaves: list[Any], treedef: PyTreeDef) -> TypeError | None:
    """Return the error for the first argument that can be neither traced nor static."""
    for path, leaf in tree_flatten_with_path(tree_unflatten(treedef, leaves))[0]:
        try:
            hash(key_of(leaf))
        except TypeError as error:
            place = f"{name} was given, at (args, kwargs){keystr(path)}"
            if "unhashable" in str(error):
                return TypeError(
                    f"{place}: {leaf!r} of type {type(leaf).__name__}, which is no array, and as a "
                    "constant of the program has to be hashable."
                )
            return TypeError(f"{place}: {error}")
    return None


# What follows the place of an argument in a message.
_TENSOR_GIVEN = "got a torch.Tensor, expected a JAX array; convert it with t2j."
ARRAYS = (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct)


ARRAY = object()  # stands for an array among the leaves of a call


@dataclass(frozen=True)
class TracedCall:
    """How one call is made.

    Attributes:
        call: flat arrays to flat arrays.
        traced: which leaves of the arguments are arrays.
        out_tree: the tree of the results.
        jitted: the jitted calls, kept for as long as this lives.
        steps: the operators, where they are lowered.
    """

    call: Callable[..., list[jax.Array]]
    traced: tuple[bool, ...]
    out_tree: PyTreeDef
    jitted: JittedCalls
    steps: Sequence[Computed] = ()


def key_of(leaf: Any) -> Hashable:
    """Return what distinguishes a leaf in the cache of traced calls. Equal static leaves of different
    types are different, and so are 0.0 and -0.0.
    """
    if isinstance(leaf, ARRAYS):
        return aval_of(leaf)
    if isinstance(leaf, torch.Tensor):
        raise TypeError(_TENSOR_GIVEN)
    if isinstance(leaf, slice):  # which newer Pythons can hash
        return slice, (leaf.start, leaf.stop, leaf.step)
    return type(leaf), repr(leaf) if isinstance(leaf, float | complex) else leaf


def specialize(
    fn: Callable[..., Any],
    name: str,
    leaves: Sequence[Any],
    treedef: PyTreeDef,
    output_shapes: GivenShapes | None,
    options: Options,
) -> TracedCall:
    """Find out the results and make the flat function for one combination of arguments.

    Args:
        fn: the PyTorch function.
        name: how messages call it.
        leaves: the leaves of `(args, kwargs)`; arrays are looked at for shape and dtype only, and
            for their values to infer by a run.
        treedef: the tree of `(args, kwargs)`.
        output_shapes: None to infer the results.
        options: the user's.
    """
    settings = current_settings()
    traced = tuple(isinstance(leaf, ARRAYS) for leaf in leaves)
    template = [ARRAY if on else leaf for leaf, on in zip(leaves, traced, strict=True)]
    names = _names(template, treedef)
    ins = tuple(aval_of(leaf) for leaf, on in zip(leaves, traced, strict=True) if on)
    args, kwargs = tree_unflatten(treedef, leaves)

    def once(widen: bool = options.widen_integers) -> Callable[..., Any]:
        trial = fn.for_one_call(*args, **kwargs) if isinstance(fn, ModuleCall) else fn
        return _applier(trial, template, treedef, ins, widen)

    if options.backend != "call":
        made = lower(once, ins, options, (name, names))
        out_tree = carried_by_jax(made.out_tree)
        return TracedCall(made.call, traced, out_tree, JittedCalls(), made.steps)
    apply = _applier(fn, template, treedef, ins, options.widen_integers)

    if output_shapes is None:
        arrays = [leaf for leaf, on in zip(leaves, traced, strict=True) if on]
        device, by_run = likely_device(arrays), options.infer == "run"
        examples = values_of(arrays, name, device) if by_run else None
        found = infer(once(), Given(ins, device, examples), name, names, options)
    else:
        found = Inferred(*parse_output_shapes(output_shapes(args), ins), None, False)
    if found.host_random and options.keyed:
        raise TypeError(_OTHER_GENERATORS.format(name))
    if current_settings() is not settings:  # the function changes them
        enter_settings(settings)
        settings = settings.unchecked()
    _check_aliases(options, ins, found.outs, name)
    jitted = JittedCalls()
    spec = Function(
        name=name,
        names=names,
        apply=apply,
        options=options,
        ins=ins,
        outs=tuple(found.outs),
        out_tree=found.out_tree,
        inferred=output_shapes is None,
        random=found.random,
        host_random=found.host_random,
        settings=settings,
        narrow=canonical(torch.int64).itemsize == 4,
        jitted=ref(jitted),
    )
    out_tree = carried_by_jax(found.out_tree)
    if ins or found.random is False:
        return TracedCall(jitted_call(spec), traced, out_tree, jitted)
    # JAX would move a call without arguments out of a loop that it differentiates.
    spec = replace(spec, ins=(_NOTHING,), apply=lambda _, **out: apply(**out))
    call = partial(jitted_call(spec), np.zeros(_NOTHING.shape, _NOTHING.dtype))
    return TracedCall(call, traced, out_tree, jitted)


_NOTHING = Aval((), np.dtype(bool))


_OTHER_GENERATORS = (
    "{} draws random numbers from NumPy's or Python's generators, which rng= does not seed: draw them "
    "with PyTorch, pass them as arguments, or leave rng= out."
)


def _names(template: list[Any], treedef: PyTreeDef) -> tuple[str, ...]:
    """Return what messages call the arrays among the arguments: args[0]['a'], kwargs['b']."""
    pairs = tree_flatten_with_path(tree_unflatten(treedef, template))[0]
    return tuple(
        printable(("args", "kwargs")[path[0].idx] + keystr(path[1:]))
        for path, leaf in pairs
        if leaf is ARRAY
    )


def _applier(
    fn: Callable[..., Any],
    template: list[Any],
    treedef: PyTreeDef,
    ins: Sequence[Aval],
    widen: bool,
) -> Callable[..., Any]:
    """Return a function of flat tensors that calls `fn` with the tree of its arguments."""
    apply = _of_tree(fn, template, treedef)
    return widened(apply, ins) if widen else apply


def _of_tree(fn: Callable[..., Any], template: list[Any], treedef: PyTreeDef) -> Callable[..., Any]:
    positional = tree_structure(((0,) * len(template), {}))
    if treedef == positional and all(leaf is ARRAY for leaf in template):
        return fn

    def apply(*tensors: torch.Tensor, **out: Any) -> Any:
        given = iter(tensors)
        leaves = [next(given) if leaf is ARRAY else leaf for leaf in template]
        args, kwargs = tree_unflatten(treedef, leaves)
        return fn(*args, **kwargs, **out)

    return apply


def _check_aliases(options: Options, ins: Sequence[Aval], outs: Sequence[Aval], name: str) -> None:
    for argument, result in options.aliases:
        if not (0 <= argument < len(ins) and 0 <= result < len(outs)):
            raise ValueError(
                f"input_output_aliases has {argument}: {result}, but {name} has {len(ins)} array "
                f"arguments and {len(outs)} results."
            )
        if ins[argument] != outs[result]:
            raise ValueError(
                f"input_output_aliases has {argument}: {result}, but argument {argument} of {name} "
                f"is {ins[argument]} and result {result} is {outs[result]}."
            )
