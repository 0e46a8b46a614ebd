"""The lowering of the primitive: a custom call in XLA's program, and the function that it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import jax
import numpy as np
import torch
from jax.interpreters import mlir

from torch2jax_bridge._avals import Tensors, bytes_of
from torch2jax_bridge._C import CallOptions, Handle
from torch2jax_bridge._compat import devices_of_program, is_export, keep_out_of_cache
from torch2jax_bridge._runtime.generators import alone
from torch2jax_bridge._runtime.registration import TARGET, register, watch_interrupts
from torch2jax_bridge._torch2jax.derived import SaveResiduals, Spec, draws
from torch2jax_bridge._torch2jax.function import Function, label
from torch2jax_bridge._torch2jax.interpret import torch_code_of
from torch2jax_bridge._torch2jax.out_buffers import OutBufferWriter, pays


def lower(ctx: mlir.LoweringRuleContext, *args: Any, spec: Spec) -> Sequence[Any]:
    """Return the results of a custom call in a program that is being lowered."""
    if is_export(ctx):
        raise NotImplementedError(
            f"jax.export cannot store a program that calls the PyTorch function {spec.root}: the "
            "function lives in this process only."
        )
    platforms = ctx.module_context.platforms
    for platform in platforms:
        register(platform)
    watch_interrupts()
    handle = _make_handle(spec, platforms[0])
    ctx.module_context.add_keepalive(_OfThisProcess(handle, str(spec.root)))
    keep_out_of_cache(ctx)
    rule = jax.ffi.ffi_lowering(
        TARGET,
        operand_output_aliases=_output_aliases(spec),
        has_side_effect=_has_effect(spec, devices_of_program(ctx)),
    )
    return rule(ctx, *args, handle=handle.id)


class _OfThisProcess:
    """A handle, which a compiled program keeps; cannot be stored, and so the program neither."""

    def __init__(self, handle: Handle, name: str) -> None:
        self._handle = handle
        self._name = name

    def __reduce__(self) -> Any:
        raise NotImplementedError(
            f"A compiled program that calls the PyTorch function {self._name} cannot be stored: the "
            "function lives in this process only."
        )


def _has_effect(spec: Spec, devices: int) -> bool:
    """Whether XLA may neither merge, move nor drop the call, since it draws random numbers.

    XLA cannot divide a program with such calls between devices.

    Raises:
        ValueError: it would have to.
    """
    drawing = draws(spec)
    if drawing and devices > 1:
        raise ValueError(
            f"{spec.root} draws random numbers without a key, in a program over {devices} devices "
            "each of which would draw its own: pass rng= to a module, draw the numbers with "
            "jax.random and pass them as arguments, or call the function in jax.shard_map."
        )
    return drawing is not False and devices == 1


def _make_handle(spec: Spec, platform: str) -> Handle:
    """Return a handle whose number names the function in a custom call, for as long as it lives.

    Args:
        spec: the function.
        platform: "cpu" or "cuda".
    """
    call = torch_code_of(spec)
    if draws(spec):
        call = alone(call)
    options = spec.root.options
    written = _written(spec)
    # A graph that outlives the call may refer to results, so those must not lie in XLA's memory.
    keeps = isinstance(spec, SaveResiduals)
    redirected = not (keeps or written or options.debug or _takes_outputs(spec))
    lent = redirected and pays(_size(spec), platform)
    if lent:
        call = OutBufferWriter(call, len(spec.ins), platform)
    if options.debug:
        call = watched(call, spec.root.names, written)
    wanted = CallOptions()
    wanted.name = spec.root.name
    wanted.note = _note(spec.root)
    wanted.narrow = isinstance(spec, Function) and spec.narrow
    wanted.takes_outputs = lent or _takes_outputs(spec)
    wanted.keeps_inputs = keeps
    wanted.strict = options.debug
    wanted.written = written
    wanted.names = spec.root.names
    settings = spec.root.settings
    wanted.flushes_denormals = settings.flushes_denormals
    return Handle(call, settings, wanted)


def _note(function: Function) -> str:
    """Return what may help a function that PyTorch does not give the integers it wants."""
    narrow = [i for i, aval in enumerate(function.ins) if aval.dtype == np.int32]
    if not narrow or function.options.widen_integers:
        return ""
    return (
        f"({label(function.names, narrow[0])} is int32, as JAX's integers are; where PyTorch wants "
        "int64, its own: torch2jax(..., widen_integers=True).)"
    )


def _takes_outputs(spec: Spec) -> bool:
    """Whether the function itself wants the output buffers."""
    return isinstance(spec, Function) and spec.options.out


def _written(spec: Spec) -> tuple[bool, ...]:
    """Which arguments the function may change, as they share the buffer of a result."""
    aliases = _output_aliases(spec)
    return tuple(i in aliases for i in range(len(spec.ins))) if aliases else ()


def _output_aliases(spec: Spec) -> dict[int, int]:
    """Which arguments share the buffer of which result: in a function itself, in no derived one."""
    return dict(spec.options.aliases) if isinstance(spec, Function) else {}


def _size(spec: Spec) -> int:
    """Return the bytes of all results together."""
    return sum(prod(out.shape) * out.dtype.itemsize for out in spec.outs)


def watched(
    call: Callable[..., Any], names: Sequence[str], written: Sequence[bool]
) -> Callable[..., Any]:
    """Return the function of flat tensors, which raises when it changes an argument or makes a NaN.

    Args:
        call: the function.
        names: what messages call its arguments; those beyond have numbers only.
        written: which arguments it may change.
    """

    def run(*tensors: torch.Tensor) -> Any:
        values = [(bytes_of(tensor), bytes_of(tensor).clone()) for tensor in tensors]
        clean = not any(map(_has_nan, tensors))
        changed = []
        try:
            results = call(*tensors)
        finally:
            for i, (now, before) in enumerate(values):
                if not (i < len(written) and written[i]) and not torch.equal(now, before):
                    now.copy_(before)
                    changed.append(i)
        if changed:
            raise ValueError(
                f"The function changed {label(names, changed[0])} in place; arrays of JAX may not be "
                "written to: clone it first, or name it in input_output_aliases. Its values were put "
                "back."
            )
        if clean:
            _check_nan(results if isinstance(results, tuple) else (results,))
        return results

    return run


def _check_nan(results: Tensors) -> None:
    for i, result in enumerate(results):
        if isinstance(result, torch.Tensor) and _has_nan(result):
            raise FloatingPointError(
                f"Result {i} has a NaN, and no argument has one; torch.autograd.detect_anomaly or "
                "a debugger in the function shows where it comes from."
            )


def _has_nan(tensor: torch.Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return False
    values = tensor.float() if tensor.itemsize == 1 else tensor
    return bool(values.isnan().any())
