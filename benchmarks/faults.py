"""Damages what was saved, kills those that save, and counts what is silently wrong: it should be nothing.

    ./tools/hatch run bench:python -m benchmarks.faults [--kills 200] [--flips 400] [--cuts 200]

Also prints the time of saving and loading with and without checksums.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint  # noqa: F401  (so that each process that is killed does not import it)

import pax_jax as pax


class Net(pax.Module):
    """A module with leaves of each sort."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.layer = pax.Linear(48, 48, rng_key=jax.random.key(seed))
        self.register_parameter("half", jnp.full((65,), 1 + seed, jnp.bfloat16))
        self.register_state("rate", jnp.asarray(0.3 + seed))
        self.register_state("rng_key", jax.random.key(seed))
        self.register_state_subtree("table", {"ids": np.arange(70) + seed, "size": 3 + seed})


def same(a: Any, b: Any) -> bool:
    """Say whether two trees are equal to the bit, in dtypes and in weak types."""
    one, other = (jax.tree.leaves(tree) for tree in (a, b))
    return len(one) == len(other) and all(map(_same_leaf, one, other))


def _same_leaf(a: Any, b: Any) -> bool:
    if isinstance(a, jax.Array) and jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    kinds = [(type(x), getattr(x, "dtype", None), getattr(x, "weak_type", None)) for x in (a, b)]
    return kinds[0] == kinds[1] and np.asarray(a).tobytes() == np.asarray(b).tobytes()


