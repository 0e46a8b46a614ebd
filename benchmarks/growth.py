"""How the cost of operations grows with what they are given: `python -m benchmarks.growth` prints a table.

Each row is an operation on trees, modules or optimizers of 100, 1,000 and 10,000 parts, and the slopes
between them: 1 is linear, 2 is quadratic.
"""

from __future__ import annotations

import copy
import gc
import itertools
import math
import pickle
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import opax
import pax_jax
import pax_torch
import pax_tree
from pax_jax import checkpoint

SIZES = 100, 1_000, 10_000
Program = Callable[[], Any]


class Wide(pax_jax.Module):
    """A module with as many parameters."""

    def __init__(self, count: int) -> None:
        super().__init__()
        for i in range(count):
            self.register_parameter(f"w{i}", np.full((), i, np.float32))


class Leaf(pax_jax.Module):
    """A module with one parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.register_parameter("weight", np.full((), 1, np.float32))


class Parts(pax_jax.Module):
    """A module with as many submodules, in a list."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.parts = [Leaf() for _ in range(count)]


class Attributes(pax_jax.Module):
    """A module with as many submodules, each an attribute."""

    def __init__(self, count: int) -> None:
        super().__init__()
        for i in range(count):
            setattr(self, f"part{i}", Leaf())


class Nest(pax_jax.Module):
    """A module in a module in a module."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.register_parameter("weight", np.full((), 2, np.float32))
        self.inner = inner


def nested(depth: int) -> Nest:
    """Return so many modules in each other."""
    module = None
    for _ in range(depth):
        module = Nest(module)
    return module


def of_tree(count: int) -> dict[str, Program]:
    """Return what is done with a tree of so many leaves."""
    tree = {f"k{i}": [i, (i,)] for i in range(count // 2)}
    leaves, structure = pax_tree.tree_flatten(tree)
    return {
        "tree_flatten": partial(pax_tree.tree_flatten, tree),
        "tree_unflatten": partial(structure.unflatten, leaves),
        "tree_map": partial(pax_tree.tree_map, lambda a, b: a, tree, tree),
        "tree_leaves_with_path": partial(pax_tree.tree_leaves_with_path, tree),
        "tree_diff": partial(pax_tree.tree_diff, tree, tree),
        "pickle of a structure": lambda: pickle.loads(pickle.dumps(structure)),
    }


def of_module(cls: Callable[[int], Any], count: int) -> dict[str, Program]:
    """Return what is done with a module of so many parts."""
    module = cls(count)
    params = module.parameters()
    return {
        "construct": partial(cls, count),
        "flatten": partial(pax_tree.tree_flatten, module),
        "update": partial(module.update, params),
        "freeze": module.freeze,
        "eval": module.eval,
        "copy": module.copy,
        "deepcopy": partial(copy.deepcopy, module),
        "state_dict": module.state_dict,
        "load_state_dict": lambda: module.load_state_dict(module.state_dict()),
        "repr": partial(repr, module),
    }


def pickled(cls: Callable[[int], Any], count: int) -> dict[str, Program]:
    """Return what writes a module of so many parts."""
    module = cls(count)
    return {
        "pickle": lambda: pickle.loads(pickle.dumps(module)),
        "save and load a checkpoint": partial(saved, module),
    }


def saved(module: Any) -> None:
    """Save a module in a file, and read it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        checkpoint.save(path, module)
        checkpoint.load(path, module)


def of_opax(count: int) -> dict[str, Program]:
    """Return steps of optimizers of so many arrays."""
    module = Wide(count)
    params = module.parameters()
    freeze = opax.set_to_zero()
    labels = {f"label{i}": freeze for i in range(3)}
    groups = opax.multi_transform(labels, {"w7*": "label1", "w8*": "label2", "w*": "label0"})
    return {
        "init": partial(opax.sgd(0.1), params),
        "sgd.step": partial(opax.sgd(0.1)(params).step, params, module),
        "multi_transform.step": partial(groups(params).step, params, module),
    }


def of_torch(count: int) -> dict[str, Program]:
    """Return what is done with so many tensors."""
    net = torch.nn.ParameterDict({f"w{i}": torch.nn.Parameter(torch.ones(1)) for i in range(count)})
    params = {name: torch.ones(1) for name in net}
    sgd = pax_torch.functional_optimizer(torch.optim.SGD, lr=0.1)
    adam = pax_torch.functional_optimizer(torch.optim.Adam, lr=0.1)
    labels = {name: f"label{i % 50}" for i, name in enumerate(params)}
    groups = pax_torch.multi_transform({f"label{i}": sgd for i in range(50)}, labels)
    states = [each.init(params) for each in (sgd, adam, groups)]
    return {
        "get_params": partial(pax_torch.get_params, net),
        "functional_module": partial(pax_torch.functional_module, net),
        "deepcopy of a functional_module": partial(copy.deepcopy, pax_torch.functional_module(net)),
        "SGD.step": partial(sgd.step, params, params, states[0]),
        "Adam.step": partial(adam.step, params, params, states[1]),
        "multi_transform.step, 50 labels": partial(groups.step, params, params, states[2]),
        "ema_step": partial(pax_torch.ema_step, pax_torch.ema_init(params), params, 0.9),
        "tree_ravel": partial(pax_tree.tree_ravel, params),
    }


GROUPS: dict[str, Callable[[int], dict[str, Program]]] = {
    "tree of n leaves": of_tree,
    "module of n parameters": partial(of_module, Wide),
    "module of n parameters, files": partial(pickled, Wide),
    "module with a list of n": partial(of_module, Parts),
    "module with a list of n, files": partial(pickled, Parts),
    "module with n submodules": partial(of_module, Attributes),
    "module of n / 11 levels": partial(of_module, lambda count: nested(count // 11)),
    "opax, n arrays": of_opax,
    "pax_torch, n tensors": of_torch,
}


def seconds(program: Program) -> float:
    """Return the processor's time for one call: the least of some."""
    program()
    gc.collect()
    gc.disable()
    try:
        best, spent = math.inf, 0.0
        for _ in range(20):
            start = time.process_time()
            program()
            took = time.process_time() - start
            best, spent = min(best, took), spent + took
            if spent > 0.3:
                break
        return best
    finally:
        gc.enable()


def main(names: list[str]) -> None:
    """Print a row for each operation of the groups with one of the names in theirs, or of all."""
    head = "operation", *(f"{size:,}" for size in SIZES), "slopes"
    print("{:56} {:>11} {:>11} {:>11}   {}".format(*head))
    for group, make in GROUPS.items():
        if names and not any(name in group for name in names):
            continue
        columns = [
            {name: seconds(program) for name, program in make(size).items()} for size in SIZES
        ]
        for name in columns[0]:
            times = [column[name] for column in columns]
            slopes = [math.log10(b / a) for a, b in itertools.pairwise(times)]
            print(
                f"{group + ': ' + name:56}",
                *(f"{1e3 * each:8.2f} ms" for each in times),
                "  " + " ".join(f"{slope:.2f}" for slope in slopes),
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
