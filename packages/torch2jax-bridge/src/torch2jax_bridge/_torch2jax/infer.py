"""Shapes and dtypes of results: inferred with fake tensors, or given by the user."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager, nullcontext
from contextvars import copy_context
from functools import cache
from traceback import walk_tb
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax.core import Tracer

from pax_tree import PyTreeDef, keystr, tree_flatten, tree_flatten_with_path, tree_map
from torch2jax_bridge._avals import (
    Aval,
    aval_of,
    aval_of_tensor,
    bytes_of,
    dtype_j2t,
    dtype_t2j,
    is_differentiable,
)
from torch2jax_bridge._compat import (
    DispatchMode,
    end_fake_mode,
    fake_mode,
    is_plain,
    quiet,
    schema,
    storage_key,
    times_written,
    young_fake_tensors_of,
)
from torch2jax_bridge._convert import QUANTIZED, j2t, t2j, why_not_dense
from torch2jax_bridge._runtime.errors import CALLS_JAX, ShapeInferenceError, text_of
from torch2jax_bridge._runtime.generators import HostDraws, is_seeded
from torch2jax_bridge._runtime.thread_state import without_values
from torch2jax_bridge._torch2jax.function import Options, WrongArguments, label, widened
from torch2jax_bridge._torch2jax.reachable import Trial, left_as_it_was
from torch2jax_bridge._torch2jax.results import register_objects
from torch2jax_bridge._torch2jax.stand_ins import UsedUpError

Size = torch.Size
_config: Any = jax.config


class _Random(DispatchMode):
    """Notices operations that draw random numbers."""

    seen = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.seen = self.seen or (draws_numbers(func, args, kwargs or {}) and not is_seeded())
        return func(*args, **(kwargs or {}))


def draws_numbers(func: Any, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether a call of an operation draws random numbers. Some do only in one mode of theirs."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return False
    known = schema(func)
    names = known.arguments if known is not None else ()
    given = dict(zip((a.name for a in names), args, strict=False)) | kwargs
    switches = [a for a in names if a.name in ("dropout_p", "train", "training")]
    return all(given.get(a.name, a.default_value) for a in switches)


class _Written(DispatchMode):
    """Notes what operations write into, and keeps what was there before.

    Args:
        fake_mode: under which nothing is to be written; None if operations really write.
    """

    def __init__(self, fake_mode: Any) -> None:
        super().__init__()
        self._fake_mode = fake_mode
        self.keys: set[int | None] = set()
        self.quantized: set[int | None] = set()
        self._made: set[int | None] = set()
        self._before: list[tuple[torch.UntypedStorage, torch.UntypedStorage]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        written = list(_tensors(_written_by(func, args, kwargs)))
        for tensor in written:
            self._note(tensor)
        if written and self._fake_mode is not None:  # PyTorch would write into some real ones
            args = tuple(map(self._fake, args))
            kwargs = {name: self._fake(value) for name, value in kwargs.items()}
        results = func(*args, **kwargs)
        made = {storage_key(x) for x in _tensors([results])}
        if "quantize_per_" in str(func):
            self.quantized |= made
        if not self._made.issuperset(made):
            given = {storage_key(x) for x in _tensors([args, tuple(kwargs.values())])}
            self._made |= made - given
        return results

    def _note(self, tensor: torch.Tensor) -> None:
        key = storage_key(tensor)
        known = key in self.keys or key in self._made
        if self._fake_mode is None and not known and is_plain(tensor):
            if tensor.device.type == "cpu" and tensor.is_shared():
                raise UsedUpError(_SHARED)  # also by share_memory_, whose storages die behind us
            storage = tensor.untyped_storage()
            self._before.append((storage, storage.clone()))
        self.keys.add(key)

    def _fake(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(map(self._fake, value))
        is_real = isinstance(value, torch.Tensor) and is_plain(value)
        return self._fake_mode.from_tensor(value) if is_real else value

    def put_back(self) -> None:
        """Write into tensors that were there before what they had."""
        for storage, before in self._before:
            storage.copy_(before)


def _tensors(values: Sequence[Any]) -> Iterator[torch.Tensor]:
    """Return the tensors among the arguments of an operation, and in the lists among them."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _written_by(operation: Any, args: tuple, kwargs: dict[str, Any]) -> list[Any]:
    """Return the arguments that a call of an operation writes into."""
    places = _places_written(operation)
    if not places:
        return []
    given = dict(zip((a.name for a in schema(operation).arguments), args, strict=False)) | kwargs
    if given.get("training") is False or given.get("train") is False:  # a batch norm's averages
        return []
    return [given[name] for name in places if name in given]


