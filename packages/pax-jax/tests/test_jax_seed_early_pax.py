"""The examples of the early Pax: the counter, a stateful optimizer, fine-tuning."""

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


def test_getting_started(capsys):
    def loss_fn(params: Counter, model: Counter, x: jnp.ndarray):
        model = model.update(params)
        y = model(x)
        loss = jnp.mean(jnp.square(x - y))
        return loss, (loss, model)

    grad_fn = jax.grad(loss_fn, has_aux=True)

    net = Counter(3)
    x = jnp.array(10.0)
    with jax.numpy_dtype_promotion("standard"):  # int32 times float32
        grads, (_loss, net) = grad_fn(net.parameters(), net, x)
    print(grads.counter)  # None
    print(grads.bias)  # 60.0
    assert capsys.readouterr().out == "None\n60.0\n"
    assert int(net.counter) == 4


class SGD(pax.Optimizer):
    velocity: pax.Module
    learning_rate: float
    momentum: float

    def __init__(self, params, learning_rate: float = 1e-2, momentum: float = 0.9):
        self.momentum = momentum
        self.learning_rate = learning_rate
        self.register_state_subtree("velocity", jax.tree.map(lambda x: jnp.zeros_like(x), params))

    def step(self, grads: pax.Module, model: pax.Module):
        self.velocity = jax.tree.map(
            lambda v, g: v * self.momentum + g * self.learning_rate, self.velocity, grads
        )
        params = model.parameters()
        new_params = jax.tree.map(lambda p, v: p - v, params, self.velocity)
        return model.update(new_params)


def test_stateful_optimizer():
    net = pax.Sequential(pax.Linear(2, 3), pax.BatchNorm1D(3), pax.Linear(3, 1))
    before = net.parameters()
    grads = jax.tree.map(jnp.ones_like, before)
    optimizer = SGD(net.parameters(), learning_rate=0.5)

    @jax.jit
    def step(optimizer, net):
        net = optimizer.step(grads, net)
        return optimizer, net

    for _ in range(2):
        optimizer, net = step(optimizer, net)
    moved = jax.tree.map(
        lambda a, b: float(jnp.max(jnp.abs(a - b - 1.45))), before, net.parameters()
    )
    assert max(jax.tree.leaves(moved)) < 1e-5
    assert optimizer.velocity.modules[1].ema_mean is None
    assert jax.tree.leaves(optimizer.parameters()) == []


def test_fine_tuning():
    net = pax.nn.Sequential(
        pax.nn.Linear(28 * 28, 64),
        jax.nn.relu,
        pax.nn.Linear(64, 10),
    )

    # we only predict two classes.
    net.modules[2] = pax.nn.Linear(64, 2)
    # freeze the first layer.
    net.modules[0] = net.modules[0].freeze()

    assert [leaf.shape for leaf in jax.tree.leaves(net.parameters())] == [(64, 2), (2,)]
    assert net(jnp.ones((5, 28 * 28))).shape == (5, 2)
