"""Exported programs of lowered modules; JAX serializes them with flatbuffers, which no package brings."""

import subprocess
import sys

import jax
import numpy as np
import torch
from torch import nn

from torch2jax_bridge import torch2jax

X = np.linspace(-2, 2, 15, dtype=np.float32).reshape(5, 3)


def test_exported_programs_run_without_pytorch(tmp_path):
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.GELU())
    apply, params, _ = torch2jax(net, backend="xla", strict=True)

    def predict(x):
        return apply(params, x, is_training=False)[0]

    exported = jax.export.export(jax.jit(predict), platforms=("cpu", "cuda", "tpu"))(X)
    (tmp_path / "program").write_bytes(exported.serialize())
    np.save(tmp_path / "x.npy", X)
    program = (
        "import sys, jax, numpy as np; from pathlib import Path\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "exported = jax.export.deserialize((folder / 'program').read_bytes())\n"
        "np.save(folder / 'out.npy', exported.call(np.load(folder / 'x.npy')))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    expected = net.eval()(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-5, atol=1e-6)
