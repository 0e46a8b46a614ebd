"""Control flow on pytrees: loops, conditionals and scans, with the signatures and the rules of `jax.lax`.

The functions that are given are called in Python, so that derivatives of every kind pass through them,
and inside `vmap` a predicate or an index may differ from example to example. In `pax_torch.jit` they
become the operators that PyTorch has for control flow, where those can carry what they are given.
"""

from pax_torch.lax._associative_scan import associative_scan
from pax_torch.lax._conditionals import cond, switch
from pax_torch.lax._loops import fori_loop, while_loop
from pax_torch.lax._scan import map, scan

__all__ = ["associative_scan", "cond", "fori_loop", "map", "scan", "switch", "while_loop"]
