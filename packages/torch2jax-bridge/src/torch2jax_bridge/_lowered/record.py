"""Recording: a function is run once on tensors without values, and every operator it calls is noted.

PyTorch's functionalisation stands above: writes in place and views arrive here as operators that
return new tensors. Operators without a rule are taken apart by PyTorch's decompositions as far as
there are some.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import copy_context
from typing import Any

import torch

from pax_tree import tree_flatten, tree_flatten_with_path
from torch2jax_bridge._compat import (
    BAGS,
    DispatchMode,
    compiling,
    decompositions,
    end_fake_mode,
    fake_mode,
    is_plain,
    quiet,
    schema,
    storage_key,
)
from torch2jax_bridge._lowered.custom_functions import custom_call, intercepted
from torch2jax_bridge._lowered.operators import custom_operator, keep_gradient
from torch2jax_bridge._lowered.program import (
    Meta,
    Program,
    Ref,
    Step,
    refs,
    replaced,
    without_dead_steps,
)
from torch2jax_bridge._lowered.registry import rule_for
from torch2jax_bridge._lowered.repeated import without_repeated_matrices
from torch2jax_bridge._lowered.rewrites import rewritten
from torch2jax_bridge._lowered.writes import Writes
from torch2jax_bridge._runtime.errors import ShapeInferenceError, text_of
from torch2jax_bridge._runtime.generators import HostDraws, is_seeded
from torch2jax_bridge._runtime.thread_state import without_values
from torch2jax_bridge._torch2jax.function import WrongArguments, label
from torch2jax_bridge._torch2jax.infer import (
    Given,
    UnfitResult,
    check_results,
    draws_numbers,
    no_collection,
    refuse_kept,
)
from torch2jax_bridge._torch2jax.reachable import left_as_it_was
from torch2jax_bridge._torch2jax.results import register_objects

Apply = Callable[..., Any]


def record(apply: Apply, given: Given, name: str, names: Sequence[str]) -> Program:
    """Run a function of flat tensors once and return what it calls; what it can reach stays as it was.

    Args:
        apply: the function.
        given: its arguments.
        name: how messages call it.
        names: what they call its arguments.

    Raises:
        WrongArguments: it draws random numbers without a key, or writes into a tensor that it was
            given or captured.
        TypeError: a result is not a tensor that JAX can take.
        ShapeInferenceError: it failed on tensors without values, or has kept one.
    """
    mode = fake_mode()
    references = sys.getrefcount(mode)
    with no_collection():
        try:
            # What it sets in the context is gone with that.
            program = copy_context().run(_record, apply, given, (name, names), mode)
        except (WrongArguments, UnfitResult, ShapeInferenceError):
            raise
        except Exception as error:
            raise ShapeInferenceError(
                f"{name} could not be recorded as a program of XLA: {text_of(error).rstrip('.')}. {_ADVICE}"
            ) from error
        finally:
            end_fake_mode(mode)
        if sys.getrefcount(mode) > references:
            refuse_kept(mode, name)
    return program


_ADVICE = (
    "Such a program has no values to read (.item(), .numpy(), a branch on a tensor, nonzero): with "
    'backend="call" it may work.'
)
_DRAWN_ONCE = (
    "{} draws random numbers from NumPy's or Python's generators, which a program of XLA would draw "
    'once: draw them with PyTorch from rng=, pass them as arguments, or use backend="call".'
)


def _record(apply: Apply, given: Given, words: tuple[str, Sequence[str]], mode: Any) -> Program:
    with without_values(), left_as_it_was(apply) as trial, torch.enable_grad(), quiet():
        drawn = HostDraws(trial.generators)
        with drawn, mode:
            tensors = given.tensors()
            recorder = _Recorder(*words, tensors)
            with intercepted(), compiling(), _scopes(recorder), recorder:
                out_tree, outs = _functional(trial.function, tensors, words[0])
        if drawn.seen:
            raise WrongArguments(_DRAWN_ONCE.format(words[0]))
        program = recorder.program(outs, out_tree)
        return without_dead_steps(without_repeated_matrices(program))


def _functional(
    function: Apply, tensors: Sequence[torch.Tensor], name: str
) -> tuple[Any, list[torch.Tensor]]:
    """Run the function on tensors that PyTorch functionalises."""
    tree: list[Any] = []

    def flat(*wrapped: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with _Rewriting():
            result = function(*wrapped)
        register_objects(result)
        pairs, treedef = tree_flatten_with_path(result)
        check_results(pairs, name)
        tree.append(treedef)
        return tuple(leaf for _, leaf in pairs)

    outs = torch.func.functionalize(flat)(*tensors)
    return tree[0], list(outs)


class _Rewriting(torch.overrides.TorchFunctionMode):
    """Does some functions of PyTorch by others, which say what they write into."""

    def __init__(self) -> None:
        super().__init__()
        self._writes = Writes()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return self._writes.call(func, args, kwargs or {}, rewritten(func))


# PyTorch's operators compute in float32 for halves, their decompositions do not.
_COARSE = ("aten::grid_sampler_2d", "aten::grid_sampler_3d")
# PyTorch's operators compute images of bytes with whole numbers, their decompositions with others.
_OF_BYTES = ("aten::upsample_bilinear2d", "aten::upsample_bicubic2d")


def _decomposition(func: Any, name: str, args: tuple) -> Apply | None:
    if name in _COARSE and args[0].dtype.itemsize == 2:
        return None
    if name.startswith(_OF_BYTES) and args[0].dtype == torch.uint8:
        return None
    return decompositions().get(func)


class _WithoutDerivative(Exception):
    """A decomposition ends in an operator that has no derivative."""


class _Recorder(DispatchMode):
    """Notes every operator that is called.

    Args:
        name: how messages call the function.
        names: what they call its arguments.
        tensors: these arguments.
    """

    def __init__(self, name: str, names: Sequence[str], tensors: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self._name = name
        self._names = names
        self._known: dict[int, tuple[torch.Tensor, Ref]] = {}
        self._steps: list[Step] = []
        self._constants: dict[Ref, torch.Tensor] = {}
        self._metas: dict[Ref, Meta] = {}
        self._inputs = tuple(map(self._new, tensors))
        self._depth = 0
        self.scope: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        func = BAGS.get(func) or func
        if func is custom_operator():
            function, results = custom_call(*args)
            self._note(function.name, function, tuple(args[0]), {}, results, draws=False)
            return results
        name = func.name()
        if (pure := self._without_write(func, args)) is not None:
            with self:
                out = pure(*args, **kwargs)
            if not torch.is_grad_enabled() and out.dtype.is_floating_point:
                with self, torch.enable_grad():
                    out = keep_gradient()(args[0], out)
            func(*args, **kwargs)  # which may change its shape
            self._known[id(args[0])] = args[0], self._ref(out)
            return args[0]
        self._check(func, name, args, kwargs)
        if rule_for(name) is None:
            if name.startswith("prims::") and self._depth:
                raise _WithoutDerivative
            if (decomposed := _decomposition(func, name, args)) is not None:
                with suppress(_WithoutDerivative):
                    return self._decompose(decomposed, args, kwargs)
        results = func(*args, **kwargs)
        if any(isinstance(leaf, torch.Tensor) for leaf in tree_flatten(results)[0]):
            self._note(name, func, args, kwargs, results, draws_numbers(func, args, kwargs))
        return results

    def _decompose(self, decomposed: Apply, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Record the operators of a decomposition, all or none."""
        count = len(self._steps)
        self._depth += 1
        try:
            with self:
                return decomposed(*args, **kwargs)
        except _WithoutDerivative:
            del self._steps[count:]
            raise
        finally:
            self._depth -= 1

    def program(self, outs: Sequence[Any], out_tree: Any) -> Program:
        """Return what was recorded."""
        found, steps = tuple(map(self._ref, outs)), tuple(self._steps)
        return Program(self._inputs, self._constants, steps, found, out_tree, self._metas)

    def _without_write(self, func: Any, args: tuple) -> Apply | None:
        """Return the form of an operator that does not write into its argument, where that does as well.

        That is so where the argument was made in the call and nothing else views it. Operators of
        PyTorch that are made of others write so, where functionalisation does not see it.
        """
        known = schema(func)
        if known is None or not known.is_mutable or not args:
            return None
        packet, _, overload = func.name().removeprefix("aten::").partition(".")
        is_own = isinstance(args[0], torch.Tensor) and id(args[0]) in self._known
        if not packet.endswith("_") or not is_own or self._is_shared(args[0]):
            return None
        pure = getattr(torch.ops.aten, packet[:-1], None)
        return getattr(pure, overload or "default", None)

    def _is_shared(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is an argument or a constant, or shares memory with another one."""
        ref, key = self._known[id(tensor)][1], storage_key(tensor)
        others = (t for t, _ in self._known.values() if t is not tensor)
        return (
            ref in self._inputs
            or ref in self._constants
            or any(storage_key(other) == key for other in others)
        )

    def _check(self, func: Any, name: str, args: tuple, kwargs: dict[str, Any]) -> None:
        known = schema(func)
        writes = known is not None and known.is_mutable
        if writes or (name in _WRITES_UNSAID and args[3] is not None and args[5]):
            self._refuse_argument(args[0] if args else None)
            raise WrongArguments(
                f"{self._name} writes ({name}) into a tensor that it captured, or into a view inside "
                "of an operator of PyTorch's, which a program of XLA cannot: pass the tensor as an "
                'argument, or use backend="call".'
            )
        if name.startswith("aten::as_strided") and not _is_whole(args[0]):
            raise WrongArguments(
                f"{self._name} calls {name} of a view or of a tensor whose memory is in another "
                "order, which a program of XLA does not know: use slices, or clone() it first."
            )
        if draws_numbers(func, args, kwargs) and not is_seeded():
            raise WrongArguments(
                f"{self._name} draws random numbers ({name}) without a key, and a program of XLA "
                'has none: pass rng= to a module, or use backend="call".'
            )

    def _refuse_argument(self, written: Any) -> None:
        """Raise if what is written into is an argument."""
        known = self._known.get(id(written))
        if known is not None and known[1] in self._inputs:
            raise WrongArguments(
                f"{self._name} changes {label(self._names, self._inputs.index(known[1]))} in place; "
                "arrays of JAX may not be written to: clone it first."
            )

    def _note(
        self, name: str, call: Any, args: tuple, kwargs: dict[str, Any], results: Any, draws: bool
    ) -> None:
        made = self._made(results)
        self._steps.append(
            Step(
                name=name,
                call=call,
                args=replaced(args, self._ref, torch.Tensor),
                kwargs=replaced(kwargs, self._ref, torch.Tensor),
                results=made,
                metas=tuple(self._metas[ref] for ref in refs(made)),
                constant=not torch.is_grad_enabled(),
                draws=draws,
                scope="/".join(self.scope),
            )
        )

    def _made(self, results: Any) -> Any:
        if isinstance(results, torch.Tensor):
            return self._new(results)
        if isinstance(results, list | tuple):
            return tuple(map(self._made, results))
        return None

    def _new(self, tensor: torch.Tensor) -> Ref:
        if (found := self._known.get(id(tensor))) is not None:  # an operator returned its argument
            return found[1]
        ref = Ref(len(self._metas))
        self._metas[ref] = Meta(tuple(tensor.shape), tensor.dtype)
        self._known[id(tensor)] = tensor, ref
        return ref

    def _ref(self, tensor: torch.Tensor) -> Ref:
        """Return the number of a tensor; one that is not known was captured."""
        found = self._known.get(id(tensor))
        if found is not None:
            return found[1]
        if not is_plain(tensor):
            raise WrongArguments(
                f"{self._name} uses a tensor of class {type(tensor).__name__} that was not made in "
                'the call, which a program of XLA cannot: use backend="call".'
            )
        ref = self._new(tensor)
        self._constants[ref] = tensor
        return ref


def _is_whole(tensor: torch.Tensor) -> bool:
    """Whether a tensor is all of its memory, in its order."""
    size = tensor.untyped_storage().nbytes()
    return tensor.is_contiguous() and size == tensor.numel() * tensor.itemsize


# Their schemas do not say that they write into the averages when `training` is true.
_WRITES_UNSAID = ("aten::native_batch_norm", "aten::cudnn_batch_norm", "aten::miopen_batch_norm")


@contextmanager
def _scopes(recorder: _Recorder) -> Iterator[None]:
    """Let the recorder know in which module it is."""
    thread, paths = threading.get_ident(), dict[int, str]()

    def enter(module: torch.nn.Module, _: Any) -> None:
        if threading.get_ident() != thread:
            return
        if not recorder.scope:
            paths.update({id(part): path for path, part in module.named_modules()})
        path = paths.get(id(module)) or type(module).__name__
        recorder.scope.append(path)

    def leave(module: torch.nn.Module, *_: Any) -> None:
        if threading.get_ident() == thread and recorder.scope:
            recorder.scope.pop()

    hooks = torch.nn.modules.module
    with ExitStack() as stack:
        stack.callback(hooks.register_module_forward_pre_hook(enter).remove)
        stack.callback(hooks.register_module_forward_hook(leave, always_call=True).remove)
        yield
