"""Private names of PyTorch: what each is for, and what happens without it.

A name without a fallback raises an error where it is used, which names the feature. Here is also
the answer to what many functions ask: is the code that runs now transformed or traced?
"""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
import torch.utils.checkpoint
from torch import Tensor
from torch.autograd import forward_ad
from torch.fx import GraphModule
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.utils import parametrize

from pax_tree._foreign import foreign

# Transformed, traced -----------------------------------------------------------------------------


def known_while_compiling(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a function that `torch.compile` calls itself, for a constant of the program.

    What it returns may depend on the transforms that are running, which the compiler tells apart. It
    is `torch.compiler.assume_constant_result`, without the seconds in which the compiler is imported.
    """
    function._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]
    return function


# Whether `torch.compile` sees what a thread keeps for itself: that of PyTorch 2.11 does not, nor says so.
SEES_THREADS = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 13)


class _Trial(torch.autograd.Function):
    """A function that PyTorch refuses to call inside a transform of `torch.func`."""

    @staticmethod
    def forward(ctx: Any) -> None:
        """Do nothing."""


def _try_transforms() -> bool:
    try:
        _Trial.apply()
    except RuntimeError:
        return True
    return False


# Whether a transform of `torch.func` is running in this thread; without it, by a trial.
transforms_active: Callable[[], bool] = foreign(
    "torch._C._are_functorch_transforms_active", "pax_torch", _try_transforms
)


def _try_mode() -> bool:
    return type(torch.empty(0)) is not Tensor


# The innermost dispatch mode, or None; without it, whether a new tensor is an ordinary one.
dispatch_mode: Callable[[], Any] = foreign(
    "torch.utils._python_dispatch._get_current_dispatch_mode", "pax_torch", _try_mode
)


def is_traced() -> bool:
    """Whether a dispatch mode is active: tensors may have no values, or what runs may be recorded."""
    return bool(dispatch_mode())


def is_without_values() -> bool:
    """Whether what runs now is traced on tensors without values.

    A dispatch mode of another kind, such as one that counts operations, does not trace.
    """
    return is_traced() and any(_mode_of(key) is not None for key in _TRACERS)


# The modes that trace, and whether one of them is active; without these, any mode is taken for one.
_TRACERS = tuple(
    foreign("torch._C._TorchDispatchModeKey.__members__", "pax_torch", {"any": None}).values()
)
_mode_of: Callable[[Any], Any] = foreign(
    "torch._C._get_dispatch_mode", "pax_torch", lambda key: key or True
)


def _try_dual() -> bool:
    try:
        forward_ad.make_dual(torch.zeros(()), torch.zeros(()))
    except RuntimeError:
        return False
    return True


def _has_level() -> bool:
    return forward_ad._current_level >= 0


# Whether there may be dual tensors, of this thread or another one; without it, by a trial.
_LEVEL = foreign("torch.autograd.forward_ad._current_level", "pax_torch", None)
forward_mode_runs: Callable[[], bool] = _try_dual if _LEVEL is None else _has_level

# vmap --------------------------------------------------------------------------------------------

_VMAP = "pax_torch.vmap"
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


_LEVELS = "an entry None of out_axes, or a rule for a derivative"
# The level of a tensor, and that of the innermost transform that runs.
level_of: Any = foreign("torch._C._functorch.maybe_get_level", _LEVELS)
current_level: Any = foreign("torch._C._functorch.maybe_current_level", _LEVELS)


# Makes a tensor known to the innermost transform, a derivative; without it, some may not be written to.
wrap_constant: Callable[[Tensor, int], Tensor] = foreign(
    "torch._C._functorch._wrap_for_grad", "jacrev", lambda tensor, level: tensor
)


def is_mapped(tensor: Tensor) -> bool:
    """Whether a tensor depends on what the innermost transform, a `vmap`, maps over."""
    return level_of(tensor) == current_level()


# Inside a transform of torch.func ----------------------------------------------------------------

_INSIDE = "a module with buffers, or a function with a rule for its derivative, inside a transform"
_interpreters: Any = foreign(
    "torch._functorch.pyfunctorch.retrieve_all_functorch_interpreters", _INSIDE
)
_VmapInterpreter: Any = foreign("torch._functorch.pyfunctorch.VmapInterpreter", _INSIDE)
_no_interpreters: Any = foreign(
    "torch._functorch.pyfunctorch.temporarily_clear_interpreter_stack", _INSIDE
)


_again_interpreters: Any = foreign(
    "torch._functorch.pyfunctorch.temporarily_restore_interpreter_stack", _INSIDE
)


def running_transforms() -> list[Any]:
    """Return the transforms of `torch.func` that are running, the innermost first."""
    with _no_interpreters() as running:
        return list(running)


def has_tangent(tensor: Tensor, transforms: Sequence[Any]) -> bool:
    """Whether a tensor of the innermost of so many transforms has a tangent of that."""
    with _no_interpreters(), _again_interpreters(transforms), set_forward_mode(True):
        return forward_ad.unpack_dual(tensor).tangent is not None


def _is_vmap(interpreter: Any) -> bool:
    return isinstance(interpreter, _VmapInterpreter or _VmapInterpreter())  # or the error


@known_while_compiling
def running_vmaps() -> list[tuple[int, int]]:
    """Return the level and the number of examples of each `vmap` that is running."""
    running = filter(_is_vmap, _interpreters()) if transforms_active() else ()
    return [(x.level(), x.batch_size()) for x in running]


def mapped_zeros(vmaps: Sequence[tuple[int, int]], device: torch.device) -> list[Tensor]:
    """Return for each `vmap` a zero that it maps; bool, since that changes no other dtype."""
    compiled = torch.compiler.is_compiling()  # where new tensors are outside of transforms
    with nullcontext() if compiled else _no_interpreters():
        zeros = [torch.zeros(size, dtype=torch.bool, device=device) for _, size in vmaps]
    add = _add_axis_compiled if compiled else _add_axis
    return [add(zero, 0, level) for zero, (level, _) in zip(zeros, vmaps, strict=True)]


# The same for `torch.compile`, which does not look into C.
_add_axis_compiled: Any = foreign("torch._functorch.predispatch._add_batch_dim", _INSIDE)


# Each is a context; the first gives what the second takes: outside of all transforms, and back in.
outside_of_transforms = _no_interpreters
inside_of_transforms: Any = foreign(
    "torch._functorch.pyfunctorch.temporarily_restore_interpreter_stack", _INSIDE
)


def all_examples(tensor: Tensor, vmaps: Sequence[tuple[int, int]]) -> Tensor:
    """Return the examples of a tensor for the `vmap`s that are running, along its first axes."""
    for level, size in reversed(vmaps):
        tensor = _remove_axis(tensor, level, size, 0)
    return tensor


def mapped_by(tensor: Tensor, vmaps: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return those of some `vmap`s that map over a tensor."""
    levels = {level_of(x) for x in wrappers(tensor) if is_batched(x)}
    return [vmap for vmap in vmaps if vmap[0] in levels]


def one_example(tensor: Tensor, vmaps: Sequence[tuple[int, int]]) -> Tensor:
    """Return what `all_examples` was made of: a tensor that the `vmap`s map."""
    for level, _ in vmaps:
        tensor = _add_axis(tensor, 0, level)
    return tensor


@known_while_compiling
def differentiates() -> bool:
    """Whether a transform of `torch.func` that differentiates is running in this thread."""
    return transforms_active() and not all(map(_is_vmap, _interpreters()))


_FORWARD_RULE = "forward mode of a function with a rule for its derivative"
is_batched: Any = foreign("torch._C._functorch.is_batchedtensor", _FORWARD_RULE)
_inside: Any = foreign("torch._C._functorch.get_unwrapped", _FORWARD_RULE)
_axis_of: Any = foreign("torch._C._functorch.maybe_get_bdim", _FORWARD_RULE)


def inside_of_batched(function: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor:
    """Apply a function that keeps the shape to what `vmap` has wrapped, and wrap the result."""
    return _add_axis(function(_inside(tensor)), _axis_of(tensor), level_of(tensor))


def _maps_bits() -> bool:
    kernels: Callable[..., bool] = foreign(
        "torch._C._dispatch_has_kernel_for_dispatch_key",
        "pax_torch.random in vmap",
        lambda *_: True,
    )
    try:
        return kernels("aten::view.dtype", "FuncTorchBatched")
    except RuntimeError:  # the operation or the key has another name
        return True


# Whether `vmap` takes `Tensor.view(dtype)`, which that of PyTorch 2.11 does not.
_MAPS_BITS = _maps_bits()


def bitcast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the bits of a tensor as another dtype of the same size, which has no derivative."""
    if _MAPS_BITS or not transforms_active() or not _is_wrapped(tensor):
        return tensor.view(dtype)
    if is_batched(tensor):
        return inside_of_batched(lambda inner: bitcast(inner, dtype), tensor)
    return bitcast(_inside(tensor), dtype)


# The derivative of a number of the gamma distribution by the shape of that.
gamma_derivative: Callable[[Tensor, Tensor], Tensor] = foreign(
    "torch._standard_gamma_grad", "The derivative of pax_torch.random.gamma"
)


@contextmanager
def outside_of_inference_mode() -> Iterator[None]:
    """Leave inference mode, but not grad mode, in which PyTorch 2.11's derivatives are zeros there."""
    grad_mode = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.set_grad_enabled(grad_mode):
        yield


def _forward_mode_on(_: bool) -> Any:
    return outside_of_inference_mode()


# Switches forward mode on where PyTorch has switched it off; without it, by what else does so.
set_forward_mode: Any = foreign(
    "torch.autograd.forward_ad._set_fwd_grad_enabled", _FORWARD_RULE, _forward_mode_on
)


@functools.cache
def load_forward_mode() -> None:
    """Let PyTorch load the rules of its own that it warns about, as those of 2.15 do, without a word."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit.script. is deprecated")
        foreign("torch._decomp.decompositions_for_jvp", _FORWARD_RULE, None)


def _try_forward_mode() -> bool:
    product = forward_ad.make_dual(torch.zeros(()), torch.zeros(())) * 1
    return forward_ad.unpack_dual(product).tangent is not None


# Whether dual tensors are followed, where there are any; without it, by a trial.
forward_mode_is_on: Callable[[], bool] = foreign(
    "torch._C._is_fwd_grad_enabled", _FORWARD_RULE, _try_forward_mode
)
# Takes the wrapper of a transform that is over off a tensor; without it PyTorch does so later.
unwrap_if_dead: Callable[[Tensor], Tensor] = foreign(
    "torch._C._functorch.unwrap_if_dead", "a rule for a derivative", lambda tensor: tensor
)
_is_wrapped: Any = foreign(
    "torch._C._functorch.is_functorch_wrapped_tensor", "nondiff_argnums inside a transform"
)


def wrappers(tensor: Tensor) -> list[Tensor]:
    """Return a tensor and what the transforms of `torch.func` have wrapped in it, the outermost first."""
    found = [tensor]
    while _is_wrapped(found[-1]):
        found.append(_inside(found[-1]))
    return found


def is_followed(tensor: Tensor, unless_mapped: bool = False) -> bool:
    """Whether a tensor is being differentiated, or mapped."""
    if tensor.requires_grad and torch.is_grad_enabled():
        return True
    if not (transforms_active() and _is_wrapped(tensor)):
        return False
    running = running_transforms()
    found = [x for x in wrappers(tensor)[:-1] if not (unless_mapped and is_batched(x))]
    return any(is_variable(x, running) for x in found)


def is_variable(wrapper: Tensor, running: Sequence[Any]) -> bool:
    """Whether the transform that has wrapped a tensor, one of those running, maps or differentiates it."""
    if is_batched(wrapper) or wrapper.requires_grad:
        return True
    return has_tangent(wrapper, running[len(running) - level_of(wrapper) :])


def without_wrappers(tensor: Tensor) -> Tensor:
    """Return what the running transforms have wrapped: all examples of a `vmap`, in any order."""
    if transforms_active():
        while _is_wrapped(tensor):
            tensor = _inside(tensor)
    return tensor


def is_mapped_anywhere(tensor: Tensor) -> bool:
    """Whether a tensor depends on what any `vmap` that is running maps over."""
    if transforms_active():
        while _is_wrapped(tensor):
            if is_batched(tensor):
                return True
            tensor = _inside(tensor)
    return False


# The innermost function mode, or None; without it, modes of one kind may be entered twice.
function_mode: Callable[[], Any] = foreign(
    "torch.overrides._get_current_function_mode", "pax_torch", lambda: None
)

# Reverse mode ------------------------------------------------------------------------------------

_READ_ONLY = "arguments that may not be written"
_CreationMeta: Any = foreign("torch._C._autograd.CreationMeta", _READ_ONLY)
_set_creation_meta: Any = foreign("torch._C._autograd._set_creation_meta", _READ_ONLY)


def read_only(tensor: Tensor) -> Tensor:
    """Return a tensor that PyTorch refuses to write to; without the names above, a copy."""
    if not (_CreationMeta and _set_creation_meta):
        return tensor.clone()
    view = tensor.view_as(tensor)
    _set_creation_meta(view, _CreationMeta.MULTI_OUTPUT_NODE)
    return view


def let_write(views: Sequence[Tensor]) -> None:
    """Undo `read_only`, for views that outlive the function that may not write to them."""
    for view in views if _CreationMeta and _set_creation_meta else ():
        _set_creation_meta(view, _CreationMeta.DEFAULT)


def leave_graph(tensor: Tensor) -> bool:
    """Take a tensor out of its graph, in place; False for a view, which is in that of its base."""
    if tensor._is_view():
        return False
    tensor.detach_()
    return True


def _run_checked(
    values: Any, cotangents: Any, retain_graph: bool, create_graph: bool, inputs: Any, **_: Any
) -> Any:
    return torch.autograd.grad(
        values, inputs, cotangents, retain_graph, create_graph, allow_unused=True
    )


# What `torch.autograd.grad` does once it has checked its arguments, which takes it longer.
run_backward: Callable[..., Sequence[Tensor | None]] = foreign(
    "torch.autograd.graph._engine_run_backward", "pax_torch.grad", _run_checked
)


def refuses_checkpoint(error: RuntimeError) -> bool:
    """Whether PyTorch says that a derivative of `torch.func` begins within a checkpoint.

    By its message, since it has no class of its own; otherwise the error is the caller's.
    """
    return "don't yet support saved tensor hooks" in str(error)


# The product of matrices of eight bits; without it, no policy of a checkpoint knows of that.
scaled_product: Any = foreign("torch.ops.aten._scaled_mm.default", "checkpoint_policies", None)

# Tensors without values --------------------------------------------------------------------------

_ZEROS = "forward mode of functions that are traced"
# These make zero tangents ordinary tensors; without them, tracing such a derivative may fail.
DispatchMode: Any = foreign("torch.utils._python_dispatch.TorchDispatchMode", _ZEROS, object)
efficient_zeros: Any = foreign("torch.ops.aten._efficientzerotensor.default", _ZEROS, None)
_SCHEMA = foreign("torch.ops.aten.add.Tensor._schema", _ZEROS, None) is not None
HAS_ZEROS = DispatchMode is not object and efficient_zeros is not None and _SCHEMA


def schema(operation: Any) -> Any:
    """Return what PyTorch knows of the arguments of an operation."""
    return operation._schema


_Operation = type(torch.ops.aten.add.Tensor)


def written_by(operation: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
    """Return the arguments that an operation writes to."""
    if not isinstance(operation, _Operation) or not schema(operation).is_mutable:
        return []
    arguments = schema(operation).arguments
    given = {**dict(zip([a.name for a in arguments], args, strict=False)), **kwargs}
    return [given.get(a.name) for a in arguments if a.is_write]


def version_of(tensor: Tensor) -> int:
    """Return how often a tensor was written to; without PyTorch's count of that, 0."""
    return getattr(tensor, "_version", 0)


def memory_of(tensor: Tensor) -> StorageWeakRef:
    """Return what is equal for tensors that share their memory."""
    return StorageWeakRef(tensor.untyped_storage())


@functools.cache
def needs_values() -> tuple[Any, ...]:
    """Return the errors of functions that need the value of a tensor that has none.

    Without one of these, PyTorch's own error is what a user sees.
    """
    feature = "what pax_torch says of values that are missing"
    return (
        foreign("torch._subclasses.fake_tensor.DataDependentOutputException", feature, ()),
        foreign("torch._subclasses.fake_tensor.DynamicOutputShapeException", feature, ()),
        foreign("torch.fx.experimental.symbolic_shapes.GuardOnDataDependentSymNode", feature, ()),
    )


def is_fake(tensor: Any) -> bool:
    """Whether a tensor has no values, and belongs to a mode in which none has."""
    kind = foreign("torch._subclasses.fake_tensor.FakeTensor", "pax_torch.jit", None)
    return kind is not None and isinstance(tensor, kind)


def fake_mode() -> Any:
    """Return a mode in which tensors have no values."""
    mode = foreign("torch._subclasses.fake_tensor.FakeTensorMode", "pax_torch.eval_shape")
    return mode(allow_non_fake_inputs=True)


def trace(
    function: Callable[..., Any],
    examples: Sequence[Tensor],
    rules: dict[Any, Callable[..., Any]] | None = None,
) -> GraphModule:
    """Return what a function does to tensors without values, such as `examples`.

    The rules say what to write down in place of some operations.
    """
    from torch.fx.experimental.proxy_tensor import make_fx  # slow to import

    # A private option, without which the function may not close over tensors.
    make = make_fx(function, rules, tracing_mode="fake", _allow_non_fake_inputs=True)
    return make(*examples)


_OPEN = "pax_torch.jit(dynamic=True)"
_equal_sizes: Any = foreign("torch.fx.experimental._config.patch", _OPEN, None)


def sizes_on_their_own() -> AbstractContextManager[Any]:
    """Let `torch.compile` hold sizes apart that happen to be equal in the first call."""
    return nullcontext() if _equal_sizes is None else _equal_sizes(use_duck_shape=False)


def trace_open(
    function: Callable[..., Any],
    examples: Sequence[Tensor],
    rules: dict[Any, Callable[..., Any]] | None = None,
) -> tuple[GraphModule, Callable[[Sequence[int]], bool]]:
    """Return what `trace` does, with open sizes, and whether it holds for the sizes of all arguments."""
    from torch.fx.experimental.proxy_tensor import make_fx

    environment: Any = foreign("torch.fx.experimental.symbolic_shapes.ShapeEnv", _OPEN)(
        duck_shape=False
    )
    mode: Any = foreign("torch._subclasses.fake_tensor.FakeTensorMode", _OPEN)(
        allow_non_fake_inputs=True, shape_env=environment
    )
    is_open: Any = foreign("torch.fx.experimental.symbolic_shapes.DimDynamic", _OPEN).DYNAMIC
    context: Any = foreign("torch.fx.experimental.symbolic_shapes.StatelessSymbolicContext", _OPEN)
    source: Any = foreign("torch._dynamo.source.ConstantSource", _OPEN)
    given = [
        mode.from_tensor(
            example,
            source=source(f"argument_{i}"),
            symbolic_context=context(dynamic_sizes=[is_open] * example.dim()),
        )
        for i, example in enumerate(examples)
    ]
    make = make_fx(function, rules, tracing_mode="symbolic", _allow_non_fake_inputs=True)
    graph = make(*given)
    sizes = [size for tensor in given for size in tensor.shape]
    places = [i for i, size in enumerate(sizes) if isinstance(size, torch.SymInt)]
    text = environment.produce_guards_expression([sizes[i] for i in places])
    if text is None:
        return graph, lambda sizes: True
    code, evaluate = (
        compile(text, "<sizes>", "eval"),
        type(environment)().evaluate_guards_expression,
    )
    return graph, lambda sizes: bool(evaluate(code, [sizes[i] for i in places]))


def inductor_options() -> list[str]:
    """Return the names of the options of PyTorch's own compiler."""
    names: Any = foreign("torch._inductor.list_options", "pax_torch.jit", list)
    return names()


# What keeps a checkpoint's inputs in place of its intermediate results.
_keep_inputs = foreign("torch.utils.checkpoint._checkpoint_hook", "torch.utils.checkpoint", None)


@contextmanager
def without_checkpoints() -> Iterator[None]:
    """Let `torch.utils.checkpoint` keep intermediate results, as without it.

    Written down, a second run would draw other random numbers than the first: a program does not go
    back to an earlier state of a generator. Without the private name, checkpoints are refused.
    """
    if _keep_inputs is None:
        message = "torch.utils.checkpoint cannot be compiled here; use pax_torch.checkpoint."
        with torch.autograd.graph.disable_saved_tensors_hooks(message):
            yield
        return
    checkpoints: Any = torch.utils.checkpoint
    checkpoints._checkpoint_hook = lambda frame: nullcontext()
    try:
        yield
    finally:
        checkpoints._checkpoint_hook = _keep_inputs


def without_recording() -> Any:
    """Return a context in which what runs is written down by no trace around it."""
    from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing

    return disable_proxy_modes_tracing()


# A context in which operations run, whatever dispatch modes are active.
outside_of_modes: Any = foreign(
    "torch.utils._python_dispatch._disable_current_modes", "pax_torch.jit", nullcontext
)


def is_recorded() -> bool:
    """Whether what runs is written down by a trace, and not only run without values."""
    from torch.fx.experimental.proxy_tensor import get_proxy_mode

    return get_proxy_mode() is not None


def choosing() -> Callable[..., Any]:
    """Return PyTorch's operator for one of two functions."""
    return foreign("torch._higher_order_ops.cond.cond_op", "pax_torch.lax.cond in jit")


@known_while_compiling
def repeating() -> Callable[..., Any]:
    """Return PyTorch's operator for a loop."""
    feature = "pax_torch.lax.while_loop in jit"
    return foreign("torch._higher_order_ops.while_loop.while_loop_op", feature)


def scanning() -> Any:
    """Return PyTorch's operator for a loop over slices; without it, programs have all steps."""
    return foreign("torch._higher_order_ops.scan.scan_op", "pax_torch.lax.scan in jit", None)


def has_function_mode() -> bool:
    """Whether a function mode is active, such as one that sets a default device."""
    return _function_modes() > 0


# Without it, PyTorch's default device is asked for at every call of a compiled function.
_function_modes: Callable[[], int] = foreign(
    "torch._C._len_torch_function_stack", "pax_torch.jit", lambda: 1
)


def refuses_while_tracing(error: RuntimeError) -> bool:
    """Whether a compiled function refused to run, before it began, since a thread is tracing.

    By its message, since it has no class of its own. Every other error is the caller's: the function
    may have drawn random numbers or written to tensors, so that it must not run again.
    """
    return "using FX to symbolically trace a dynamo-optimized function" in str(error)


def _set_mkldnn_flag(enabled: bool) -> None:
    torch.backends.mkldnn.enabled = enabled  # pyright: ignore[reportAttributeAccessIssue]


# Without it by the public flag, which `torch.backends.disable_global_flags` forbids to set.
enable_mkldnn: Callable[[bool], None] = foreign(
    "torch._C._set_mkldnn_enabled", "pax_torch.jit", _set_mkldnn_flag
)

# Modules -----------------------------------------------------------------------------------------

# Where `torch.nn.Module` keeps what it holds, and the call that `Module.compile` has made for it:
# there is no other way to make a module without running its constructor.
HELD_BY_MODULES = "_parameters", "_buffers", "_modules"
COMPILED_CALL = "_compiled_call_impl"
_CACHES = foreign("torch.nn.utils.parametrize._cache_enabled", "functional_module", None)


def parametrizations_are_cached() -> bool:
    """Whether `torch.nn.utils.parametrize.cached` is active; not known without the name above."""
    return _CACHES is not None and parametrize._cache_enabled > 0


def is_compiled_module(module: torch.nn.Module) -> bool:
    """Whether `torch.compile` returned a module; without its class, such a module is as any other."""
    if "torch._dynamo.eval_frame" not in sys.modules:  # which takes seconds to import
        return False
    return isinstance(module, foreign("torch._dynamo.OptimizedModule", "functional_module", ()))


# Optimizers --------------------------------------------------------------------------------------

_LISTS = "the step of SGD for many small tensors"
_operations = {
    "add": foreign("torch._foreach_add", _LISTS, None),
    "add_": foreign("torch._foreach_add_", _LISTS, None),
    # PyTorch 2.11 has no name for it.
    "clone": foreign("torch._foreach_clone", _LISTS, lambda xs: [x.clone() for x in xs]),
    "mul": foreign("torch._foreach_mul", _LISTS, None),
    "mul_": foreign("torch._foreach_mul_", _LISTS, None),
    "neg": foreign("torch._foreach_neg", _LISTS, None),
}
# Operations on lists of tensors; without one of them the class itself steps, in thrice the time.
LIST_OPERATIONS: Any = _operations if all(_operations.values()) else None
# What the classes that others derive from note for themselves.
NOTED_BY_OPTIMIZERS = ("_need_device_dtype_check_for_fused", "_warned_capturable_if_run_uncaptured")


def make_first_state(optimizer: torch.optim.Optimizer) -> None:
    """Let an optimizer make the state that its class makes before the first step, where it does.

    The method that does so is private, and takes the lists that it fills: how many there are differs
    from class to class, and is known only by their number. Without it, the state comes with the step.
    """
    init_group = getattr(optimizer, "_init_group", None)
    if init_group is None:
        return
    group = optimizer.param_groups[0]
    for variable in group["params"]:
        variable.grad = torch.zeros_like(variable)
    lists = [[] for _ in inspect.signature(init_group).parameters][1:]
    init_group(group, *lists)


# Schedulers --------------------------------------------------------------------------------------
# What they keep for themselves. Without it, a scheduler is no formula, and is run step by step.


def scales_by_mode(cyclic: Any) -> bool:
    """Whether a `CyclicLR` scales its rates by its `mode`, and by no function of the user."""
    return getattr(cyclic, "_scale_fn_custom", cyclic) is None


def phases_of(one_cycle: Any) -> tuple[list[dict[str, Any]], str] | None:
    """Return the phases of a `OneCycleLR`, and the name of its curve."""
    phases = getattr(one_cycle, "_schedule_phases", None)
    curve = getattr(one_cycle, "_anneal_func_type", None)
    return None if phases is None or curve is None else (phases, curve)


def sequence_of(sequential: Any) -> tuple[list[Any], list[int]] | None:
    """Return the schedulers of a `SequentialLR`, and the steps between them."""
    parts = getattr(sequential, "_schedulers", None)
    milestones = getattr(sequential, "_milestones", None)
    return None if parts is None or milestones is None else (parts, milestones)


# torch.compile -----------------------------------------------------------------------------------


def keep_in_order(operator: str) -> None:
    """Let compilers neither drop nor move an operator that is called for what it does."""
    feature = "pax_torch.debug.print in compiled functions"
    register = foreign("torch.library._register_effectful_op", feature)
    register(operator, foreign("torch._library.effects.EffectType.ORDERED", feature))


# Processes ---------------------------------------------------------------------------------------


def traced_all_reduce(vector: Tensor, group: Any) -> Tensor:
    """Return the sum over processes as an operation that can be written down."""
    feature = "pax_torch.distributed in compiled functions"
    # Not every build of PyTorch has these.
    reduce = foreign("torch.distributed._functional_collectives.all_reduce", feature)
    wait = foreign("torch.distributed._functional_collectives.wait_tensor", feature)
    return wait(reduce(vector, "sum", group))


def default_store() -> Any:
    """Return what the processes told each other at first, and can tell each other things by."""
    return foreign("torch.distributed.distributed_c10d._get_default_store", "naming a process")()


# In compiled functions. The names with "tensor" are those of PyTorch before 2.13.
_FSDP = "functional_module of a module with fully_shard in compiled functions"


def _waited(vector: Tensor) -> Tensor:
    return foreign("torch.distributed._functional_collectives.wait_tensor", _FSDP)(vector)


def gathered_vector(part: Tensor, group: Any) -> Tensor:
    """Return the vectors of all processes in one."""
    if is_traced():
        older = foreign("torch.distributed._functional_collectives.all_gather_tensor", _FSDP)
        gather = foreign(
            "torch.distributed._functional_collectives.all_gather_single", _FSDP, older
        )
        return _waited(gather(part, 0, group))
    out = part.new_empty(part.numel() * dist.get_world_size(group))
    name = "all_gather_single" if hasattr(dist, "all_gather_single") else "all_gather_into_tensor"
    getattr(dist, name)(out, part, group=group)
    return out


def scattered_sum(vector: Tensor, group: Any) -> Tensor:
    """Return the part of this process in the sum of vectors over processes."""
    if is_traced():
        older = foreign("torch.distributed._functional_collectives.reduce_scatter_tensor", _FSDP)
        scatter = foreign(
            "torch.distributed._functional_collectives.reduce_scatter_single", _FSDP, older
        )
        return _waited(scatter(vector, "sum", 0, group))
    out = vector.new_empty(vector.numel() // dist.get_world_size(group))
    newer = hasattr(dist, "reduce_scatter_single")
    getattr(dist, "reduce_scatter_single" if newer else "reduce_scatter_tensor")(
        out, vector, group=group
    )
    return out


def fsdp_state_of(module: Any) -> Any:
    """Return what `fully_shard` keeps for a module, whose methods are hooks of that."""
    return module._get_fsdp_state()


def class_before_fsdp(cls: type) -> type:
    """Return the class that a module had before `fully_shard` changed it."""
    return cls.__mro__[getattr(cls, "_orig_cls_mro_index", 2)]


def is_fsdp_state(hook: Any, state: Any) -> bool:
    """Whether a hook is a method of that."""
    return getattr(hook, "__self__", None) is state


def _fsdp_groups(state: Any) -> Sequence[Any]:
    """Return the groups of parameters that a call of `fully_shard` made: one at most before PyTorch 2.12."""
    several = getattr(state, "_fsdp_param_groups", None)
    if several is not None:
        return several
    group = getattr(state, "_fsdp_param_group", None)
    return () if group is None else (group,)


def fsdp_policies(module: Any) -> Iterator[str]:
    """Name what `fully_shard` was told to do beyond gathering parameters and averaging gradients."""
    for group in _fsdp_groups(fsdp_state_of(module)):
        precision = getattr(group, "mp_policy", None)
        if any(
            getattr(precision, name, None) is not None
            for name in ("param_dtype", "reduce_dtype", "output_dtype")
        ):
            yield repr(precision)
        if getattr(getattr(group, "offload_policy", None), "pin_memory", None) is not None:
            yield repr(group.offload_policy)
        if getattr(group, "gradient_divide_factor", None) is not None:
            yield f"a gradient divide factor of {group.gradient_divide_factor}"
        if len(getattr(group, "modules", ())) > 1:
            yield "a list of modules"
