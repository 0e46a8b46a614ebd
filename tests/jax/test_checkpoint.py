"""Checkpoints through orbax: whole or not at all, and of the structure that is expected."""

import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pax_jax as pax

WRITER = """
import sys
import numpy as np
import pax_jax as pax

class Big(pax.StateModule):
    def __init__(self, value):
        super().__init__()
        self.rows = [np.full((256, 1024), value, np.float32) for _ in range(60)]

if __name__ == "__main__":
    checkpoints = pax.checkpoint.Checkpoints(sys.argv[1], keep=1)
    checkpoints.save(0, Big(0.0))
    checkpoints.wait()
    print("complete", flush=True)
    for step in range(1, 1000):
        checkpoints.save(step, Big(float(step)))
"""


class Net(pax.Module):
    def __init__(self, width=3):
        super().__init__()
        self.layers = [pax.Linear(2, width), pax.BatchNorm1D(width)]
        self.dropout = pax.Dropout(0.5)
        self.heads = {"a": pax.Linear(width, 1), "b": pax.Linear(width, 2, with_bias=False)}
        self.half = jnp.ones(3, jnp.bfloat16)
        self.register_state_subtree("plain", {"rows": np.arange(4), "rate": 0.5, "steps": 3})


def leaves_equal(a, b):
    def same(x, y):
        assert type(x) is type(y)
        assert getattr(x, "dtype", None) == getattr(y, "dtype", None)
        return bool(np.all(x == y))

    return jax.tree.all(jax.tree.map(same, a, b))


def test_a_module_and_its_optimizer_come_back_exactly(tmp_path):
    net = Net()
    adam = pax.optim.from_optax(optax.adam(0.1))
    optimizer = adam(net.parameters())
    net = optimizer.step(jax.tree.map(jnp.ones_like, net.parameters()), net)
    assert pax.checkpoint.save(tmp_path, (net, optimizer)) == 0
    fresh = Net()
    like = (fresh, adam(fresh.parameters()))
    assert not leaves_equal(like[0], net)
    loaded = pax.checkpoint.load(tmp_path, like)
    assert leaves_equal(loaded, (net, optimizer))
    assert type(loaded[0].plain["rows"]) is np.ndarray
    assert type(loaded[0].plain["steps"]) is int
    loaded[0].layers = loaded[0].layers[:1]  # made here, so free to change


def test_an_abstract_module_is_enough_to_load(tmp_path):
    net = pax.nets.Transformer(8, 2, 1, 0.1)
    pax.checkpoint.save(tmp_path, net)
    abstract = jax.eval_shape(lambda: pax.nets.Transformer(8, 2, 1, 0.1, rng_key=jax.random.key(1)))
    assert pax.checkpoint.load(tmp_path, abstract) == net


def test_evaluation_mode_and_other_static_attributes_are_those_of_the_target(tmp_path):
    net = Net()
    pax.checkpoint.save(tmp_path, net)
    loaded = pax.checkpoint.load(tmp_path, Net().eval())
    assert not loaded.training
    assert leaves_equal(loaded.train(), net)


def test_steps_are_kept_counted_and_found(tmp_path):
    nets = [pax.Linear(2, 2) for _ in range(4)]
    with pax.checkpoint.Checkpoints(tmp_path / "new" / "folder", keep=2) as checkpoints:
        for step, net in zip([0, 5, 6, 20], nets, strict=True):
            checkpoints.save(step, net)  # the one before may still be written
        assert checkpoints.load(nets[0]) == nets[3]
        assert checkpoints.steps == [6, 20]
        assert checkpoints.load(nets[0], step=6) == nets[2]
        with pytest.raises(
            ValueError, match=r"Step 20 cannot be saved to .*: step 20 is there already"
        ):
            checkpoints.save(20, nets[0])
        with pytest.raises(
            FileNotFoundError, match=r"No checkpoint of step 0 is in .*there are 6, 20"
        ):
            checkpoints.load(nets[0], step=0)
    assert pax.checkpoint.save(tmp_path / "new" / "folder", nets[0]) == 21
    assert pax.checkpoint.load(tmp_path / "new" / "folder", nets[1]) == nets[0]


