"""Checkpoints, by orbax: written in the background, sharded, and whole or not at all."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np

import pax_tree
from pax_jax._extras import extra
from pax_jax._module.partial import LoadReport, compare
from pax_jax._module.resuming import as_saved, resumed
from pax_jax._module.state_dict import by_path
from pax_jax._storage.files import file_path
from pax_jax._storage.processes import Failed, Processes, Task
from pax_jax._storage.reading import ArraysReader, is_spread
from pax_jax._storage.record import (
    TWICE,
    Saved,
    added,
    checked,
    difference,
    fingerprint,
    misfits,
    saved,
    stored_name,
    structure_of,
    with_checksum,
)
from pax_jax._storage.steps import StepDirectory, WriterLock, checked_count, checked_step

T = TypeVar("T")


class Checkpoints:
    """The checkpoints of a training, one for each saved step, in one directory.

    A checkpoint is written beside the others and gets its name when it is complete and on the disk: a
    process that is killed while it saves leaves those before it as they were. What it leaves besides is
    cleared when the next one begins to save. One `Checkpoints` saves to a directory, from its first
    `save` to `close`; any number may load. In a program of several processes all of them save and
    load together; `steps` waits for no one.

    Args:
        directory: where they are, or will be; a path, or an address that orbax knows ("gs://...").
        keep: how many of the latest to keep; `None` keeps all.
        checksums: whether one for each array is saved, and compared when it is loaded.

    Raises:
        ImportError: orbax is not installed.
        ValueError: `keep` is less than 1.

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

    __static_by_identity__ = True

    def __init__(
        self, directory: str | os.PathLike[str], keep: int | None = 3, *, checksums: bool = True
    ) -> None:
        self._orbax = extra("orbax.checkpoint", "pax_jax.checkpoint", "orbax")
        self.directory = _absolute(directory)
        self._keep = None if keep is None else checked_count(keep)
        self._checksums = checksums
        self._folders = StepDirectory(self.directory, extra("etils.epath", "pax_jax.checkpoint"))
        self._processes = Processes(self.directory)
        self._lock: WriterLock | None = None
        self._running: _Running | None = None

    def save(self, step: int, tree: Any) -> None:
        """Save a module, or any pytree; the arrays are copied at once and written later.

        Args:
            step: its number, 0 or more, and more than those before it.
            tree: what to save: arrays of JAX and NumPy, numbers and strings. `load` returns the latest
                complete step.

        Raises:
            TypeError: the step is not an integer.
            ValueError: the step is not a number more than the latest, or a leaf cannot be saved; the
                message says its path.
            RuntimeError: another process or another `Checkpoints` saves to this directory, or saving
                failed in another process of this program.
            OSError: the save before this one failed.
        """
        self._start(tree, lambda: checked_step(step))

    def _start(self, tree: Any, choose: Callable[[], int]) -> int:
        """Begin to save; `choose` returns the step, when no one else can save any more."""
        self.wait()
        step, prepared, error = -1, None, None
        try:
            self._check_step(step := choose())
            prepared = saved(tree, self._checksums)
            self._open()
            self._check_step(step := choose())
        except Exception as found:
            error = found
        record = self._agreed(step, prepared, error)
        assert prepared is not None
        self._running = _Running(self, step, prepared.arrays, record)
        return step

    def _next(self) -> int:
        return max(self.steps, default=-1) + 1

    def _check_step(self, step: int) -> None:
        latest = max(self.steps, default=-1)
        if step <= latest:
            raise ValueError(
                f"Step {step} cannot be saved to {self.directory}: step {latest} is there already, "
                "and the number of a step is more than those before it."
            )

    def _open(self) -> None:
        """Become the one that saves, and clear what those before have left."""
        if self._lock is None and not self._processes.index:
            self._lock = self._folders.lock()
            self._folders.clear()
            self._folders.keep_latest(self._keep)

    def _agreed(self, step: int, prepared: Saved | None, error: Exception | None) -> dict[str, Any]:
        """Return the record that all processes save.

        Raises:
            RuntimeError: saving failed in another process, or they have not the same to save.
        """
        reason = None if error is None else f"{type(error).__name__}: {error}"
        record = {} if prepared is None else prepared.record
        sums = {} if prepared is None else prepared.sums
        exchange, what = self._processes.exchange, f"Step {step} was not saved to {self.directory}"
        told = exchange([reason, [step, fingerprint(record)], list(sums.values())])
        if error is not None:
            raise error
        for index, (their_reason, _, _) in enumerate(told):
            if their_reason is not None:
                raise Failed(f"{what}: saving failed in process {index}: {their_reason}")
        if any(theirs != told[0][1] for _, theirs, _ in told):
            ours, *others = exchange([step, record])
            index, theirs = next((i, x) for i, x in enumerate(others, 1) if x != ours)
            raise Failed(
                f"{what}: processes save different things. {difference(ours, theirs, index)}."
            )
        parts = [dict(zip(sums, theirs, strict=True)) for _, _, theirs in told]
        arrays = {} if prepared is None else prepared.arrays
        each = [path for path in sums if isinstance(arrays[path], np.ndarray)]  # all have all of it
        for path in each:
            if len({part[path] for part in parts}) > 1:
                raise Failed(f"{what}: processes save different things. {path} has other numbers.")
        checksums = {**added(parts), **added([{path: sums[path] for path in each}])}
        return with_checksum({**record, "checksums": checksums})

    def load(self, like: T, step: int | None = None, *, cast: bool = False) -> T:
        """Return what was saved.

        Args:
            like: a tree of the same structure, whose leaves say shape, dtype and sharding: a module
                that was just made, or `jax.eval_shape` of the function that makes it.
            step: which one; the latest by default.
            cast: as in `Module.load_state_dict`.

        Raises:
            FileNotFoundError: there is no such checkpoint.
            ValueError: it has another structure than `like`; the message names every path. Or it is
                damaged, or not one of ours.
        """
        with self._processes.together(f"Loading from {self.directory}", is_spread(like)):
            step, record = self._record(step)
            form = as_saved(like, record["leaves"])
            problems = list(misfits(record, structure_of(form), cast))
            if problems:
                raise ValueError(
                    f"The checkpoint of step {step} in {self.directory} does not fit what is to be "
                    "loaded:\n  " + "\n  ".join(problems)
                )
        leaves = by_path(form, TWICE)
        found = self._reader(step, record).read(leaves, list(leaves))
        return resumed(pax_tree.tree_structure(form).unflatten(found.values()), like)

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
            ValueError: nothing fits, or a leaf for which nothing does has no value, only a shape. Or
                the checkpoint is damaged, or not one of ours.
        """
        with self._processes.together(f"Loading from {self.directory}", is_spread(like)):
            step, record = self._record(step)
            form = as_saved(like, record["leaves"])
            leaves = by_path(form, TWICE)
            what = f"the checkpoint of step {step} in {self.directory}"
            report = compare(leaves, record["leaves"], cast, what)
            for path in leaves:
                if path not in report.taken and isinstance(leaves[path], jax.ShapeDtypeStruct):
                    raise ValueError(f"{path} has no value, and nothing of {what} fits it.")
        found = {**leaves, **self._reader(step, record).read(leaves, report.taken)}
        return resumed(pax_tree.tree_structure(form).unflatten(found.values()), like), report

    def _record(self, step: int | None) -> tuple[int, Mapping[str, Any]]:
        """Return the number of a checkpoint, and the record of what is in it."""
        self.wait()
        step = self._found(step)
        folder = self._folders.folder(step)
        what = f"The checkpoint of step {step} in {self.directory}"
        if not (folder / "structure").exists():
            raise ValueError(f"{what} was not saved by pax_jax.checkpoint. Load it with orbax.")
        file = folder / "structure" / "metadata"
        try:
            record = checked(json.loads(file.read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{what} is damaged: {file} is no record of it ({error!r})."
            ) from error
        if record is None:
            raise ValueError(
                f"{what} is damaged: the checksum of {file} is not the one that was saved with it."
            )
        return step, record

    def _reader(self, step: int, record: Mapping[str, Any]) -> ArraysReader:
        what = f"the checkpoint of step {step} in {self.directory}"
        folder = self._folders.folder(step) / "arrays"
        return ArraysReader(self._orbax, folder, what, record, self._processes, self._checksums)

    def _found(self, step: int | None) -> int:
        steps = self.steps
        step = None if step is None else checked_step(step)
        if not steps or (step is not None and step not in steps):
            wanted = "No checkpoint" if step is None else f"No checkpoint of step {step}"
            there = f"there are {', '.join(map(str, steps))}" if steps else "there are none"
            raise FileNotFoundError(f"{wanted} is in {self.directory}; {there}.")
        return steps[-1] if step is None else step

    @property
    def steps(self) -> list[int]:
        """The numbers of the complete checkpoints, in order."""
        return self._folders.steps()

    def wait(self) -> None:
        """Wait until everything saved is written.

        Raises:
            OSError: it could not be. What was written of it is gone, and the checkpoints before it stay.
        """
        running, self._running = self._running, None
        if running is not None:
            running.wait()

    def close(self) -> None:
        """Wait, and let others save to this directory."""
        try:
            self.wait()
        finally:
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Running:
    """A save that goes on in the background."""

    def __init__(
        self, checkpoints: Checkpoints, step: int, arrays: Mapping[str, Any], record: Any
    ) -> None:
        self._step = step
        self._folders = checkpoints._folders
        self._directory = checkpoints.directory
        self._keep = checkpoints._keep
        self._lock: Any = checkpoints._lock  # held until this is over
        self._is_first = not checkpoints._processes.index
        self._task: Task = checkpoints._processes.task()
        self._error: Exception | None = None
        orbax, folders = checkpoints._orbax, self._folders
        self._checkpointer: Any = orbax.AsyncCheckpointer(
            orbax.CompositeCheckpointHandler(),
            async_options=orbax.options.AsyncOptions(
                barrier_sync_fn=self._task.barrier,
                post_finalization_callback=lambda: folders.sync(step),
                create_directories_asynchronously=False,
            ),
        )
        items = {"structure": orbax.args.JsonSave(record)}
        if arrays:
            named = {stored_name(path): array for path, array in arrays.items()}
            items["arrays"] = orbax.args.PyTreeSave(named)
        try:
            self._checkpointer.save(self._folders.folder(step), args=orbax.args.Composite(**items))
        except Exception as error:
            self._fail(error)
        self._thread = threading.Thread(target=self._finish, name="pax_jax.checkpoint")
        self._thread.start()

    def wait(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise OSError(
                f"Step {self._step} was not saved to {self._directory}, and what was written of it is "
                f"gone: {self._error}"
            ) from self._error

    def _finish(self) -> None:
        try:
            if self._error is None:
                self._checkpointer.wait_until_finished()
                self._after()
        except Exception as error:
            self._fail(error)
        finally:
            self._checkpointer.close()
            self._checkpointer = self._lock = None

    def _after(self) -> None:
        """Make the checkpoint last, and delete those that are not kept."""
        if self._is_first:
            self._folders.sync()
            self._folders.keep_latest(self._keep)

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._task.fail(str(error))
        if self._is_first:
            try:
                self._folders.clear()
                self._folders.keep_latest(self._keep)
            except OSError as another:
                error.add_note(f"What was written of it could not be deleted: {another}")


def _absolute(directory: str | os.PathLike[str]) -> str:
    path = file_path(directory)
    return path if "://" in path else os.path.abspath(path)


def save(
    directory: str | os.PathLike[str],
    tree: Any,
    step: int | None = None,
    keep: int | None = 3,
    *,
    checksums: bool = True,
) -> int:
    """Save a module, or any pytree, and wait until it is written.

    Args:
        directory: as in `Checkpoints`.
        tree: what to save.
        step: its number; one more than the latest by default.
        keep: how many of the latest to keep; `None` keeps all.
        checksums: as in `Checkpoints`.

    Returns:
        The number of the step.

    Raises:
        ImportError: orbax is not installed.
        ValueError: the step is not a number more than the latest, or a leaf cannot be saved.
        RuntimeError: another process or another `Checkpoints` saves to this directory.
        OSError: it could not be written.

    Example:
        >>> import tempfile
        >>> import pax_jax as pax
        >>> directory, net = tempfile.mkdtemp(), pax.Linear(2, 3)
        >>> pax.checkpoint.save(directory, net)
        0
        >>> pax.checkpoint.load(directory, pax.Linear(2, 3)) == net
        True
    """
    with Checkpoints(directory, keep, checksums=checksums) as checkpoints:
        choose = checkpoints._next if step is None else lambda: checked_step(step)
        return checkpoints._start(tree, choose)


def load(
    directory: str | os.PathLike[str],
    like: T,
    step: int | None = None,
    *,
    cast: bool = False,
    checksums: bool = True,
) -> T:
    """Return what `save` saved; errors as in `Checkpoints.load`.

    Args:
        directory: as in `Checkpoints`.
        like: a tree of the same structure, whose leaves say shape, dtype and sharding.
        step: which step; the latest by default.
        cast: as in `Module.load_state_dict`.
        checksums: as in `Checkpoints`.

    Example:
        >>> import jax, tempfile
        >>> import pax_jax as pax
        >>> directory, net = tempfile.mkdtemp(), pax.Linear(2, 3)
        >>> step = pax.checkpoint.save(directory, net)
        >>> like = jax.eval_shape(lambda: pax.Linear(2, 3, rng_key=jax.random.key(0)))
        >>> pax.checkpoint.load(directory, like) == net
        True
    """
    with Checkpoints(directory, checksums=checksums) as checkpoints:
        return checkpoints.load(like, step, cast=cast)


def load_partial(
    directory: str | os.PathLike[str],
    like: T,
    step: int | None = None,
    *,
    cast: bool = False,
    checksums: bool = True,
) -> tuple[T, LoadReport]:
    """Return a tree with what fits it of what `save` saved; as in `Checkpoints.load_partial`.

    Args:
        directory: as in `Checkpoints`.
        like: any tree of arrays; where nothing fits its own leaves stay.
        step: which checkpoint; the latest by default.
        cast: as in `Module.load_state_dict`; an array of another dtype does not fit without it.
        checksums: as in `Checkpoints`.

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
    with Checkpoints(directory, checksums=checksums) as checkpoints:
        return checkpoints.load_partial(like, step, cast=cast)
