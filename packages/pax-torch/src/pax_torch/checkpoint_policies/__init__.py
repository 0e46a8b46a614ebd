"""What `checkpoint` keeps of the intermediate results, by the names of `jax.checkpoint_policies`."""

from pax_torch._autodiff.policies import (
    dots_saveable,
    dots_with_no_batch_dims_saveable,
    everything_saveable,
    nothing_saveable,
)

__all__ = [
    "dots_saveable",
    "dots_with_no_batch_dims_saveable",
    "everything_saveable",
    "nothing_saveable",
]