def test_what_is_saved_does_not_follow_later_changes(tmp_path):
    net = pax.Linear(300, 300)
    expected = net.copy()
    with pax.checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, jax.tree.map(jnp.copy, net))
        step = jax.jit(lambda net: jax.tree.map(lambda x: x + 1, net), donate_argnums=0)
        donated = jax.tree.map(jnp.copy, net)
        checkpoints.save(1, donated)
        step(donated)  # its memory is reused at once
        assert checkpoints.load(net) == expected


def test_another_structure_is_an_error_that_names_every_path(tmp_path):
    pax.checkpoint.save(tmp_path, Net(3))
    other = Net(4)
    other.heads = {"a": pax.Linear(4, 1), "c": pax.Embed(4, 2)}
    other.half = jnp.ones(3, jnp.float32)
    with pytest.raises(ValueError, match="does not fit what is to be loaded") as caught:
        pax.checkpoint.load(tmp_path, other)
    lines = str(caught.value).splitlines()[1:]
    assert [line.strip() for line in lines] == [
        "heads.c is Embed, and is not in the checkpoint",
        "heads.b is in the checkpoint as Linear, and is not expected",
        "layers.0.weight is float32[2,3] in the checkpoint, expected float32[2,4]",
        "layers.0.bias is float32[3] in the checkpoint, expected float32[4]",
        *(
            f"layers.1.{name} is float32[3] in the checkpoint, expected float32[4]"
            for name in ["scale", "offset", "ema_mean", "ema_var"]
        ),
        "heads.a.weight is float32[3,1] in the checkpoint, expected float32[4,1]",
        "heads.c.weight is float32[4,2], and is not in the checkpoint",
        "half is bfloat16[3] in the checkpoint, expected float32[3]",
        "heads.b.weight is in the checkpoint as float32[3,2], and is not expected",
    ]


def test_another_class_at_the_root_is_an_error(tmp_path):
    pax.checkpoint.save(tmp_path, pax.LayerNorm(3))
    with pytest.raises(
        ValueError, match="the root is LayerNorm in the checkpoint, expected RMSNorm"
    ):
        pax.checkpoint.load(tmp_path, pax.RMSNorm(3))


def test_nothing_to_load(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No checkpoint is in .*; there are none"):
        pax.checkpoint.load(tmp_path, Net())
    with pytest.raises(FileNotFoundError, match="there are none"):
        pax.checkpoint.load(tmp_path / "nowhere", Net())
    assert not (tmp_path / "nowhere").exists()


def unfinished(folder):
    return [name for name in os.listdir(folder) if "tmp" in name]


def stopped_while_it_writes(process, folder, seconds=120):
    """Stop the process at a moment when a checkpoint is not complete."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if unfinished(folder):
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            if unfinished(folder):
                return True
            process.send_signal(signal.SIGCONT)
        time.sleep(0.002)
    return False


def test_a_killed_save_leaves_the_last_good_checkpoint(tmp_path):
    script, folder = tmp_path / "writer.py", tmp_path / "checkpoints"
    script.write_text(WRITER)
    process = subprocess.Popen(
        [sys.executable, str(script), str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "complete\n"
        assert stopped_while_it_writes(process, folder)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert unfinished(folder)
    namespace = {"__name__": "writer"}
    exec(WRITER, namespace)
    checkpoints = pax.checkpoint.Checkpoints(folder, keep=1)
    step = checkpoints.steps[-1]
    loaded = checkpoints.load(namespace["Big"](-1.0))
    assert all((row == step).all() for row in loaded.rows)
    # The next save goes on where the last good one was, and removes what is left of the other.
    checkpoints.save(step + 1, namespace["Big"](7.0))
    checkpoints.close()
    assert not unfinished(folder)
    assert (checkpoints.load(loaded).rows[0] == 7.0).all()


def test_orbax_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(
        ImportError, match=r"needs orbax\.checkpoint.*`pip install pax-jax\[orbax\]`"
    ):
        pax.checkpoint.save(tmp_path, Net())
