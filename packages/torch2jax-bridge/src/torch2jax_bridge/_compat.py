"""Private names of PyTorch and JAX: what each is for, and what happens without it.

A name without a fallback raises an error where it is used, which names the feature.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import torch
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.sharding import PartitionSpec
from torch import Tensor

from pax_tree._foreign import Missing, foreign

# Tensors -----------------------------------------------------------------------------------------

# A class that says itself what operations do has another one.
_NO_DISPATCH = Tensor.__dict__.get("__torch_dispatch__")


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor has memory of its own: fake, functional and distributed ones have not."""
    return getattr(type(tensor), "__torch_dispatch__", None) is _NO_DISPATCH


# Without it a recording of a module with a key fails where the key is read.
_is_functional: Callable[[Tensor], bool] = foreign(
    "torch._is_functional_tensor", "lowered functions", lambda tensor: False
)


def has_values(tensor: Tensor) -> bool:
    """Whether the elements of a tensor can be read: those of fake and of functional ones cannot."""
    return is_plain(tensor) and not _is_functional(tensor)


# Zeros without memory, which forward mode makes; without it such a tensor cannot be converted.
is_zero_tensor: Callable[[Tensor], bool] = foreign(
    "torch.Tensor._is_zerotensor", "t2j of zeros without memory", lambda tensor: False
)
_VERSION = foreign("torch.Tensor._version", "finding arguments that are changed in place", None)


def times_written(tensor: Tensor) -> int:
    """Return how often operations wrote into a new tensor; without the counter always 0."""
    return 0 if _VERSION is None else tensor._version


# Transformed, traced -----------------------------------------------------------------------------

# Whether a transform of `torch.func` is running; without it jax2torch is ready for one, which costs
# twice as much.
transforms_active: Callable[[], bool] = foreign(
    "torch._C._are_functorch_transforms_active", "jax2torch", lambda: True
)
# Without these two, PyTorch's own error is what a user sees.
is_transformed: Callable[[Tensor], bool] = foreign(
    "torch._C._functorch.is_functorch_wrapped_tensor", "t2j", lambda tensor: False
)
is_batched_gradient: Callable[[Tensor], bool] = foreign(
    "torch._C._functorch.is_legacy_batchedtensor", "is_grads_batched=True", lambda tensor: False
)


def _has_mode() -> bool:
    return type(torch.empty(0)) is not Tensor


# How many modes this thread is in; without it, whether a new tensor is an ordinary one.
number_of_modes: Callable[[], int] = foreign(
    "torch._C._len_torch_dispatch_stack", "jax2torch", _has_mode
)

# Modes -------------------------------------------------------------------------------------------

_INFERENCE = "the inference of results in torch2jax"
DispatchMode: Any = foreign("torch.utils._python_dispatch.TorchDispatchMode", _INFERENCE)
# They change the stack of modes and no flag of the process; without them both change.
push_mode: Any = foreign("torch.utils._python_dispatch._push_mode", _INFERENCE, None)
pop_mode: Any = foreign("torch.utils._python_dispatch._pop_mode", _INFERENCE, None)


