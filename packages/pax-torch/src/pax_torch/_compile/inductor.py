"""How a graph is handed to `torch.compile`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.fx import GraphModule

from pax_torch._compat import inductor_options
from pax_torch._compile.draws import draws_from_keys

# After how many operations Inductor stores a value, rather than compute it again wherever it is used. It
# is its own number for GPUs; with that for CPUs, 50, the rounds of Threefry are written down many times:
# programs that draw compile 5 to 10 times as long, and run no faster.
_FEWER_REPEATS = {"realize_opcount_threshold": 30}


def compile_graph(
    dynamic: bool | None, options: dict[str, Any], graph: GraphModule
) -> Callable[..., Any]:
    """Return a compiled graph.

    Args:
        dynamic: as in `torch.compile`.
        options: the other arguments of `torch.compile`, as the user has given them.
        graph: what to compile.
    """
    inductor = options.get("backend", "inductor") == "inductor" and options.get("mode") is None
    if inductor and draws_from_keys(graph) and _is_known():
        options = {**options, "options": {**_FEWER_REPEATS, **(options.get("options") or {})}}
    return torch.compile(graph, fullgraph=True, dynamic=dynamic, **options)


def _is_known() -> bool:
    return not _FEWER_REPEATS.keys() - set(inductor_options())