def flips(count: int, folder: Path, seed: int) -> Counter[str]:
    """Flip one bit of a file, one after the other, and load."""

    def flipped(data: bytes, rng: random.Random) -> bytes:
        at = rng.randrange(8 * len(data))
        new = bytearray(data)
        new[at // 8] ^= 1 << at % 8
        return bytes(new)

    return _damaged(count, folder, seed, flipped)


def cuts(count: int, folder: Path, seed: int) -> Counter[str]:
    """Cut the end off a file, one after the other, and load."""
    return _damaged(count, folder, seed, lambda data, rng: data[: rng.randrange(len(data))])


def _damaged(
    count: int, folder: Path, seed: int, damage: Callable[[bytes, random.Random], bytes]
) -> Counter[str]:
    """Load what was saved, half of the time from a checkpoint, half of it from a safetensors file."""
    net, like, rng = Net(0), Net(1), random.Random(seed)
    pax.checkpoint.save(folder / "steps", net)
    pax.weights.save_safetensors(net, folder / "net.safetensors")
    files = sorted(
        path for path in (folder / "steps").rglob("*") if path.is_file() and path.stat().st_size
    )
    sizes = [path.stat().st_size for path in files]
    counts: Counter[str] = Counter()
    for i in range(count):
        if i % 2:
            file, root = folder / "net.safetensors", folder / "net.safetensors"
        else:  # each file now and then, and the large ones more often
            file = rng.choice(files) if i % 4 else rng.choices(files, sizes)[0]
            root = folder / "steps"
        whole = file.read_bytes()
        file.write_bytes(damage(whole, rng))
        try:
            loaded = (
                pax.checkpoint.load(root, like)
                if root.is_dir()
                else pax.weights.load_safetensors(like, root)
            )
            counts["loaded, and right" if same(loaded, net) else "silently wrong"] += 1
        except (ValueError, FileNotFoundError) as error:
            counts["refused"] += 1
            counts["does not name the file"] += str(root) not in str(error)
        file.write_bytes(whole)
    return counts


def _tree(step: int) -> dict[str, Any]:
    return {"a": np.full((200, 200), step), "b": jnp.full(9, step), "step": step}


def _save_forever(folder: str) -> None:
    logging.disable(logging.CRITICAL)
    with pax.checkpoint.Checkpoints(folder, keep=3) as checkpoints:
        step = max(checkpoints.steps, default=-1)
        while True:
            step += 1
            checkpoints.save(step, _tree(step))


def _processes() -> Any:
    """Return what starts processes that have imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def kills(count: int, folder: Path, seed: int) -> Counter[str]:
    """Kill a process that saves, at any moment, and load every step that is listed then."""
    rng, counts, latest = random.Random(seed), Counter[str](), -1
    context, checkpoints = _processes(), pax.checkpoint.Checkpoints(folder)
    while counts["kills"] < count:
        writer = context.Process(target=_save_forever, args=(str(folder),), daemon=True)
        writer.start()
        _until_step(checkpoints, latest + 2)
        time.sleep(rng.random() * 0.2)
        os.kill(writer.pid or 0, signal.SIGKILL)
        writer.join()
        counts["kills"] += 1
        counts["kills with leftovers"] += any("tmp" in name for name in os.listdir(folder))
        counts["steps lost"] += max(checkpoints.steps) < latest
        latest = max(checkpoints.steps)
        for step in checkpoints.steps:
            counts["steps loaded"] += 1
            counts["listed steps that do not load"] += not _loads(checkpoints, step)
    pax.checkpoint.save(folder, _tree(latest + 1))
    counts["leftovers"] = len(os.listdir(folder)) - 3
    return counts


def _loads(checkpoints: pax.checkpoint.Checkpoints, step: int) -> bool:
    try:
        return same(checkpoints.load(_tree(-1), step), _tree(step))
    except (ValueError, FileNotFoundError):
        return False


def _until_step(checkpoints: pax.checkpoint.Checkpoints, step: int, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while max(checkpoints.steps, default=-1) < step:
        if time.monotonic() > end:
            raise TimeoutError(f"Step {step} was not saved within {seconds} s.")
        time.sleep(0.01)


def _save_some(folder: str, results: Any) -> None:
    logging.disable(logging.CRITICAL)
    saved, refused, other = [], 0, []
    with contextlib.suppress(OSError), pax.checkpoint.Checkpoints(folder, keep=None) as checkpoints:
        for _ in range(8):
            step = max(checkpoints.steps, default=-1) + 1
            try:
                checkpoints.save(step, _tree(step))
                checkpoints.wait()
                saved.append(step)
            except (RuntimeError, ValueError):
                refused += 1
            except OSError as error:
                other.append(str(error))
    results.put((saved, refused, other))


def two_writers(folder: Path) -> Counter[str]:
    """Let two processes save to one directory, and load every step that is listed then."""
    context = _processes()
    results, counts = context.Queue(), Counter[str]()
    writers = [context.Process(target=_save_some, args=(str(folder), results)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for _ in writers:
        saved, refused, other = results.get(timeout=120)
        counts.update({"saved": len(saved), "refused": refused, "other errors": len(other)})
    for writer in writers:
        writer.join()
    checkpoints = pax.checkpoint.Checkpoints(folder)
    counts["listed"] = len(checkpoints.steps)
    counts["listed steps that do not load"] = sum(
        not _loads(checkpoints, step) for step in checkpoints.steps
    )
    return counts


def full_disk(folder: Path) -> Counter[str]:
    """Fill a small disk, which `folder` is on, and save on it: what was there stays, and loads."""
    counts: Counter[str] = Counter()
    big = np.random.default_rng(0).normal(size=(700, 1000))
    with pax.checkpoint.Checkpoints(folder, keep=2) as checkpoints:
        for step in range(8):
            tree = {"a": big[: 700 if step % 3 == 2 else 100]}
            try:
                checkpoints.save(step, tree)
                checkpoints.wait()
                counts["saved"] += 1
            except OSError:
                counts["refused"] += 1
        counts["steps not kept"] = len(checkpoints.steps) - 2
        counts["leftovers"] = len(os.listdir(folder)) - 2
        for step in checkpoints.steps:
            loaded = checkpoints.load({"a": big[:100] * 0}, step)
            counts["listed steps that do not load"] += not same(loaded, {"a": big[:100]})
    return counts


@contextlib.contextmanager
def small_disk(size: str) -> Iterator[Path | None]:
    """Yield a folder on a disk of its own; None where this user cannot make one."""
    folder = tempfile.mkdtemp()
    mounted = os.system(f"mount -t tmpfs -o size={size} tmpfs {folder} 2>/dev/null") == 0
    try:
        yield Path(folder) if mounted else None
    finally:
        if mounted:
            os.system(f"umount {folder}")
        os.rmdir(folder)


def cost(folder: Path) -> dict[str, float]:
    """Return the seconds of saving and loading 256 MiB, with and without checksums."""
    rng = np.random.default_rng(0)
    tree = {
        f"layer{i}": jnp.asarray(rng.normal(size=(1024, 4096)).astype(np.float32))
        for i in range(16)
    }
    net = pax.Module()
    net.register_state_subtree("tree", tree)
    times: dict[str, float] = {}
    for checksums in (True, False, True, False):
        steps, file, options = (
            folder / f"steps {checksums}",
            folder / "net",
            {"checksums": checksums},
        )
        start = time.perf_counter()
        moments = {
            "checkpoint: save() returns": _save_begun(steps, tree, checksums),
            "": time.perf_counter(),
            "checkpoint: loaded": _now(pax.checkpoint.load(steps, tree, **options)),
            "safetensors: saved": _now(pax.weights.save_safetensors(net, file, **options)),
            "safetensors: loaded": _now(pax.weights.load_safetensors(net, file, **options)),
        }
        for what, moment in moments.items():
            key = f"{what}, {'with' if checksums else 'without'}"
            times[key] = min(moment - start, times.get(key, moment - start))
            start = moment
    return {what: seconds for what, seconds in times.items() if not what.startswith(",")}


def _now(_: Any) -> float:
    return time.perf_counter()


def _save_begun(folder: Path, tree: Any, checksums: bool) -> float:
    """Save, and return the moment at which the training would go on."""
    with pax.checkpoint.Checkpoints(folder, keep=1, checksums=checksums) as checkpoints:
        checkpoints.save(max(checkpoints.steps, default=-1) + 1, tree)
        return time.perf_counter()


def main() -> None:
    """Run everything, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=400)
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--kills", type=int, default=200)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    for name, run in {
        f"{options.flips} flipped bits": lambda folder: flips(options.flips, folder, 0),
        f"{options.cuts} cut files": lambda folder: cuts(options.cuts, folder, 0),
        f"{options.kills} kills": lambda folder: kills(options.kills, folder, 0),
        "two that save": two_writers,
        "seconds for 256 MiB": cost,
    }.items():
        with tempfile.TemporaryDirectory() as folder:
            found = run(Path(folder))
        print(f"{name}: " + ", ".join(f"{what} {x:.3g}" for what, x in found.items()), flush=True)
    with small_disk("4m") as disk:
        found = "no tmpfs can be mounted here" if disk is None else dict(full_disk(disk))
        print(f"a full disk of 4 MiB: {found}")


if __name__ == "__main__":
    main()
