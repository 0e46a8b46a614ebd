"""Classes that only JAX or only PyTorch knows, of the libraries that people use, are nodes here."""

import dataclasses
from collections import OrderedDict

import equinox
import flax.core
import flax.nnx
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tensordict
import torch
import torch.fx.immutable_collections as immutable
import torch.utils._pytree as pytree
from jax.custom_derivatives import SymbolicZero

import pax_tree


@flax.struct.dataclass
class FlaxData:
    x: object
    mode: str = flax.struct.field(pytree_node=False, default="p")


class FlaxModel(flax.nnx.Module):
    def __init__(self):
        self.weight = flax.nnx.Param(jnp.ones(2))


class Layer(equinox.Module):
    weight: jax.Array
    inner: object
    mode: str = equinox.field(static=True, default="p")


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class JaxData:
    x: object
    mode: str = dataclasses.field(default="p", metadata={"static": True})


PARAMS = {"w": jnp.ones(3), "b": jnp.zeros(())}
OPTIMIZER = optax.chain(
    optax.masked(optax.scale(2.0), {"w": True, "b": False}),
    optax.inject_hyperparams(optax.adam)(learning_rate=0.1),
)
OF_JAX = {
    "flax_struct": FlaxData([1, 2]),
    "flax_frozen_dict": flax.core.freeze({"b": 1, "a": [2]}),
    "flax_nnx_state": flax.nnx.state(FlaxModel()),
    "flax_nnx_graphdef": flax.nnx.split(FlaxModel()),
    "equinox_module": Layer(jnp.ones(2), [Layer(jnp.zeros(1), None)]),
    "equinox_mlp": equinox.nn.MLP(2, 2, 3, 1, key=jax.random.key(0)),
    "optax_state": OPTIMIZER.init(PARAMS),
    "partial": jax.tree_util.Partial(max, 1, {"x": 2}, key=abs),
    "symbolic_zero": [SymbolicZero(jax.core.ShapedArray((2,), np.dtype("float32"))), 1],
    "dataclass": JaxData({"b": 1}, "q"),
}


def same(a, b):
    return a is b or (type(a) is type(b) and bool(np.all(np.asarray(a == b))))


@pytest.mark.parametrize("name", OF_JAX)
def test_of_jax(name):
    tree = {"b": OF_JAX[name], "a": (3,)}
    leaves, structure = pax_tree.tree_flatten(tree)
    expected, theirs = jax.tree_util.tree_flatten(tree)
    assert len(leaves) == len(expected)
    assert all(map(same, leaves, expected))
    assert repr(structure) == repr(theirs)
    assert structure.to_jax() == theirs
    assert pax_tree.PyTreeDef.from_jax(theirs) == structure
    assert jax.tree_util.tree_structure(structure.unflatten(leaves)) == theirs
    mapped = pax_tree.tree_map(lambda x: (x, 1), tree)
    expected = jax.tree_util.tree_map(lambda x: (x, 1), tree)
    assert jax.tree_util.tree_structure(mapped) == jax.tree_util.tree_structure(expected)
    assert structure.flatten_up_to(tree) == leaves
    paths = [path for path, _ in pax_tree.tree_leaves_with_path(tree)]
    theirs = [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    assert list(map(pax_tree.keystr, paths)) == list(map(jax.tree_util.keystr, theirs))


@pytest.mark.parametrize("name", OF_JAX)
def test_static_parts_are_compared(name):
    structure = pax_tree.tree_structure(OF_JAX[name])
    assert structure == pax_tree.tree_structure(pax_tree.tree_map(lambda x: x, OF_JAX[name]))
    other = dataclasses.replace(JaxData(1), mode="other")
    assert structure != pax_tree.tree_structure(other)


class Output(OrderedDict):
    """A dataclass that is a dict too, as the outputs of models in `transformers` are."""

    def __init_subclass__(cls):
        pytree.register_pytree_node(
            cls,
            lambda o: (list(o.values()), list(o)),
            lambda c, names: cls(zip(names, c, strict=True)),
        )


class ModelOutput(Output):
    pass


@tensordict.tensorclass
class Batch:
    x: torch.Tensor
    y: torch.Tensor


@dataclasses.dataclass
class TorchData:
    x: object
    y: object


pytree.register_dataclass(TorchData)
ONES = torch.ones(2)
OF_TORCH = {
    "tensordict": tensordict.TensorDict({"b": ONES, "a": {"c": ONES}}, batch_size=[2]),
    "tensorclass": Batch(x=ONES, y=ONES, batch_size=[2]),
    "model_output": ModelOutput(loss=ONES, logits=[ONES]),
    "return_type": torch.max(torch.eye(2), dim=0),
    "size": torch.Size([2, 3]),
    "immutable_list": immutable.immutable_list([1, {"a": 2}]),
    "immutable_dict": immutable.immutable_dict({"b": 1, "a": 2}),
    "dataclass": TorchData(1, [2]),
}


@pytest.mark.parametrize("name", OF_TORCH)
def test_of_torch(name):
    tree = [OF_TORCH[name], (3,)]
    leaves, structure = pax_tree.tree_flatten(tree)
    expected, theirs = pytree.tree_flatten(tree)
    assert len(leaves) == len(expected) > 1
    assert all(a is b or a == b for a, b in zip(leaves, expected, strict=True))
    assert structure.to_torch() == theirs
    assert pax_tree.PyTreeDef.from_torch(theirs) == structure
    expected = theirs.unflatten(leaves)  # with a tuple in place of a torch.Size
    for back in (structure.unflatten(leaves), pax_tree.tree_map(lambda x: x, tree)):
        assert type(back[0]) is type(expected[0])
        assert pytree.tree_structure(back) == pytree.tree_structure(expected)


def test_leaves_of_the_libraries():
    arrays = [
        jnp.ones(2),
        ONES,
        torch.nn.Parameter(ONES),
        np.ones(2),
        np.float32(1),
        jax.random.key(0),
    ]
    arrays += [
        jax.ShapeDtypeStruct((2,), np.float32),
        torch.nn.Linear(1, 1),
        torch.float32,
        jax.jit,
    ]
    leaves = pax_tree.tree_leaves(arrays)
    assert len(leaves) == len(jax.tree_util.tree_leaves(arrays)) == len(arrays)
    assert all(map(same, leaves, arrays))


def test_tracers_are_leaves():
    def f(x):
        assert pax_tree.tree_leaves({"a": [x]})[0] is x
        return 2 * x

    jax.make_jaxpr(f)(1.0)
    jax.vmap(f)(jnp.ones(3))
    jax.grad(f)(1.0)
    torch.func.vmap(f)(ONES)
    torch.func.grad(lambda x: f(x).sum())(ONES)