@cache
def _places_written(operation: Any) -> tuple[str, ...]:
    """Return the names of the arguments that an operation may write into."""
    known = schema(operation)
    if known is None:
        return ()
    unsaid = ("running_mean", "running_var") if "batch_norm" in known.name else ()
    return tuple(
        a.name
        for a in known.arguments
        if a.name in unsaid or (a.alias_info is not None and a.alias_info.is_write)
    )


_SHARED = (
    "it moves a tensor into shared memory, or writes into one that other processes may see, which "
    "could not be put back: do so outside of the function, or pass output_shapes=."
)


class Inferred(NamedTuple):
    """What is known of a function's results, by inference or from the user.

    Attributes:
        outs: one `Aval` per result.
        out_tree: the tree of the results.
        random: whether the function draws random numbers without a key; None if that is not known.
        host_random: whether it draws them from NumPy's or Python's generators.
    """

    outs: list[Aval]
    out_tree: PyTreeDef
    random: bool | None
    host_random: bool


class _Wrong(NamedTuple):
    """What a result is that JAX cannot have, and what helps."""

    what: str
    remedy: str


class _Results(NamedTuple):
    """What a run has shown.

    Attributes:
        outs: for each result its `Aval`, or what is wrong with it.
        paths: where each result is.
        out_tree: their tree.
        written: the arguments that were written into.
        random: as in `Inferred`.
        host_random: as in `Inferred`.
    """

    outs: list[Aval | _Wrong]
    paths: list[Any]
    out_tree: PyTreeDef
    written: set[int]
    random: bool
    host_random: bool


class Given(NamedTuple):
    """The arguments of a call, for the inference of its results.

    Attributes:
        ins: one `Aval` per argument.
        device: the kind of device that the call is likely to run on, "cpu" or "cuda".
        examples: arguments with values, for one run alone; None to make fake ones.
    """

    ins: Sequence[Aval]
    device: str
    examples: Sequence[torch.Tensor] | None = None

    def tensors(self) -> list[torch.Tensor]:
        """Return the arguments of a run."""
        if self.examples is not None:
            return [example.clone() for example in self.examples]
        return [
            torch.empty(aval.shape, dtype=dtype_j2t(aval.dtype), device=self.device)
            for aval in self.ins
        ]


def infer(
    apply: Callable[..., Any], given: Given, name: str, names: Sequence[str], options: Options
) -> Inferred:
    """Run a function of flat tensors on fake ones, which have shapes but no values, or on examples.

    What the function can reach is left as it was. Where a traced call will run is not always known:
    a function that fails on fake tensors of a GPU is tried on those of the CPU.

    Args:
        apply: the function; its own parameters and other captured tensors may be real ones.
        given: its arguments.
        name: how messages call the function.
        names: what they call its arguments.
        options: the user's.

    Returns:
        The results, and whether the function draws random numbers.

    Raises:
        ShapeInferenceError: the function failed on fake tensors, or has kept one.
        TypeError: it changes an argument in place, or a result is not a tensor that JAX can take.
    """
    try:
        found = _run_on_either(apply, given, name, options)
    except (ShapeInferenceError, WrongArguments):
        raise
    except UsedUpError as error:
        raise ShapeInferenceError(
            f"The results of {name} could not be inferred: {error}"
        ) from error
    except Exception as error:
        advice = _advice(error, apply, given, name, options)
        raise ShapeInferenceError(_failure(name, given.ins, error, advice)) from error
    for i in sorted(found.written - {argument for argument, _ in options.aliases}):
        raise TypeError(
            f"{name} changes {label(names, i)} in place; arrays of JAX may not be written to: "
            f"clone it first, or give input_output_aliases={{{i}: <number of a result>}}."
        )
    outs = _fitting(found.paths, found.outs, name)
    return Inferred(outs, found.out_tree, found.random, found.host_random)


class UnfitResult(TypeError):
    """A result is not a tensor that JAX can take; the message says what it is and what helps."""


def check_results(pairs: Sequence[tuple[Any, Any]], name: str) -> None:
    """Raise `UnfitResult` if a result is not a tensor that JAX can take.

    Args:
        pairs: the results, each with its path.
        name: how messages call the function.
    """
    outs = [_result(leaf, frozenset()) for _, leaf in pairs]
    _fitting([path for path, _ in pairs], outs, name)