@functools.cache
def _fake_mode_class() -> Any:
    base: Any = foreign("torch._subclasses.fake_tensor.FakeTensorMode", _INFERENCE)

    class InferenceMode(base):
        """A mode whose tensors are of no use once the inference has ended."""

        ended = False

        def __torch_dispatch__(
            self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            if self.ended:
                raise RuntimeError(
                    "This is a tensor from the inference of a function's results by torch2jax; it "
                    "has no values. What keeps it beyond the inference would have kept the first "
                    "call's: pass output_shapes=, or infer='run' with examples."
                )
            return super().__torch_dispatch__(func, types, args, kwargs or {})

    return InferenceMode


def fake_mode() -> Any:
    """Return a mode in which a module that the function makes can also be moved: `module.to(x)`.

    The mode's memo refers weakly to every fake tensor, and PyTorch moves no parameter that has weak
    references; so until `end_fake_mode` it holds them strongly. PyTorch's cache of operations on
    fake tensors grows without bound, by every shape and every constant, and is left alone.
    """
    mode = _fake_mode_class()(allow_non_fake_inputs=True)
    mode.cache_enabled = False
    mode._allow_unsafe_data_ptr_access = False  # of memory that is not there: DLPack would give 0
    converter: Any = getattr(mode.fake_tensor_converter, "meta_converter", None)
    if hasattr(converter, "tensor_memo"):
        converter.tensor_memo = {}
    return mode


@contextmanager
def quiet() -> Iterator[None]:
    """Keep to itself what PyTorch logs of an operation that fails on fake tensors, with traceback."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def end_fake_mode(mode: Any) -> None:
    """Let a mode forget its tensors, and every operation on one that is still there fail."""
    mode.ended = True
    converter: Any = getattr(mode.fake_tensor_converter, "meta_converter", None)
    if hasattr(converter, "tensor_memo"):
        converter.tensor_memo = {}


def young_fake_tensors_of(mode: Any) -> list[Tensor]:
    """Return the tensors of a mode that are alive, of those made since the last garbage collection."""
    gc.collect(0)  # what survives is in the next generation then, where few others are
    tensors = [x for x in gc.get_objects(generation=1) if issubclass(type(x), Tensor)]
    return [x for x in tensors if getattr(x, "fake_mode", None) is mode]


# Storages of fake tensors have no address; without this, writes into views are not seen.
_STORAGE = foreign("torch.UntypedStorage._cdata", _INFERENCE, None)


def storage_key(tensor: Tensor) -> int | None:
    """Return what tensors over the same memory have in common, None where that is not known."""
    if _STORAGE is None or tensor.layout is not torch.strided:
        return None
    return tensor.untyped_storage()._cdata


# Where a tensor keeps its hooks; nothing is refused where it keeps them elsewhere.
TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")

# Modules -----------------------------------------------------------------------------------------

_KEEPS_DICTS = all(hasattr(torch.nn.Module(), name) for name in ("_parameters", "_buffers"))


def tensor_dicts(module: torch.nn.Module) -> tuple[dict[str, Any], ...]:
    """Return where a module keeps its parameters and its buffers.

    Empty where it does not keep them so: a call then costs some milliseconds for a large module.
    """
    return (module._parameters, module._buffers) if _KEEPS_DICTS else ()


# C++ ---------------------------------------------------------------------------------------------


def native_address(name: str) -> int:
    """Return where a function of PyTorch's C++ is, by what compilers call it; 0 if that is not known."""
    function = next((getattr(lib, name) for lib in _native_libraries() if hasattr(lib, name)), None)
    return 0 if function is None else ctypes.cast(function, ctypes.c_void_p).value or 0


def native_library(name: str) -> int:
    """Return what the system calls the library of PyTorch's that has a variable; 0 if none is known."""
    return next((lib._handle for lib in _native_libraries() if hasattr(lib, name)), 0)


@functools.cache
def _native_libraries() -> list[ctypes.CDLL]:
    folder = Path(torch.__file__).parent / "lib"
    names = ("libc10", "libtorch_cpu", "libtorch_python")
    files = [folder / f"{name}.{end}" for name in names for end in ("so", "dylib")]
    return [ctypes.CDLL(str(file)) for file in files if file.is_file()]


# Operations --------------------------------------------------------------------------------------

_BUFFERS = "results written into XLA's buffers"
_SCHEMA = foreign("torch.ops.aten.add.Tensor._schema", _BUFFERS, None)
# Without one of these the results of some operations are copied.
to_copy: Any = foreign("torch.ops.aten._to_copy.default", _BUFFERS, None)
has_kernel: Callable[[str, str], bool] = foreign(
    "torch._C._dispatch_has_kernel_for_dispatch_key", _BUFFERS, lambda operation, device: False
)


def schema(operation: Any) -> Any:
    """Return what PyTorch knows of the arguments of an operation; None where it does not say."""
    return None if _SCHEMA is None else operation._schema


# Its schema says that it writes into the averages; without it a batch norm in training cannot be lowered.
batch_norm_that_says_what_it_writes: Callable[..., Any] = foreign(
    "torch.ops.aten._native_batch_norm_legit.default", "lowered batch norms in training"
)

# Of the two embedding bags the one that has a derivative; without it the other is called.
BAGS: dict[Any, Any] = {
    foreign("torch.ops.aten._embedding_bag_forward_only.default", "bags", None): foreign(
        "torch.ops.aten._embedding_bag.default", "bags", None
    )
}

# Decompositions: operators by others. Without them more operators are called as they are.


@functools.cache
def decompositions() -> dict[Any, Callable[..., Any]]:
    """Return PyTorch's decompositions of operators into others, by operator."""
    core = foreign("torch._decomp.core_aten_decompositions", "lowered functions", dict)
    every = foreign("torch._decomp.decomposition_table", "lowered functions", {})
    return {**every, **core()}


_COMPILES = foreign(
    "torch.compiler._is_compiling_flag", "recordings of models that ask for it", None
)


class _InThread:
    """True in one thread for as long as that records; elsewhere what was there before."""

    def __init__(self, before: Any) -> None:
        self._before = before
        self.thread: int | None = threading.get_ident()

    def __bool__(self) -> bool:
        return threading.get_ident() == self.thread or bool(self._before)

    # What libraries do with the bool that `torch.compiler.is_compiling()` gives elsewhere.
    def __or__(self, other: Any) -> Any:
        return bool(self) | other

    def __and__(self, other: Any) -> Any:
        return bool(self) & other

    def __xor__(self, other: Any) -> Any:
        return bool(self) ^ other

    __ror__, __rand__, __rxor__ = __or__, __and__, __xor__

    def __eq__(self, other: object) -> bool:
        return bool(self) == other

    def __hash__(self) -> int:
        return hash(bool(self))

    def __index__(self) -> int:
        return int(bool(self))

    def __repr__(self) -> str:
        return repr(bool(self))


@contextmanager
def compiling() -> Iterator[None]:
    """In the `with` block `torch.compiler.is_compiling()` is true in this thread.

    Libraries then read no values.
    """
    if _COMPILES is None:
        yield
        return
    flags: Any = torch.compiler
    before = flags._is_compiling_flag
    flags._is_compiling_flag = here = _InThread(before)
    try:
        yield
    finally:
        here.thread = None
        if flags._is_compiling_flag is here:  # not what a compilation in another thread has set
            flags._is_compiling_flag = before


# Grad mode ---------------------------------------------------------------------------------------

set_grad_enabled: Callable[[bool], Any] = foreign(
    "torch._C._set_grad_enabled", "torch2jax", torch.set_grad_enabled
)
# `c10::GradMode::is_enabled()` and `c10::GradMode::set_enabled(bool)`, as compilers name them.
_IS_ENABLED = "_ZN3c108GradMode10is_enabledEv"
_SET_ENABLED = "_ZN3c108GradMode11set_enabledEb"


def native_grad_mode() -> tuple[int, int]:
    """Return the addresses of PyTorch's C functions that read and set the mode, or zeros.

    Reading and setting it in Python costs half of a small call.
    """
    addresses = native_address(_IS_ENABLED), native_address(_SET_ENABLED)
    return addresses if all(addresses) and _agree(*addresses) else (0, 0)


def _agree(address_of_getter: int, address_of_setter: int) -> bool:
    """Whether the functions do what Python's do."""
    is_enabled = ctypes.CFUNCTYPE(ctypes.c_bool)(address_of_getter)
    set_enabled = ctypes.CFUNCTYPE(None, ctypes.c_bool)(address_of_setter)
    before = torch.is_grad_enabled()
    try:
        for mode in (False, True):
            set_enabled(mode)
            if not torch.is_grad_enabled() == is_enabled() == mode:
                return False
        return True
    finally:
        set_grad_enabled(before)


# vmap --------------------------------------------------------------------------------------------

_VMAP = "vmap"
# What `torch.func.vmap` is made of; without one of these `map_tensors` takes twice the time.
_begin_vmap: Any = foreign("torch._C._functorch._vmap_increment_nesting", _VMAP)
_end_vmap: Any = foreign("torch._C._functorch._vmap_decrement_nesting", _VMAP)
_add_axis: Any = foreign("torch._C._functorch._add_batch_dim", _VMAP)
_remove_axis: Any = foreign("torch._C._functorch._remove_batch_dim", _VMAP)
_HAS_VMAP = all((_begin_vmap, _end_vmap, _add_axis, _remove_axis))


@functools.cache
def _load_vmap_rules() -> None:
    torch.func.vmap(torch.neg)(torch.zeros(1))


def map_tensors(
    call: Callable[..., Sequence[Tensor]],
    tensors: Sequence[Tensor],
    axes: Sequence[int | None],
    size: int,
    randomness: str,
) -> tuple[Tensor, ...]:
    """Return what a function of tensors returns for every element, along axis 0.

    This is `torch.func.vmap` without its trees, which take half of its time for a small function.

    Args:
        call: takes the elements and returns tensors.
        tensors: where the elements come from.
        axes: the axis of each tensor, from 0, or None for one that is passed on as it is.
        size: the length of the axes.
        randomness: as in `torch.func.vmap`.
    """
    if not _HAS_VMAP:
        # The first argument says how many there are, also where nothing else is mapped.
        mapped = torch.func.vmap(lambda _, *xs: tuple(call(*xs)), (0, *axes), 0, randomness)
        return mapped(torch.empty(size, 0), *tensors)
    _load_vmap_rules()
    level = _begin_vmap(size, randomness)
    try:
        elements = [
            tensor if axis is None else _add_axis(tensor, axis, level)
            for tensor, axis in zip(tensors, axes, strict=True)
        ]
        return tuple([_remove_axis(out, level, size, 0) for out in call(*elements)])
    finally:
        _end_vmap()


_BATCHED_GRADIENTS = "jax2torch under is_grads_batched=True"
_begin_batch: Any = foreign("torch._C._vmapmode_increment_nesting", _BATCHED_GRADIENTS)
_end_batch: Any = foreign("torch._C._vmapmode_decrement_nesting", _BATCHED_GRADIENTS)
_without_batch: Any = foreign("torch._remove_batch_dim", _BATCHED_GRADIENTS)
_with_batch: Any = foreign("torch._add_batch_dim", _BATCHED_GRADIENTS)


def batch_of_gradients(
    tensors: Sequence[Tensor],
) -> tuple[list[Tensor], Callable[[Tensor], Tensor]]:
    """Return the batches that `is_grads_batched=True` hides in tensors, and what hides one again.

    A tensor that hides none is returned as it is; the axis of a batch is 0.
    """
    level = _begin_batch() - 1
    _end_batch()
    shown = [_without_batch(t, level, 1, 0) if is_batched_gradient(t) else t for t in tensors]
    return shown, lambda tensor: _with_batch(tensor, 0, level)


# torch.compile -----------------------------------------------------------------------------------


def opaque_to_compile(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function as one node of a compiled graph; without the name, one of tensors alone.

    What makes it so takes longer to import than PyTorch, and only those who compile need it.
    """
    make = foreign("torch._dynamo.nonstrict_trace", "jax2torch", torch.compiler.allow_in_graph)
    return make(function)


_proxy_mode: Callable[[], Any] = foreign(
    "torch.fx.experimental.proxy_tensor.get_proxy_mode", "jax2torch in graphs", lambda: True
)
_compilation: Callable[[], Any] = foreign(
    "torch._guards.TracingContext.try_get", "jax2torch in graphs", lambda: None
)


def is_being_compiled() -> bool:
    """Whether `torch.compile` runs operations on tensors without values."""
    return number_of_modes() > 0 and _compilation() is not None


def is_traced_for_user() -> bool:
    """Whether operations become a graph which is not that of `torch.compile`, by `make_fx` say.

    Those of `torch.compile` go when the function goes that it has compiled.
    """
    return _proxy_mode() is not None and _compilation() is None


def runs_while_compiling(function: Any) -> None:
    """Let `torch.compile` run a function while it traces, and take its result for a constant.

    It is `torch.compiler.assume_constant_result`, which would import `torch._dynamo`.
    """
    function._dynamo_marked_constant = True


# JAX ---------------------------------------------------------------------------------------------

LinearizeRule = Callable[..., tuple[Any, Any, Any, Callable[..., Any]]]
# Whether JAX has started a backend, so that its settings are read already.
has_started: Callable[[], bool] = foreign(
    "jax._src.xla_bridge.backends_are_initialized", "configure_memory"
)


def set_linearize_rule(primitive: Any, rule: LinearizeRule) -> None:
    """Set how `jax.grad` linearizes; else it goes by the jvp rule.

    A training step then calls the function twice. JAX does not say in which form it calls rules, so
    each form that it has had is tried, without values.
    """
    rules = foreign("jax._src.interpreters.ad.primitive_linearizations", "torch2jax", None)
    if rules is None:
        return
    for form in (lambda rule: rule, _with_structured_residuals):
        if _takes_rules(rules, form):
            rules[primitive] = form(rule)
            return


def _with_structured_residuals(rule: LinearizeRule) -> Callable[..., tuple]:
    """Return the rule in the form of JAX 0.11.2, which has a second kind of residuals: none."""

    def wrapped(*args: Any, **params: Any) -> tuple:
        outs, moves, residuals, linear = rule(*args, **params)
        return outs, moves, residuals, None, lambda kept, _, *tangents: linear(kept, *tangents)

    return wrapped


def _takes_rules(rules: dict[Any, Any], form: Callable[[LinearizeRule], Any]) -> bool:
    """Whether JAX takes rules of a form, by one for the identity."""
    identity = Primitive("torch2jax_bridge_identity")
    identity.def_abstract_eval(lambda x: x)
    rules[identity] = form(
        lambda is_vjp, nonzeros, x: (identity.bind(x), True, (), lambda _, tangent: tangent)
    )
    try:
        jax.eval_shape(jax.grad(identity.bind), jax.ShapeDtypeStruct((), "float32"))
    except Exception:
        return False
    finally:
        del rules[identity]
    return True


def drop_last_result(primitive: Any, shorter: Callable[[Any], Any]) -> None:
    """Let JAX make a call whose last result nobody uses one that does not have it.

    Args:
        primitive: the calls are its equations.
        shorter: the parameter `spec` without the last result, None where it has to stay.
    """
    rules = foreign("jax._src.interpreters.partial_eval.dce_rules", "torch2jax", {})
    default = foreign("jax._src.interpreters.partial_eval._default_dce_rule", "torch2jax", None)
    if default is None:
        return

    def rule(used: list[bool], *rest: Any) -> Any:
        *live, equation = rest  # JAX 0.12 says as well which arguments are live
        spec = shorter(equation.params["spec"])
        if spec is not None and any(used) and not used[-1]:
            equation = equation.replace(outvars=equation.outvars[:-1], params={"spec": spec})
        return default(used, *live, equation)

    rules[primitive] = rule


def hold_weakly(*types: type) -> None:
    """Let JAX's cache of abstract evaluations hold parameters of these types weakly.

    Else it keeps the last 2048 of them, with all that they refer to.
    """
    foreign("jax._src.util.weakref_cache_key_types", "torch2jax", set()).update(types)


def execution_switch() -> tuple[Callable[[bool], Any], Callable[[Any], None]]:
    """Return `set`, after whose call with True JAX executes no program on this thread, and `restore`.

    `set` returns what was so before, which `restore` takes.
    """
    state: Any = jax.no_execution
    if hasattr(state, "swap_local") and hasattr(state, "set_local"):
        return state.swap_local, state.set_local
    return partial(_enter, state), lambda context: context.__exit__(None, None, None)


def _enter(state: Any, value: bool) -> Any:
    context = state(value)
    context.__enter__()
    return context


def varying_axes(value: Any) -> frozenset[Any]:
    """Return the manual mesh axes of `jax.shard_map` over which a value, or its aval, varies."""
    aval = jax.typeof(value) if isinstance(value, jax.Array) else value
    manual = getattr(aval, "manual_axis_type", None)
    return getattr(aval, "vma", frozenset()) if manual is None else manual.varying


def aval_like(args: Sequence[Any], shape: tuple[int, ...], dtype: Any) -> ShapedArray:
    """Return the aval of a result that varies over the same mesh axes as the arguments."""
    varying = next((aval for aval in args if varying_axes(aval)), None)
    if varying is None:
        return ShapedArray(shape, dtype)
    sharding = varying.sharding.update(spec=PartitionSpec(*[None] * len(shape)))
    return varying.update(shape=shape, dtype=dtype, weak_type=False, sharding=sharding)


def as_primitive(function: Any, name: str) -> Any:
    """Let `jax.debug_nans` take a function for one operation, which it cannot look into.

    Else it calls the function again to find the operation in it, and that one again.
    """
    function._apply_primitive = True
    function.__qualname__ = name
    return function


def keep_out_of_cache(ctx: Any) -> None:
    """Let JAX not write the program to its persistent compilation cache, if there is one.

    It writes none with a callback to Python, and hands the callback on to be kept alive.
    """
    config: Any = jax.config
    if config.jax_compilation_cache_dir:
        ctx.module_context.add_host_callback(_nothing)


def _nothing(*_: Any) -> None:
    """Do nothing: XLA never calls it."""


def is_export(ctx: Any) -> bool:
    """Whether a program is lowered for `jax.export`."""
    return getattr(ctx.module_context.lowering_parameters, "for_export", False)


def uncommitted(array: jax.Array) -> jax.Array:
    """Return the same array as one that may go to other devices, as what JAX makes itself.

    `jax.dlpack` commits an array to its device, and a program of several devices refuses it then.
    Without the name it stays committed.
    """
    make = foreign("jax._src.array.ArrayImpl", "parameters for several devices", None)
    return array if make is None else make(array.aval, array.sharding, [array], committed=False)


def manual_axes() -> frozenset[Any]:
    """Return the mesh axes of the `jax.shard_map` that is being traced and looks at what varies."""
    if not _checks_varying():
        return frozenset()
    return frozenset(jax.sharding.get_abstract_mesh().manual_axes)


_CHECKS_VARYING: Any = foreign("jax._src.config._check_vma", "jax.shard_map", None)


def _checks_varying() -> bool:
    return _CHECKS_VARYING is not None and _CHECKS_VARYING.value


# Random numbers ----------------------------------------------------------------------------------

_DRAWS = "torch2jax of functions that draw random numbers without a key"


class RandomEffect(foreign("jax._src.effects.Effect", _DRAWS)):
    """What JAX knows of a call that draws random numbers: such a call is not dropped."""

    def __repr__(self) -> str:
        return "random numbers that a PyTorch function draws without a key"


_KEPT_BY: tuple[Any, ...] = (
    foreign("jax._src.effects.lowerable_effects", _DRAWS),
    foreign("jax._src.effects.control_flow_allowed_effects", _DRAWS),
    foreign("jax._src.effects.custom_derivatives_allowed_effects", _DRAWS),
    foreign("jax._src.effects.remat_allowed_effects", _DRAWS),
    # Where JAX splits a program, for a derivative, into what is known and what is not.
    foreign("jax._src.effects.partial_eval_kept_effects", _DRAWS),
)
_PARTIAL_RULES: Any = foreign(
    "jax._src.interpreters.partial_eval.custom_partial_eval_rules", _DRAWS
)


@functools.cache
def random_effect() -> Any:
    """Return the one effect of all calls that draw, known to JAX.

    Raises:
        RuntimeError: JAX has not all that keeps such calls where they are.
    """
    effect = RandomEffect()
    for effects in _KEPT_BY:
        effects.add_type(RandomEffect)
    _PARTIAL_RULES.keys()  # an error if there are none
    return effect


def keep_in_loops(primitive: Any, draws: Callable[[Any], bool]) -> None:
    """Let JAX not move calls out of a `scan` that it differentiates, where `draws(spec)`.

    It moves what depends on nothing in the loop by evaluating it, as far as it is known.
    """
    if isinstance(_PARTIAL_RULES, Missing):  # `random_effect` says so
        return

    def rule(trace: Any, *tracers: Any, spec: Any) -> Any:
        given = map(trace.instantiate_const, tracers) if draws(spec) else tracers
        return trace.default_process_primitive(primitive, list(given), {"spec": spec})

    _PARTIAL_RULES[primitive] = rule


def devices_of_program(ctx: Any) -> int:
    """Return between how many devices XLA divides the program, outside of `jax.shard_map`."""
    return getattr(ctx.module_context.axis_context, "num_devices", 1)


# JAX's settings ----------------------------------------------------------------------------------

_CONTEXT: Any = foreign("jax._src.config.trace_context", "jax2torch", None)
backends_are_initialized: Callable[[], bool] = foreign(
    "jax._src.xla_bridge.backends_are_initialized", "jax2torch", lambda: True
)


def _x64_alone() -> Any:
    config: Any = jax.config
    return (config.jax_enable_x64,)


trace_context: Callable[[], Any] = _x64_alone if _CONTEXT is None else _CONTEXT
