"""Checkpoints, by orbax: written in the background, sharded, and whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

import pax_tree
from pax_jax._extras import extra
from pax_jax._module.kinds import is_module
from pax_jax._module.partial import LoadReport, can_cast, compare
from pax_jax._module.resuming import as_saved, dotted, resumed
from pax_jax._module.state_dict import by_path
from pax_jax._storage.keys import is_key, loaded_leaf, stored_leaf
from pax_tree import GetAttrKey, record_flatten
from pax_tree._describe import dtype_and_shape

T = TypeVar("T")

_TWICE = (
    "Two leaves have the path {!r}, because a key of a dict has a dot in it. "
    "Use keys without dots where there are nested dicts too."
)


class Checkpoints:
    """The checkpoints of a training, one for each saved step, in one directory.

    A checkpoint is written beside the others and gets its name when it is complete: a process that
    is killed while it saves leaves those before it as they were.

    Args:
        directory: where they are, or will be; a path, or an address that orbax knows ("gs://...").
        keep: how many of the latest to keep; `None` keeps all.

    Raises:
        ImportError: orbax is not installed.

    Example:
        >>> import tempfile
        >>> import pax_jax as pax
        >>> net = pax.Linear(2, 3)
        >>> with pax.checkpoint.Checkpoints(tempfile.mkdtemp(), keep=2) as checkpoints:
        ...     for step in range(3):
        ...         checkpoints.save(step, net)
        ...     checkpoints.wait()
        ...     checkpoints.steps, checkpoints.load(pax.Linear(2, 3)) == net
        ([1, 2], True)
    """

    def __init__(self, directory: str | os.PathLike[str], keep: int | None = 3) -> None:
        self._orbax = extra("orbax.checkpoint", "pax_jax.checkpoint", "orbax")
        self.directory = _absolute(directory)
        self._keep = keep
        self._open: Any = None

    def save(self, step: int, tree: Any) -> None:
        """Save a module, or any pytree; the arrays are copied at once and written later.

        Args:
            step: its number, more than those before it.
            tree: what to save. `load` returns the latest complete step.

        Raises:
            ValueError: the step is not a number more than the latest.
        """
        latest = max(self.steps, default=-1)
        if step <= latest:
            raise ValueError(
                f"Step {step} cannot be saved to {self.directory}: step {latest} is there already, "
                "and the number of a step is more than those before it."
            )
        arrays = {path: stored_leaf(leaf) for path, leaf in by_path(tree, _TWICE).items()}
        args = self._orbax.args
        self._manager().save(
            step,
            args=args.Composite(
                arrays=args.StandardSave(arrays), structure=args.JsonSave(_structure_of(tree))
            ),
        )

    def load(self, like: T, step: int | None = None, *, cast: bool = False) -> T:
        """Return what was saved.

        Args:
            like: a tree of the same structure, whose leaves say shape, dtype and sharding: a module
                that was just made, or `jax.eval_shape` of the function that makes it.
            step: which one; the latest by default.
            cast: as in `Module.load_state_dict`.

        Raises:
            FileNotFoundError: there is no such checkpoint.
            ValueError: it has another structure than `like`; the message names every path.
        """
        step, stored = self._stored(step)
        form = as_saved(like, stored["leaves"])
        self._check(step, stored, form, cast)
        arrays = self._arrays(step, by_path(form, _TWICE))
        return resumed(pax_tree.tree_structure(form).unflatten(arrays.values()), like)

    def load_partial(
        self, like: T, step: int | None = None, *, cast: bool = False
    ) -> tuple[T, LoadReport]:
        """Return a tree with those saved arrays that fit it, and a report of what was taken.

        Everything that was saved is read, also what is not taken.

        Args:
            like: any tree of arrays; where nothing fits its own leaves stay.
            step: which checkpoint; the latest by default.
            cast: as in `Module.load_state_dict`; an array of another dtype does not fit without it.

        Raises:
            FileNotFoundError: there is no such checkpoint.
            ValueError: nothing fits, or a leaf for which nothing does has no value, only a shape.
        """
        step, stored = self._stored(step)
        form = as_saved(like, stored["leaves"])
        leaves = by_path(form, _TWICE)
        what = f"the checkpoint of step {step} in {self.directory}"
        report = compare(leaves, stored["leaves"], cast, what)
        taken = {path: leaves[path] for path in report.taken}
        for path in leaves:
            if path not in taken and isinstance(leaves[path], jax.ShapeDtypeStruct):
                raise ValueError(f"{path} has no value, and nothing of {what} fits it.")
        rest = {
            path: _described(text) for path, text in stored["leaves"].items() if path not in taken
        }
        arrays = {**leaves, **self._arrays(step, taken, rest)}
        return resumed(pax_tree.tree_structure(form).unflatten(arrays.values()), like), report

    def _stored(self, step: int | None) -> tuple[int, Mapping[str, Any]]:
        """Return the number of a checkpoint, and the record of its structure."""
        self.wait()
        manager, args = self._manager(reading=True), self._orbax.args
        step = self._found(manager, step)
        stored = manager.restore(step, args=args.Composite(structure=args.JsonRestore())).structure
        manager.close()
        if stored is None:
            raise ValueError(
                f"The checkpoint of step {step} in {self.directory} was not saved by "
                "pax_jax.checkpoint. Load it with orbax."
            )
        return step, stored

    def _arrays(
        self, step: int, leaves: Mapping[str, Any], others: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Read the leaves of a checkpoint; `others` are those that it has besides, which go."""
        manager, args = self._manager(reading=True), self._orbax.args
        wanted = {path: _abstract_leaf(leaf) for path, leaf in leaves.items()} | dict(others or {})
        item = args.Composite(arrays=args.StandardRestore(wanted))
        arrays = manager.restore(step, args=item).arrays
        manager.close()
        return {path: loaded_leaf(leaf, arrays[path]) for path, leaf in leaves.items()}

    @property
    def steps(self) -> list[int]:
        """The numbers of the complete checkpoints, in order."""
        manager = self._manager(reading=True)
        steps = sorted(manager.all_steps())
        manager.close()
        return steps

    def wait(self) -> None:
        """Wait until everything saved is written, and raise what went wrong with it."""
        if self._open is not None:
            self._open.wait_until_finished()

    def close(self) -> None:
        """Wait, and end the threads that write."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _manager(self, reading: bool = False) -> Any:
        """Return orbax's manager: a new one to read, which touches nothing, or the one to write."""
        if reading:
            options = self._orbax.CheckpointManagerOptions(create=False)
            return self._orbax.CheckpointManager(self.directory, options=options)
        if self._open is None:
            options = self._orbax.CheckpointManagerOptions(
                max_to_keep=self._keep, cleanup_tmp_directories=True
            )
            self._open = self._orbax.CheckpointManager(self.directory, options=options)
        return self._open

    def _found(self, manager: Any, step: int | None) -> int:
        steps = sorted(manager.all_steps())
        if not steps or (step is not None and step not in steps):
            wanted = "No checkpoint" if step is None else f"No checkpoint of step {step}"
            there = f"there are {', '.join(map(str, steps))}" if steps else "there are none"
            raise FileNotFoundError(f"{wanted} is in {self.directory}; {there}.")
        return steps[-1] if step is None else step

    def _check(self, step: int, stored: Mapping[str, Any], like: Any, cast: bool) -> None:
        expected = _structure_of(like)
        problems = [
            line for what in expected for line in _misfits(stored[what], expected[what], cast)
        ]
        if problems:
            raise ValueError(
                f"The checkpoint of step {step} in {self.directory} does not fit what is to be "
                "loaded:\n  " + "\n  ".join(problems)
            )


