"""How many graphs `torch.compile(fullgraph=True)` makes of each program: `python -m tests.torch.compile_survey`.

The programs are those of pax_torch's own tests, and those that are refused, of which the reason is printed.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import pax_torch as pax
import pax_tree as pt
import pax_tree.dm

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "packages" / "pax-torch" / "tests"))

import test_torch_compile as first
import test_torch_compile_more as more

X = first.X
Program = tuple[Callable[..., Any], tuple[Any, ...]]


def programs() -> dict[str, Program]:
    """Return the programs that are to be one graph."""
    found: dict[str, Program] = {name: (f, tuple(args)) for name, (f, *args) in first.CASES.items()}
    batch = first.PARAMS, first.BUFFERS, first.DATA
    found |= {f"a step of {name}": (f, batch) for name, f in first.OPTIMIZERS.items()}
    matrix = {"w": more.P["w"]}, {"w": more.G["w"]}
    found |= {f"steps of {name}": (more.steps(name), matrix) for name in more.NAMES}
    found["schedules of a number"] = lambda x: [x * each(3) for each in more.SCHEDULES[:-1]], (X,)
    for i, schedule in enumerate(more.SCHEDULES[:-1]):
        found[f"schedule {i} of a tensor"] = schedule, (more.THREE,)
    found |= {f"random: {name}": (f, (more.KEY,)) for name, f in more.DRAWS.items()}
    found |= {
        f"lax: {name}": (f, (X,) * (2 if name == "switch in vmap" else 1))
        for name, f in more.LOOPS.items()
    }
    for derivative in (pax.jacrev, pax.jacfwd):
        found[f"{derivative.__name__} in chunks"] = derivative(lambda x: x**3, chunk_size=2), (X,)
    return found


def _rule() -> Any:
    sine = pax.custom_jvp(torch.sin)
    sine.defjvp(lambda primals, tangents: (sine(*primals), tangents[0]))
    return sine


def refused() -> dict[str, Program]:
    """Return the programs that are none: what each lacks is in the documentation of pax_torch."""
    like = pax.ShapeDtypeStruct((3,), torch.float32)
    unused = pax.grad(lambda t: t["a"].sum(), materialize_grads=False)
    return {
        "grad of a custom_jvp": (pax.grad(lambda x: _rule()(x).sum()), (X,)),
        "a schedule that is no formula": (lambda x: x * more.SCHEDULES[-1](7), (X,)),
        "grad with None for unused": (unused, ({"a": X, "b": X},)),
        "pure_callback": (lambda x: pax.pure_callback(torch.sin, like, x), (X,)),
        "debug.print": (lambda x: (pax.debug.print("{}", x), x * 2)[1], (X,)),
        "closure_convert": (lambda x: pax.closure_convert(lambda y: y * x, x)[0](x), (X,)),
        "pax_tree.dm": (lambda x: pax_tree.dm.map_structure(torch.sin, {"a": x}), (X,)),
        "the text of a structure": (lambda x: (x * 2, repr(pt.tree_structure([x]))), (X,)),
        "a method of a structure from outside": (first.STRUCTURE.unflatten, ([X, X, X],)),
        # The last, since PyTorch does not leave its transforms when it fails.
        "vmap of hessian, as of torch.func": (pax.vmap(pax.hessian(first.cubes)), (first.DATA,)),
    }


def graphs_of(program: Program) -> int | str:
    """Return how many graphs the compiler makes of a program, or why it makes none."""
    graphs: list[Any] = []

    def backend(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph

    f, args = program
    torch.compiler.reset()
    try:
        torch.compile(f, backend=backend, fullgraph=True)(*args)
    except Exception as error:
        raised = re.search("raised exception (.*)", str(error))
        return raised[1] if raised else str(error).strip().partition("\n")[0]
    return len(graphs)


def main() -> None:
    """Print the table, and how many programs are of how many graphs."""
    warnings.filterwarnings("ignore")
    counts: dict[object, int] = {}
    for name, program in {**programs(), **refused()}.items():
        found = graphs_of(program)
        print(f"{name:50} {found}", flush=True)
        kind = found if isinstance(found, int) else "refused"
        counts[kind] = counts.get(kind, 0) + 1
    print(*[f"{number} programs of {kind} graphs" for kind, number in counts.items()], sep="; ")


if __name__ == "__main__":
    main()
