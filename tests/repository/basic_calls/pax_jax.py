"""Basic calls of pax_jax."""

import jax
import jax.numpy as jnp

import pax_jax as pax
from tests.repository.basic_calls import error_of

TWO = jnp.array([1.0, 2.0])


class Scale(pax.Module):
    def __init__(self):
        super().__init__()
        self.register_parameter("weight", jnp.array(3.0))
        self.count = jnp.array(0)

    def __call__(self, x):
        self.count = self.count + 1
        return self.weight * x


def close(array, numbers):
    assert jnp.allclose(array, jnp.array(numbers), rtol=1e-5), array


def attributes():
    scale = Scale()
    close(scale(TWO), [3.0, 6.0])
    assert scale.count == 1
    assert jax.tree.leaves(scale.parameters()) == [3.0]


def gradient():
    grads = pax.grad(lambda scale: scale(TWO).sum())(Scale())
    assert jax.tree.leaves(grads.parameters())[0] == 3.0


def compiled_call():
    out, scale = jax.jit(lambda scale, x: (scale % x)[::-1])(Scale(), TWO)
    close(out, [3.0, 6.0])
    assert scale.count == 1


def scope_of_another_trace():
    scale = Scale()
    assert "count" in error_of(lambda: jax.jit(lambda x: scale(x))(TWO))


def made_inside_a_trace():
    def f(x):
        scale = Scale()
        return scale(x), scale

    out, scale = jax.jit(f)(TWO)
    close(out, [3.0, 6.0])
    assert scale.count == 1


def derivative_inside_a_trace():
    def f(x):
        return jax.grad(lambda x: Scale()(x).sum())(x)

    close(jax.jit(f)(TWO), [3.0, 3.0])
    close(jax.vmap(f)(TWO), [3.0, 3.0])


def jit_of_modules():
    @pax.jit
    def step(scale):
        scale = scale.copy()
        scale(TWO)
        return scale

    assert step(Scale()).count == 1


def loops():
    scale, outs = pax.scan(lambda scale, x: scale % x, Scale(), TWO)
    close(outs, [3.0, 6.0])
    assert scale.count == 2


def layers():
    pax.seed_rng_key(0)
    net = pax.Sequential(pax.Linear(2, 3), jnp.tanh, pax.Linear(3, 1))
    assert net(jnp.ones((4, 2))).shape == (4, 1)
    norm = pax.BatchNorm1D(1)
    close(norm(jnp.array([[1.0], [3.0]])), [[-1.0], [1.0]])


def random_keys():
    pax.seed_rng_key(1)
    assert pax.next_rng_key() is not None


def summaries():
    assert "Scale" in Scale().summary()
    assert "Scale" in repr(Scale())


def state_dicts():
    scale = Scale().load_state_dict({"weight": jnp.array(5.0), "count": jnp.array(2)})
    close(scale.state_dict()["weight"], 5.0)
