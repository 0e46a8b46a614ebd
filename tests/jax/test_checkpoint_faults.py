"""Checkpoints that meet faults: kills, damage, full disks, two that save; all of it is `benchmarks/faults.py`."""

import logging
import os
import pickle
import resource
import signal
import stat
import threading

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint
import pytest

import pax_jax as pax
from benchmarks import faults
from pax_jax._storage import processes

pytestmark = [
    pytest.mark.usefixtures("quick_compilation", "quiet"),
    # Threads of orbax go on for a moment when a file cannot be read.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def quiet():
    """What orbax logs of each fault is not of interest."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_no_flipped_bit_gives_other_weights(tmp_path):
    counts = faults.flips(120, tmp_path, seed=0)
    assert counts["silently wrong"] == 0
    assert counts["does not name the file"] == 0
    assert counts["refused"] > 60


def test_no_cut_file_gives_other_weights(tmp_path):
    counts = faults.cuts(30, tmp_path, seed=0)
    assert counts["silently wrong"] == counts["does not name the file"] == 0
    assert counts["refused"] > 15


def test_every_listed_step_loads_after_a_kill(tmp_path):
    counts = faults.kills(6, tmp_path, seed=0)
    assert counts["kills"] == 6
    assert counts["listed steps that do not load"] == 0
    assert counts["steps lost"] == counts["leftovers"] == 0


def test_of_two_that_save_one_is_refused_or_comes_after_the_other(tmp_path):
    counts = faults.two_writers(tmp_path)
    assert counts["saved"] == counts["listed"] > 0
    assert counts["listed steps that do not load"] == counts["other errors"] == 0


def test_a_full_disk_leaves_what_was_there_and_no_leftovers(tmp_path):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    big = {"a": np.random.default_rng(0).normal(size=(300, 300))}
    small = {"a": np.ones((3, 3))}
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
        with pax.checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
            for step in range(6):
                tree = big if step % 3 == 2 else small
                checkpoints.save(step, tree)
                if tree is small:
                    checkpoints.wait()
                    continue
                with pytest.raises(
                    OSError, match=rf"Step {step} was not saved to .*, and what was"
                ):
                    checkpoints.wait()
            assert checkpoints.steps == [3, 4]
            assert sorted(os.listdir(tmp_path)) == ["3", "4"]
            checkpoints.save(5, small)  # the number of the one that failed
            assert (checkpoints.load(small)["a"] == 1).all()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, old)


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        pax.checkpoint.save(tmp_path / "file", {"a": np.ones(2)})


def test_leftovers_are_cleared_by_the_next_that_saves_and_no_one_else(tmp_path):
    tree = {"a": np.ones(2)}
    for step in range(4):
        pax.checkpoint.save(tmp_path, tree, keep=None)
    for name in ("9.orbax-checkpoint-tmp", "3.orbax-checkpoint-tmp-deleted"):
        (tmp_path / name).mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "007").mkdir()
    (tmp_path / "8").mkdir()  # without what a complete one has
    checkpoints = pax.checkpoint.Checkpoints(tmp_path, keep=2)
    assert checkpoints.steps == [0, 1, 2, 3]
    assert (checkpoints.load(tree)["a"] == 1).all()
    assert len(os.listdir(tmp_path)) == 9
    checkpoints.save(9, tree)
    checkpoints.close()
    assert sorted(os.listdir(tmp_path)) == ["007", "3", "8", "9", "notes"]


def test_one_saves_to_a_directory_until_it_is_closed(tmp_path):
    tree = {"a": np.ones(2)}
    first = pax.checkpoint.Checkpoints(tmp_path)
    first.save(0, tree)
    with pytest.raises(RuntimeError, match="Another process, or another `Checkpoints`, saves to"):
        pax.checkpoint.save(tmp_path, tree, 1)
    first.wait()
    assert (pax.checkpoint.load(tmp_path, tree)["a"] == 1).all()
    first.close()
    assert pax.checkpoint.save(tmp_path, tree) == 1
    first.save(2, tree)
    del first  # the system would end it with the process, Python does with the object
    assert pax.checkpoint.save(tmp_path, tree) == 3


@pytest.mark.parametrize("keep", [0, -1, True, 1.5, "2"])
def test_at_least_one_checkpoint_is_kept(keep, tmp_path):
    with pytest.raises(ValueError, match="at least 1 checkpoint is kept; None keeps all"):
        pax.checkpoint.Checkpoints(tmp_path, keep=keep)


@pytest.mark.parametrize(
    ("step", "error", "said"),
    [
        ("4", TypeError, r"Step '4' is of type str"),
        (1.0, TypeError, r"Step 1\.0 is of type float"),
        (True, TypeError, "Step True is of type bool"),
        (None, TypeError, "Step None is of type NoneType"),
        (-1, ValueError, "Step -1 is negative"),
    ],
)
def test_a_step_is_an_integer_of_0_or_more(step, error, said, tmp_path):
    with pax.checkpoint.Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(error, match=said):
            checkpoints.save(step, {"a": np.ones(2)})
        checkpoints.save(np.int64(7), {"a": np.ones(2)})
        checkpoints.wait()
        assert checkpoints.steps == [7]
        if step is not None:
            with pytest.raises(error, match=said):
                checkpoints.load({"a": np.ones(2)}, step)


def test_a_checkpoint_of_orbax_is_called_one(tmp_path):
    args = orbax.checkpoint.args
    items = {"x": args.StandardSave({"a": jnp.ones(2)})}
    for name, item in {"one": args.Composite(**items), "other": items["x"]}.items():
        with orbax.checkpoint.CheckpointManager(tmp_path / name) as manager:
            manager.save(0, args=item)
        with pytest.raises(
            ValueError, match=r"0 in .* was not saved by pax_jax\.checkpoint\. Load"
        ):
            pax.checkpoint.load(tmp_path / name, {"a": jnp.ones(2)})


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_loading_runs_no_code_whatever_a_file_holds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net, bomb = pax.Linear(2, 3), pickle.dumps(Bomb())
    pax.checkpoint.save("steps", net)
    pax.weights.save_safetensors(net, "x.safetensors")
    files = [os.path.join(at, name) for at, _, names in os.walk(".") for name in names]
    assert len(files) > 8
    for file in files:
        with open(file, "rb") as opened:
            whole = opened.read()
        with open(file, "wb") as opened:
            opened.write(bomb)
        for load in (
            lambda: pax.checkpoint.load("steps", net),
            lambda: pax.checkpoint.load_partial("steps", net),
            lambda: pax.weights.load_safetensors(net, "x.safetensors"),
            lambda: pax.weights.load_partial(net, "x.safetensors"),
        ):
            try:
                load()
            except ValueError as error:
                assert "steps" in str(error) or "x.safetensors" in str(error)  # noqa: PT017
        with open(file, "wb") as opened:
            opened.write(whole)
    assert not os.path.exists("exploded")


def test_folders_and_files_have_the_mode_of_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        pax.checkpoint.save(tmp_path / "steps", {"a": np.ones(2)})
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(tmp_path / "steps" / "0").st_mode) == 0o750
    record = tmp_path / "steps" / "0" / "structure" / "metadata"
    assert stat.S_IMODE(os.stat(record).st_mode) == 0o640


class FakeClient:
    """The store of the processes of one program, here threads."""

    def __init__(self):
        self.values = {}
        self.changed = threading.Condition()

    def key_value_set(self, name, value):
        with self.changed:
            assert name not in self.values
            self.values[name] = value
            self.changed.notify_all()

    def key_value_dir_get(self, start):
        with self.changed:
            return [(name, x) for name, x in self.values.items() if name.startswith(start)]

    def key_value_delete(self, start):
        with self.changed:
            for name in [x for x in self.values if x == start or x.startswith(f"{start}/")]:
                del self.values[name]

    def blocking_key_value_get(self, name, timeout):
        with self.changed:
            if not self.changed.wait_for(lambda: name in self.values, timeout / 1000):
                raise jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED")
            return self.values[name]


def test_processes_tell_each_other_what_they_have_and_what_failed(monkeypatch):
    monkeypatch.setattr(processes, "_PATIENCE", 0.5)
    client, count = FakeClient(), 3
    counts = [type(processes._counts)() for _ in range(count)]
    seen = {}

    def run(index):
        one = processes.Processes("d")
        one._client, one.index, one.count = client, index, count
        one._next = lambda kind: next_name(kind, index)
        seen[index] = [one.exchange([index, i]) for i in range(3)]
        task = processes.Task(client, "t", one)
        try:
            task.barrier(key="a", timeout_ms=5000)
            if index == 1:
                task.fail("disk full")
                return
            task.barrier(key="b", timeout_ms=5000)
        except processes.Failed as error:
            seen[index].append(str(error))
            task.fail("too")

    def next_name(kind, index):
        counts[index][kind] += 1
        return f"{kind}/{counts[index][kind]}"

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [[[index, i] for index in range(count)] for i in range(3)]
    assert seen == {
        0: [*everything, "it failed in process 1: disk full"],
        1: everything,
        2: [*everything, "it failed in process 1: disk full"],
    }
    lonely = processes.Processes("e")
    lonely._client, lonely.count = FakeClient(), 2
    with pytest.raises(processes.Failed, match=r"Process 1 has not come to e within 0\.5 s"):
        lonely.exchange(1)