def _fitting(paths: Sequence[Any], outs: Sequence[Aval | _Wrong], name: str) -> list[Aval]:
    for path, out in zip(paths, outs, strict=True):
        if isinstance(out, _Wrong):
            raise UnfitResult(f"{name} returned {out.what} at result{keystr(path)}; {out.remedy}.")
    return [out for out in outs if isinstance(out, Aval)]


def _run_on_either(
    apply: Callable[..., Any], given: Given, name: str, options: Options
) -> _Results:
    try:
        return _run(apply, given, name, options)
    except Exception:
        if given.device == "cpu" or given.examples is not None:
            raise
        try:
            return _run(apply, given._replace(device="cpu"), name, options)
        except Exception:
            pass  # the first error is told
        raise


def _failure(name: str, ins: Sequence[Aval], error: Exception, advice: str) -> str:
    given, text = ", ".join(map(str, ins)), text_of(error)
    return (
        f"The results of {name} for arguments {given} could not be inferred: "
        f"{text if text.endswith('.') else text + '.'} {advice}"
    )


def _advice(
    error: Exception, apply: Callable[..., Any], given: Given, name: str, options: Options
) -> str:
    """Return what may help a function that has failed."""
    if not options.widen_integers and any(a.dtype == np.int32 for a in given.ins):
        try:
            _run_on_either(widened(apply, given.ins), given, name, options)
        except Exception:
            if any(word in text_of(error) for word in ("int64", "Long")):
                return f"{_VALUES_READ} Integers of JAX are int32: pass widen_integers=True, too."
        else:
            return WIDEN
    if "no_execution" in text_of(error):
        return CALLS_JAX
    if isinstance(error, RecursionError):
        return "Results, and objects among them, may not hold themselves."
    frames = (frame for frame, _ in walk_tb(error.__traceback__))
    if any(frame.f_globals.get("__name__", "").startswith("torch.nested") for frame in frames):
        return _NESTED
    if given.examples is not None:
        return "It was run on the examples."
    return _VALUES_READ


WIDEN = "It works with int64, PyTorch's own integers, in place of int32, JAX's: pass widen_integers=True."
_VALUES_READ = (
    "If the function is right and reads values (.item(), .numpy(), a branch on a tensor, nonzero), "
    'pass output_shapes=, or examples and infer="run".'
)
_NESTED = (
    "Nested tensors have no fake ones, and JAX has none: return .to_padded_tensor(0.0), and pass "
    'output_shapes=, or examples and infer="run".'
)


def _run(apply: Callable[..., Any], given: Given, name: str, options: Options) -> _Results:
    """Run the function once and leave no trace of it."""
    is_fake = given.examples is None
    mode = fake_mode() if is_fake else nullcontext()
    written = _Written(mode if is_fake else None)
    references = sys.getrefcount(mode)
    with no_collection():
        try:
            with without_values(), left_as_it_was(apply) as trial:
                try:
                    # What it sets in the context is gone with that.
                    found = copy_context().run(_watch, trial, given.tensors, options, mode, written)
                finally:
                    written.put_back()
        finally:
            if is_fake:
                end_fake_mode(mode)
        if is_fake and sys.getrefcount(mode) > references:
            refuse_kept(mode, name)
    return found


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep what is made in the block in the youngest generation, which is quick to collect."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _watch(
    trial: Trial,
    make: Callable[[], list[torch.Tensor]],
    options: Options,
    mode: Any,
    written: _Written,
) -> _Results:
    random, drawn = _Random(), HostDraws(trial.generators)
    by_run = isinstance(mode, nullcontext)
    no_out = {"out": None} if options.out else {}
    with drawn, quiet(), mode, random, written:
        tensors = make()
        values = [(bytes_of(tensor), bytes_of(tensor).clone()) for tensor in tensors if by_run]
        keys = [storage_key(tensor) for tensor in tensors]
        versions = [times_written(tensor) for tensor in tensors]
        result = trial.function(*tensors, **no_out)
        register_objects(result)
        pairs, out_tree = tree_flatten_with_path(result)
        changed = {
            i
            for i, (tensor, key) in enumerate(zip(tensors, keys, strict=True))
            if times_written(tensor) != versions[i] or (key is not None and key in written.keys)
        }
        # What goes around PyTorch, by .numpy() or DLPack, is seen by the values alone.
        changed |= {i for i, (now, before) in enumerate(values) if not torch.equal(now, before)}
        outs = [_result(leaf, written.quantized) for _, leaf in pairs]
    paths = [path for path, _ in pairs]
    return _Results(outs, paths, out_tree, changed, random.seen or drawn.seen, drawn.seen)


