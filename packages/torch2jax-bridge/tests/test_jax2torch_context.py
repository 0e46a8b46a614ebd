"""A program that jax2torch has made is that of JAX's settings in the call, in a process of its own."""

import os
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.sharding import Mesh

from torch2jax_bridge import JaxModule, jax2torch


def test_jax2torch_takes_the_settings_of_each_call():
    draw = jax2torch(lambda: jax.random.uniform(jax.random.key(0), (2,)))
    first = draw()
    with jax.threefry_partitionable(not jax.config.jax_threefry_partitionable):
        other, wanted = draw(), jax.random.uniform(jax.random.key(0), (2,))
    np.testing.assert_array_equal(other, wanted)
    assert not torch.equal(first, other)
    assert torch.equal(draw(), first)
    assert draw.cache_size() == 2


def test_jax2torch_refuses_what_the_settings_of_the_call_refuse():
    add = jax2torch(jnp.add)
    x, y = torch.ones(2), torch.ones(2, dtype=torch.bfloat16)
    add(x, y)
    with jax.numpy_dtype_promotion("strict"), pytest.raises(Exception, match="promotion"):
        add(x, y)


def test_jax2torch_in_a_mesh():
    with jax.set_mesh(Mesh(np.array(jax.devices()), ("d",))):
        assert jax2torch(lambda x: x + 1)(torch.ones(2)).tolist() == [2, 2]


def scale(params, x):
    return x * params["w"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_jax2torch_in_a_forked_process_raises():
    module = JaxModule(scale, {"w": jnp.ones(2)})
    module(torch.ones(2))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            module(torch.ones(2))
            text = "nothing"
        except RuntimeError as error:
            text = str(error)
        os.write(writing, pickle.dumps(text))
        os._exit(0)
    os.waitpid(child, 0)
    assert "'spawn' or 'forkserver'" in pickle.loads(os.read(reading, 10000))


@pytest.mark.parametrize("array", [jax.random.key(0), jnp.ones(2, jnp.int4)], ids=["key", "int4"])
def test_jax_module_names_an_array_that_cannot_be_a_tensor(array):
    with pytest.raises(TypeError, match=r"The array params\.k cannot be a tensor"):
        JaxModule(lambda p, x: x, {"k": array})
