"""A module exported by its arrays runs where its class, and pax_jax, are not there."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

import pax_jax as pax

RUN = """
import sys
import numpy as np
from jax import export

folder = sys.argv[1]
program = export.deserialize(bytearray(open(f"{folder}/net.bin", "rb").read()))
arrays = dict(np.load(f"{folder}/net.npz"))
for size in (1, 4):
    np.save(f"{folder}/y{size}.npy", program.call(arrays, np.ones((size, 2), np.float32)))
assert "pax_jax" not in sys.modules
"""


class Net(pax.Module):
    def __init__(self):
        super().__init__()
        self.stack = pax.Stack(lambda key: pax.Linear(2, 2, rng_key=key), 3)
        self.norm = pax.BatchNorm1D(2)
        self.decode = pax.Linear(2, 3)

    def __call__(self, x):
        return self.decode(self.norm(self.stack(x)))


def test_a_module_runs_without_its_class(tmp_path):
    net = Net()
    net(jnp.linspace(0, 1, 8).reshape(4, 2))
    net = net.eval()

    @jax.jit
    def call(arrays, x):
        return net.load_state_dict(arrays)(x)

    (size,) = export.symbolic_shape("n")
    x = jax.ShapeDtypeStruct((size, 2), jnp.float32)
    program = export.export(call)(net.state_dict(), x)
    (tmp_path / "net.bin").write_bytes(program.serialize())
    np.savez(tmp_path / "net.npz", **net.state_dict())
    subprocess.run([sys.executable, "-c", RUN, str(tmp_path)], check=True, timeout=120)
    for size in (1, 4):
        expected = net(jnp.ones((size, 2)))
        assert np.allclose(np.load(tmp_path / f"y{size}.npy"), expected, atol=1e-6)
