"""What a user waits for: imports, the first step of a program, epochs, a network of the other library."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import torch
from torch.nn.functional import cross_entropy

from benchmarks import cifar_nets
from benchmarks.case import Case, Program
from benchmarks.suites.bridge import training
from benchmarks.suites.torch import cifar_net, pax_torch_step, plain_step, resnet18
from benchmarks.threads import one_torch_thread
from benchmarks.torch_models import resnet18 as large_resnet18

TIMED_IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
TIMED_PROGRAM = "import time; t = time.perf_counter()\n{}\nprint(time.perf_counter() - t)"
BATCHES = 8
BATCH = 128
FIRST_STEPS = {
    "pax_tree": "import pax_tree; pax_tree.tree_map(abs, {'a': [1, 2]})",
    "pax_torch": (
        "import torch, pax_torch as pax\n"
        "o = pax.functional_optimizer(torch.optim.SGD, lr=0.1); w = torch.ones(8)\n"
        "o.step(w, pax.grad(lambda w: (w ** 2).sum())(w), o.init(w))"
    ),
    "pax_jax": (
        "import jax, jax.numpy as jnp, pax_jax as pax\n"
        "pax.seed_rng_key(0); net = pax.Linear(8, 8); loss = lambda p, n, x: n.update(p)(x).sum()\n"
        "jax.jit(jax.grad(loss))(net.parameters(), net, jnp.ones((2, 8))).weight.block_until_ready()"
    ),
    "opax": (
        "import jax, jax.numpy as jnp, opax\n"
        "w = jnp.ones(8); o = opax.sgd(0.1)(w)\n"
        "jax.jit(opax.apply_gradients)(w, o, w)[0].block_until_ready()"
    ),
    "torch2jax_bridge": (
        "import jax, jax.numpy as jnp, torch; from torch2jax_bridge import torch2jax\n"
        "f = torch2jax(torch.nn.functional.softplus)\n"
        "jax.jit(jax.grad(lambda x: f(x).sum()))(jnp.ones(8)).block_until_ready()"
    ),
}
PEERS_FIRST_STEPS = {
    "pax_jax": {
        "equinox": (
            "import jax, jax.numpy as jnp, equinox as eqx\n"
            "net = eqx.nn.Linear(8, 8, key=jax.random.key(0))\n"
            "loss = lambda n, x: jax.vmap(n)(x).sum()\n"
            "eqx.filter_jit(eqx.filter_grad(loss))(net, jnp.ones((2, 8))).weight.block_until_ready()"
        ),
        "flax": (
            "import jax, jax.numpy as jnp; from flax import nnx\n"
            "net = nnx.Linear(8, 8, rngs=nnx.Rngs(0)); loss = lambda n, x: n(x).sum()\n"
            "grads = nnx.jit(nnx.grad(loss))(net, jnp.ones((2, 8)))\n"
            "grads.kernel.get_value().block_until_ready()"
        ),
    },
    "pax_torch": {
        "torchopt": (
            "import torch, torchopt; w = (torch.ones(8, requires_grad=True),)\n"
            "o = torchopt.sgd(0.1); s = o.init(w); g = torch.autograd.grad((w[0] ** 2).sum(), w)\n"
            "u, s = o.update(g, s); torchopt.apply_updates(w, u)"
        ),
    },
}
PLAIN_TORCH = (
    "import torch; w = torch.ones(8, requires_grad=True); o = torch.optim.SGD([w], lr=0.1)\n"
    "(w ** 2).sum().backward(); o.step()"
)
PLAIN_JAX = (
    "import jax, jax.numpy as jnp; w = {'w': jnp.ones((8, 8)), 'b': jnp.zeros(8)}\n"
    "loss = lambda w, x: (x @ w['w'] + w['b']).sum()\n"
    "jax.jit(jax.grad(loss))(w, jnp.ones((2, 8)))['w'].block_until_ready()"
)


def cases(device: str) -> Iterator[Case]:
    """Imports and first steps in fresh processes, then whole epochs in this one."""
    yield from imports()
    yield from first_steps()
    yield from torch_epochs(device)
    with jax.default_device(jax.devices(device)[0]):
        yield jax_epoch()
    yield from torch_in_jax(device)


def imports() -> Iterator[Case]:
    """Each package beside what it stands on, which is its limit, and beside its peers."""
    yield imported("pax_tree", peers={"optree": "optree", "dm-tree": "tree"})
    yield imported("pax_torch", limit=("torch", "torch"), peers={"torchopt": "torchopt"})
    yield imported(
        "pax_jax", limit=("jax", "jax"), peers={"equinox": "equinox", "flax": "flax.nnx"}
    )
    yield imported("opax", limit=("optax", "optax"))
    yield imported("torch2jax_bridge", limit=("torch and jax", "torch, jax"))


def imported(
    name: str, limit: tuple[str, str] | None = None, peers: dict[str, str] | None = None
) -> Case:
    return fresh(
        f"import-{name}",
        "import time",
        TIMED_IMPORT.format(name),
        peers={peer: TIMED_IMPORT.format(modules) for peer, modules in (peers or {}).items()},
        limit=(limit[0], TIMED_IMPORT.format(limit[1])) if limit else None,
    )


def first_steps() -> Iterator[Case]:
    """From the first import to the result of the first step, compilation included."""
    limits = {"pax_torch": ("plain torch", PLAIN_TORCH), "pax_jax": ("plain JAX", PLAIN_JAX)}
    for name, program in FIRST_STEPS.items():
        limit = limits.get(name)
        yield fresh(
            f"first_step-{name}",
            "time to the first step",
            TIMED_PROGRAM.format(program),
            peers={
                peer: TIMED_PROGRAM.format(its)
                for peer, its in PEERS_FIRST_STEPS.get(name, {}).items()
            },
            limit=(limit[0], TIMED_PROGRAM.format(limit[1])) if limit else None,
        )


def fresh(
    case: str,
    metric: str,
    program: str,
    peers: dict[str, str] | None = None,
    limit: tuple[str, str] | None = None,
) -> Case:
    """A case whose programs print their own seconds, each time in an interpreter of its own."""
    return Case(
        suite="end_to_end",
        case=case,
        metric=metric,
        unit="ms",
        self_measured=True,
        ours=partial(milliseconds, program),
        peers={peer: partial(milliseconds, its) for peer, its in (peers or {}).items()},
        limit=(limit[0], partial(milliseconds, limit[1])) if limit else None,
    )


def milliseconds(program: str) -> float:
    """Runs a program in a new interpreter that ignores this one's settings."""
    command = [sys.executable, "-I", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return 1e3 * float(done.stdout)


def torch_epochs(device: str) -> Iterator[Case]:
    """Epochs over random images of CIFAR-10's shape: pax_torch beside plain PyTorch, memory donated."""
    torch.manual_seed(0)
    for name, net, batch, batches in (
        ("tiny", cifar_net(), BATCH, BATCHES),
        ("resnet18", resnet18(), 16, 2),
    ):
        data = torch.randn(batch, 3, 32, 32), torch.randint(10, (batch,))
        x, y = (tensor.to(device) for tensor in data)
        net = net.to(device)
        with one_torch_thread():
            yield Case(
                suite="end_to_end",
                case=f"torch_epoch-{name}",
                ours=repeated(pax_torch_step(net, cross_entropy, (x, y), True), batches),
                limit=(
                    "plain torch",
                    repeated(plain_step(net, cross_entropy, (x, y)), batches),
                ),
            )


def repeated(step: Program, times: int) -> Program:
    def epoch() -> None:
        for _ in range(times):
            step()

    return epoch


def jax_epoch() -> Case:
    """The same network in pax_jax with opax, in flax and equinox with optax."""
    keys = jax.random.split(jax.random.key(0), BATCHES)
    batches = [
        (jax.random.normal(key, (BATCH, 32, 32, 3)), jax.random.randint(key, (BATCH,), 0, 10))
        for key in keys
    ]
    net = cifar_nets.PaxNet()
    return Case(
        suite="end_to_end",
        case="jax_epoch-tiny",
        ours=cifar_nets.pax_epoch(net, batches),
        peers={
            "flax + optax": cifar_nets.flax_epoch(net, batches),
            "equinox + optax": cifar_nets.equinox_epoch(net, batches),
        },
        finish=jax.block_until_ready,
        agree=partial(jnp.allclose, rtol=1e-3, atol=1e-4),
    )


def torch_in_jax(device: str) -> Iterator[Case]:
    """A training step of a PyTorch ResNet-18 as a jitted JAX program, beside native PyTorch."""
    images = jnp.linspace(-1.0, 1.0, 16 * 3 * 96 * 96).reshape(16, 3, 96, 96)
    with one_torch_thread(), jax.default_device(jax.devices(device)[0]):
        step = training("torch_resnet18-in_jax", large_resnet18().to(device), images)
        yield replace(step, suite="end_to_end")
