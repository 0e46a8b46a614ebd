"""Each transformation of optax saved and resumed, donated, mapped over a population, and sharded.

All are trained in one program, which costs a small part of what one program for each would.
"""

import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import opax
import pax_jax as pax

sys.path.insert(0, str(Path(__file__).parents[2] / "packages" / "opax" / "tests"))

from transformations import LINE_SEARCHES, NAMES, gradients, make, start

# Whose moments have the shapes of the parameters, and so their places.
SAME_SHAPE = {"adam", "adamw", "lion", "sgd", "rmsprop", "adagrad", "lamb", "yogi", "adabelief"}
POPULATION = 3

# A pair of parameters and optimizer for each path in optax.
Pairs = dict[str, tuple[Any, Any]]


def table() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield for each transformation what was found: "equal" where a run is as a plain one."""
    # Whose states change in structure, or in weak types, with the first step: these compile twice.
    searches = [path for path in NAMES if path.split(".")[-1] in LINE_SEARCHES]
    alone = [searches, ["optax.monitor"]]
    rest = [path for path in NAMES if path not in [path for paths in alone for path in paths]]
    for paths in (rest, *alone):
        yield from rows(paths)


def rows(paths: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    run = jax.jit(steps, donate_argnums=0, keep_unused=True)
    given = made(paths, 0)
    once = run(given)
    gone = {path: all(x.is_deleted() for x in jax.tree.leaves(given[path])) for path in paths}
    plain, stored = stored_values(once), jax.tree.map(jnp.copy, once)
    twice = stored_values(run(once))
    saved = resumed(run, stored)
    together = population(paths)
    for path in paths:
        found = {
            "saved": saved[path]
            if isinstance(saved[path], str)
            else same(saved[path], twice[path]),
            "donated": "all" if gone[path] else "some array is not",
            "vmapped": same(member(together[path], 0), plain[path], 2e-3),
            "sharded": where(path, *together[path]),
        }
        yield path, found


def made(paths: Iterable[str], seed: int) -> Pairs:
    pairs = {path: start(path.split(".")[-1], seed) for path in paths}
    copies = {path: jax.tree.map(jnp.copy, params) for path, params in pairs.items()}
    return {path: (params, make(opax, path)(params)) for path, params in copies.items()}


def steps(pairs: Pairs) -> Pairs:
    """Make a step with each optimizer."""
    after = {}
    for path, (params, optimizer) in pairs.items():
        grads, extra_args = gradients(params, path.split(".")[-1], 0)
        after[path] = opax.apply_gradients(params, optimizer, grads, **extra_args)
    return after


def resumed(run: Any, stored: Pairs) -> dict[str, Any]:
    """Go on with what fresh optimizers load from a checkpoint, or return why they do not."""
    fresh, found, saved = made(stored, 1), {}, {}
    for path, (params, optimizer) in stored.items():
        try:
            fresh[path] = params, fresh[path][1].load_state_dict(optimizer.state_dict())
            saved[path] = optimizer
        except ValueError as error:
            found[path] = str(error)
    likes = {path: fresh[path][1] for path in saved}
    for way, loaded in through_files(saved, likes).items():
        for path, optimizer in loaded.items():
            fresh[path] = fresh[path][0], optimizer
            if not all(map(is_same, jax.tree.leaves(optimizer), jax.tree.leaves(saved[path]))):
                found[path] = f"{way} has other bits, or other weak types"
    return stored_values(run(fresh)) | found


def through_files(saved: dict[str, Any], likes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what files of each sort hold of some optimizers, all in one file."""
    with tempfile.TemporaryDirectory() as folder:
        pax.weights.save_safetensors(Together(saved), f"{folder}/file")
        file = pax.weights.load_safetensors(Together(likes), f"{folder}/file")
        pax.checkpoint.save(folder, saved)
        steps = pax.checkpoint.load(folder, likes)
    return {"file": dict(zip(likes, file.optimizers, strict=True)), "checkpoint": steps}


class Together(pax.Module):
    """Some optimizers."""

    def __init__(self, optimizers: dict[str, Any]) -> None:
        super().__init__()
        self.optimizers = list(optimizers.values())


def is_same(a: Any, b: Any) -> bool:
    types = [(x.dtype, getattr(x, "weak_type", False)) for x in (a, b)]  # keys have no weak type
    return types[0] == types[1] and numbers(a).tobytes() == numbers(b).tobytes()


def population(paths: list[str]) -> Pairs:
    """Train three of each, whose parameters are spread over two devices."""
    members = [made(paths, seed) for seed in range(POPULATION)]
    pairs = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    mesh = jax.make_mesh((2,), ("data",), (jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    places = NamedSharding(mesh, P()), NamedSharding(mesh, P(None, "data"))
    pairs = jax.tree.map(lambda x: jax.device_put(x, places[is_spread(x)]), pairs)
    return jax.jit(jax.vmap(steps))(pairs)


def is_spread(leaf: Any) -> bool:
    return leaf.shape == (POPULATION, 2, 4)


def where(path: str, params: Any, optimizer: Any) -> str:
    """Say whether parameters, and the moments of their shapes, are spread as they were."""
    leaves = jax.tree.leaves((params, optimizer) if path.split(".")[-1] in SAME_SHAPE else params)
    places = [leaf.sharding.spec for leaf in leaves if is_spread(leaf)]
    return "equal" if all("data" in place for place in places) else "not spread"


def member(pair: Any, index: int) -> list[Any]:
    return [numbers(leaf)[index] for leaf in jax.tree.leaves(pair)]


def stored_values(pairs: Pairs) -> dict[str, list[Any]]:
    """Copy the values of arrays that will be donated."""
    return {
        path: [numbers(x).copy() for x in jax.tree.leaves(pair)] for path, pair in pairs.items()
    }


def same(actual: list[Any], expected: list[Any], rtol: float | None = None) -> str:
    pairs = list(zip(actual, expected, strict=True))
    if rtol is None:
        return "equal" if all(a.tobytes() == b.tobytes() for a, b in pairs) else "other bits"
    is_close = all(np.allclose(a, b, rtol=rtol, atol=1e-5) for a, b in pairs)
    return "equal" if is_close else "other results"


def numbers(leaf: Any) -> Any:
    is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)
