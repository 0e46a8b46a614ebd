"""From a derived function to what XLA's custom call runs."""

from math import prod

from torch2jax_bridge import _C
from torch2jax_bridge._engine import compile_spec
from torch2jax_bridge._specs import Function, Keep, Spec
from torch2jax_bridge._writethrough import LEAST_BYTES, WriteThrough


def make_handle(spec: Spec, residuals: bool) -> _C.Handle:
    """A handle whose number names the function in a custom call, for as long as it lives.

    Args:
        spec: the function.
        residuals: whether forward passes may leave their graph to backward passes.
    """
    call = compile_spec(spec, residuals)
    # A graph that outlives the call may refer to results, so those must not lie in XLA's memory.
    keeps = isinstance(spec, Keep)
    lent = not keeps and _size(spec) >= LEAST_BYTES
    return _C.Handle(
        WriteThrough(call, len(spec.ins)) if lent else call,
        spec.root.name,
        narrow=isinstance(spec, Function) and spec.narrow,
        takes_outputs=lent,
        keeps_inputs=keeps,
    )


def _size(spec: Spec) -> int:
    """The bytes of all results together."""
    return sum(prod(out.shape) * out.dtype.itemsize for out in spec.outs)
