"""From a derived function to what XLA's custom call runs."""

from __future__ import annotations

from math import prod

from torch2jax_bridge import _C
from torch2jax_bridge._debug import watched
from torch2jax_bridge._engine import compile_spec
from torch2jax_bridge._pool import in_private_pool
from torch2jax_bridge._specs import Function, Keep, Kept, Spec, Vjp
from torch2jax_bridge._writethrough import WriteThrough, pays


def make_handle(spec: Spec, platform: str) -> _C.Handle:
    """Return a handle whose number names the function in a custom call, for as long as it lives.

    Args:
        spec: the function.
        platform: "cpu" or "cuda".
    """
    call = compile_spec(spec)
    options = spec.root.options
    written = _written(spec)
    # A graph that outlives the call may refer to results, so those must not lie in XLA's memory.
    keeps = isinstance(spec, Keep)
    redirected = not (keeps or written or options.debug or _takes_outputs(spec))
    lent = redirected and pays(_size(spec), platform)
    if lent:
        call = WriteThrough(call, len(spec.ins), platform)
    if options.debug:
        call = watched(call, spec.root.names, written)
    if may_be_recorded(spec):
        call = in_private_pool(call)
    wanted = _C.CallOptions()
    wanted.name = spec.root.name
    wanted.narrow = isinstance(spec, Function) and spec.narrow
    wanted.takes_outputs = lent or _takes_outputs(spec)
    wanted.keeps_inputs = keeps
    wanted.strict = options.debug
    wanted.written = written
    wanted.names = spec.root.names
    return _C.Handle(call, wanted)


def may_be_recorded(spec: Spec) -> bool:
    """Whether XLA may record the call into a CUDA graph.

    The user must allow it, and PyTorch must do all on the calling thread: autograd's backward
    passes have their own, whose memory would not come from the private pool.
    """
    while spec.root.options.command_buffer:
        if isinstance(spec, Function):
            return True
        if isinstance(spec, Keep | Kept | Vjp):
            return False
        spec = spec.inner
    return False


def _takes_outputs(spec: Spec) -> bool:
    """Whether the function itself wants the output buffers."""
    return isinstance(spec, Function) and spec.options.out


def _written(spec: Spec) -> tuple[bool, ...]:
    """Which arguments the function may change, as they share the buffer of a result."""
    aliases = output_aliases(spec)
    return tuple(i in aliases for i in range(len(spec.ins))) if aliases else ()


def output_aliases(spec: Spec) -> dict[int, int]:
    """Which arguments share the buffer of which result: in a function itself, in no derived one."""
    return dict(spec.options.aliases) if isinstance(spec, Function) else {}


def _size(spec: Spec) -> int:
    """Return the bytes of all results together."""
    return sum(prod(out.shape) * out.dtype.itemsize for out in spec.outs)
