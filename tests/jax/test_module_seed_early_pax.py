"""Every Python block of the early Pax's README, in its order, each under the heading it stands below.

Changed are the import, `jax.tree_map` (today `jax.tree.map`) and the argument of `hk.LSTM`, which is
`hidden_size`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pax_jax as pax

BLOCKS = {
    "getting started": """
import jax
import jax.numpy as jnp
import pax_jax as pax

class Counter(pax.Module):
    def __init__(self, start_value: int = 0):
        super().__init__()
        self.register_state("counter", jnp.array(start_value))
        self.register_parameter("bias", jnp.array(0.0))


    def __call__(self, x):
        self.counter = self.counter + 1
        return self.counter * x + self.bias

def loss_fn(params: Counter, model: Counter, x:  jnp.ndarray):
    model = model.update(params)
    y = model(x)
    loss = jnp.mean(jnp.square(x - y))
    return loss, (loss, model)

grad_fn = jax.grad(loss_fn, has_aux=True)

net = Counter(3)
x = jnp.array(10.)
grads, (loss, net) = grad_fn(net.parameters(), net, x)
print(grads.counter) # None
print(grads.bias) # 60.0
""",
    "modules": """
import haiku as hk
mylstm = pax.from_haiku(hk.LSTM)(hidden_size=hidden_dim)
""",
    "modules: hk_init": """
dummy_x = np.empty((1, hidden_dim), dtype=np.float32)
dummy_hx = hk.LSTMState(dummy_x, dummy_x)
mylstm = mylstm.hk_init(dummy_x, dummy_hx)
""",
    "optimizers": """
class SGD(pax.Optimizer):
    velocity: pax.Module
    learning_rate: float
    momentum: float

    def __init__(self, params, learning_rate: float = 1e-2, momentum: float = 0.9):
        self.momentum = momentum
        self.learning_rate = learning_rate
        self.register_state_subtree('velocity', jax.tree.map(lambda x: jnp.zeros_like(x), params))

    def step(self, grads: pax.Module, model: pax.Module):
        self.velocity = jax.tree.map(
            lambda v, g: v * self.momentum + g * self.learning_rate,
            self.velocity,
            grads
        )
        params = model.parameters()
        new_params = jax.tree.map(lambda p, v: p - v, params, self.velocity)
        return model.update(new_params)
""",
    "optimizers: from_optax": """
import optax
SGD = pax.optim.from_optax(
    optax.sgd(learning_rate=learning_rate, momentum=momentum)
)
""",
    "fine-tuning": """
net = pax.nn.Sequential(
    pax.nn.Linear(28*28, 64),
    jax.nn.relu,
    pax.nn.Linear(64, 10),
)

# we only predict two classes.
net.modules[2] = pax.nn.Linear(64, 2)
# freeze the first layer.
net.modules[0] = net.modules[0].freeze()
""",
}  # fmt: skip


def steps_down(make_optimizer):
    """Say whether three steps of an optimizer lower a loss."""
    net, x = pax.Linear(2, 1), jnp.ones((4, 2))
    optimizer = make_optimizer(net.parameters())
    losses = []
    for _ in range(3):
        loss, grads = pax.value_and_grad(lambda net: jnp.mean((net(x) - 3.0) ** 2))(net)
        net = optimizer.step(grads, net)
        losses.append(float(loss))
    return losses == sorted(losses, reverse=True)


CHECKS = {
    "getting started": lambda names, out: out == "None\n60.0\n" and names["net"].counter == 4,
    "modules": lambda names, out: names["mylstm"].params is None,
    "modules: hk_init": lambda names, out: len(jax.tree.leaves(names["mylstm"].parameters())) == 2,
    "optimizers": lambda names, out: steps_down(names["SGD"]),
    "optimizers: from_optax": lambda names, out: steps_down(names["SGD"]),
    "fine-tuning": lambda names, out: (
        [leaf.shape for leaf in jax.tree.leaves(names["net"].parameters())] == [(64, 2), (2,)]
    ),
}


@pytest.fixture(scope="module")
def names():
    """The names that the blocks share, with those that the page takes for granted."""
    return {"np": np, "pax": pax, "hidden_dim": 8, "learning_rate": 1e-2, "momentum": 0.9}


@pytest.mark.parametrize("number", range(len(BLOCKS)), ids=list(BLOCKS))
def test_block(number, names, capsys):
    names = dict(names)
    for earlier in list(BLOCKS)[:number]:
        exec(BLOCKS[earlier], names)
    capsys.readouterr()
    name = list(BLOCKS)[number]
    exec(BLOCKS[name], names)
    assert CHECKS[name](names, capsys.readouterr().out)


def test_every_block_is_here(capsys):
    with capsys.disabled():
        print(f"\n{len(BLOCKS)} blocks of the early Pax's page run")
    assert len(BLOCKS) == len(CHECKS) == 6