def _absolute(directory: str | os.PathLike[str]) -> str:
    path = os.fspath(directory)
    return path if "://" in path else os.path.abspath(path)


def save(
    directory: str | os.PathLike[str], tree: Any, step: int | None = None, keep: int | None = 3
) -> int:
    """Save a module, or any pytree, and wait until it is written.

    Args:
        directory: as in `Checkpoints`.
        tree: what to save.
        step: its number; one more than the latest by default.
        keep: how many of the latest to keep; `None` keeps all.

    Returns:
        The number of the step.

    Raises:
        ImportError: orbax is not installed.
        ValueError: the step is not a number more than the latest.

    Example:
        >>> import tempfile
        >>> import pax_jax as pax
        >>> directory, net = tempfile.mkdtemp(), pax.Linear(2, 3)
        >>> pax.checkpoint.save(directory, net)
        0
        >>> pax.checkpoint.load(directory, pax.Linear(2, 3)) == net
        True
    """
    with Checkpoints(directory, keep) as checkpoints:
        step = max(checkpoints.steps, default=-1) + 1 if step is None else step
        checkpoints.save(step, tree)
    return step


def load(
    directory: str | os.PathLike[str], like: T, step: int | None = None, *, cast: bool = False
) -> T:
    """Return what `save` saved; arguments and errors as in `Checkpoints.load`.

    Example:
        >>> import jax, tempfile
        >>> import pax_jax as pax
        >>> directory, net = tempfile.mkdtemp(), pax.Linear(2, 3)
        >>> step = pax.checkpoint.save(directory, net)
        >>> like = jax.eval_shape(lambda: pax.Linear(2, 3, rng_key=jax.random.key(0)))
        >>> pax.checkpoint.load(directory, like) == net
        True
    """
    with Checkpoints(directory) as checkpoints:
        return checkpoints.load(like, step, cast=cast)