def refuse_kept(mode: Any, name: str) -> None:
    """Raise if a tensor without values is alive."""
    found = [weakref.ref(tensor) for tensor in young_fake_tensors_of(mode)]
    if found:  # perhaps by old objects that nobody has
        gc.collect()
    kept = [tensor for tensor in (reference() for reference in found) if tensor is not None]
    if not kept:
        return
    raise ShapeInferenceError(
        f"{name} keeps a tensor, {tuple(kept[0].shape)} of {kept[0].dtype}, that it made or was "
        "given while its results were inferred, and that has no values; its later calls would find "
        'it. Pass output_shapes=, or examples and infer="run", or make the tensor beforehand.'
    )


_VALUES = (bool, int, float, complex, str, bytes, np.generic, np.ndarray, jax.Array)
_NO_TREE = (
    "expected only tensors, in any pytree, and this class is not known as one: return a tuple or a "
    "dict, or register the class with jax.tree_util.register_pytree_node"
)


def _result(leaf: Any, quantized: Set[int | None]) -> Aval | _Wrong:
    """Return the shape and dtype of a result, or what is wrong with it."""
    if isinstance(leaf, _VALUES):
        what = f"{leaf!r} of type {type(leaf).__name__}"
        return _Wrong(what, "expected only tensors, in any pytree: use torch.as_tensor")
    if not isinstance(leaf, torch.Tensor):
        return _Wrong(f"an object of type {leaf.__class__.__name__}", _NO_TREE)
    key = storage_key(leaf)
    why = QUANTIZED if key is not None and key in quantized else why_not_dense(leaf)
    if why is not None:
        what, _, remedy = why.partition("; ")
        return _Wrong(what, remedy)
    try:
        return aval_of_tensor(leaf)
    except TypeError as error:
        return _Wrong(f"a tensor of {leaf.dtype}", str(error).rstrip("."))


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
        leaf = jax.ShapeDtypeStruct(tuple(leaf), default)
    if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
        raise TypeError(
            f"A leaf of output_shapes is {leaf!r}; expected a Size, a jax.ShapeDtypeStruct, "
            "an array or a tensor."
        )
    if any(isinstance(n, int) and n < 0 for n in leaf.shape):
        raise TypeError(f"output_shapes has the shape {tuple(leaf.shape)}, with a size below zero.")
    dtype = dtype_t2j(leaf.dtype) if isinstance(leaf.dtype, torch.dtype) else leaf.dtype
    return Aval(tuple(leaf.shape), jnp.dtype(jax.dtypes.canonicalize_dtype(dtype)))


def as_examples(tree: Any, values: bool) -> Any:
    """Return example arguments with every tensor as a `jax.ShapeDtypeStruct`, the rest unchanged.

    Args:
        tree: the arguments.
        values: whether tensors are to keep their values, as arrays.
    """
    return tree_map(lambda leaf: _as_example(leaf, values), tree)


def _as_example(leaf: Any, values: bool) -> Any:
    if not isinstance(leaf, torch.Tensor):
        return leaf
    if values:
        return t2j(leaf, copy=True)
    aval = aval_of_tensor(leaf)
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype)


def values_of(leaves: Sequence[Any], name: str, device: str) -> list[torch.Tensor]:
    """Return arrays with values as tensors for `infer`, where calls will have theirs.

    Raises:
        ShapeInferenceError: one has no values.
    """
    return [_value_of(leaf, name).to(device) for leaf in leaves]


def _value_of(leaf: Any, name: str) -> torch.Tensor:
    if isinstance(leaf, Tracer | jax.ShapeDtypeStruct):
        raise ShapeInferenceError(
            f'{name} is wrapped with infer="run", and was not run for such arguments before; here '
            f"they have no values ({aval_of(leaf)} among them): give torch2jax examples of these "
            "shapes, dtypes and static arguments, or call it first outside of jax.jit."
        )
    return j2t(jnp.asarray(leaf), copy=True)


def likely_device(leaves: Sequence[Any]) -> str:
    """Return the kind of device, "cpu" or "cuda", that a call with these arguments is likely to run on.

    That is where arrays are that were put there, else JAX's default device.
    """
    arrays = [x for x in leaves if isinstance(x, jax.Array) and not isinstance(x, Tracer)]
    placed = [next(iter(x.devices())).platform for x in arrays if x.committed]
    default = _config.jax_default_device
    platform = placed[0] if placed else getattr(default, "platform", default)
    return "cuda" if (platform or jax.default_backend()) in ("gpu", "cuda") else "cpu"