def load_partial(
    directory: str | os.PathLike[str], like: T, step: int | None = None, *, cast: bool = False
) -> tuple[T, LoadReport]:
    """Return a tree with what fits it of what `save` saved; as in `Checkpoints.load_partial`.

    Example:
        >>> import tempfile
        >>> import pax_jax as pax
        >>> directory = tempfile.mkdtemp()
        >>> step = pax.checkpoint.save(directory, pax.Linear(2, 3))
        >>> net = pax.Linear(2, 3, with_bias=False)
        >>> net, report = pax.checkpoint.load_partial(directory, net)
        >>> report.taken, report.unknown
        (('weight',), ('bias',))
    """
    with Checkpoints(directory) as checkpoints:
        return checkpoints.load_partial(like, step, cast=cast)


def _described(text: str) -> Any:
    """Return the array that `float32[2,3]` stands for, as it is stored."""
    name, _, shape = text.removesuffix("]").partition("[")
    if "[" not in text:
        return jax.ShapeDtypeStruct(
            (), jnp.result_type({"int": int, "bool": bool}.get(text, float))
        )
    sizes = tuple(int(size) for size in shape.split(",") if size)
    if name.startswith("key<"):
        return jax.ShapeDtypeStruct((*sizes, 2 if "fry" in name else 4), jnp.uint32)
    return jax.ShapeDtypeStruct(sizes, jnp.dtype(name))


def _abstract_leaf(leaf: Any) -> Any:
    """Return shape, dtype and sharding of the array that stands for a leaf."""
    stored = jax.eval_shape(jax.random.key_data, leaf) if is_key(leaf) else leaf
    if isinstance(stored, np.ndarray) or not hasattr(stored, "shape"):
        return leaf
    sharding = getattr(leaf, "sharding", None)
    if sharding is None:
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(stored.shape, stored.dtype, sharding=sharding)


def _structure_of(tree: Any) -> dict[str, dict[str, str]]:
    """Return the dtype and shape of every leaf, and the class of every module, by path."""
    return {
        "modules": {dotted(path): name for path, name in _classes(tree, ())},
        "leaves": {path: dtype_and_shape(leaf) for path, leaf in by_path(tree, _TWICE).items()},
    }


def _misfits(stored: Mapping[str, str], expected: Mapping[str, str], cast: bool) -> Iterator[str]:
    for path in [*expected, *(path for path in stored if path not in expected)]:
        saved, wanted = stored.get(path), expected.get(path)
        where = path or "the root"
        if saved is None:
            yield f"{where} is {wanted}, and is not in the checkpoint"
        elif wanted is None:
            yield f"{where} is in the checkpoint as {saved}, and is not expected"
        elif saved != wanted and not (cast and can_cast(saved, wanted)):
            yield f"{where} is {saved} in the checkpoint, expected {wanted}"


def _classes(tree: Any, prefix: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
    for path, leaf in pax_tree.tree_leaves_with_path(tree, is_leaf=is_module):
        if is_module(leaf):
            here = (*prefix, *path)
            yield here, type(leaf).__name__
            children, spec = record_flatten(leaf)
            for name, child in zip(spec.names, children, strict=True):
                yield from _classes(child, (*here, GetAttrKey(name)))
