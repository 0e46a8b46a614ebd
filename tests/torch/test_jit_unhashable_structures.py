"""Programs by structures whose static data have no hash: those of TensorDict, and of classes like it."""

import jax
import torch
from jax.experimental import sparse
from tensordict import TensorDict

import pax_jax
import pax_torch
import pax_tree


@pax_tree.register_pytree_node_class
class Named:
    """A tensor and a list of names."""

    def __init__(self, x, names):
        self.x, self.names = x, names

    def tree_flatten(self):
        return (self.x,), self.names

    @classmethod
    def tree_unflatten(cls, names, children):
        return cls(*children, names)


def test_a_tensordict_is_an_argument_and_a_result():
    runs = []

    @pax_torch.jit
    def double(tree):
        runs.append(1)
        return tree * 2, (tree["a"] * tree["b", "c"]).sum()

    for factor in (1.0, 3.0):
        inside = {"a": factor * torch.ones(3), "b": {"c": torch.arange(3.0)}}
        tree = TensorDict(inside, batch_size=[3])
        doubled, total = double(tree)
        assert isinstance(doubled, TensorDict)
        assert torch.equal(doubled["b", "c"], 2 * torch.arange(3.0))
        assert total == 3 * factor
    assert len(runs) == 1


def test_other_static_data_are_another_program():
    runs = []

    @pax_torch.jit
    def count(named):
        runs.append(named.names)
        return named.x * len(named.names)

    for names in (["a"], ["a", "b"], ["a"], ["a", "b"]):
        assert count(Named(torch.tensor(2.0), names)) == 2 * len(names)
    assert runs == [["a"], ["a", "b"]]


def test_sparse_matrices_of_jax():
    runs = []

    @pax_jax.jit
    def total(matrix):
        runs.append(1)
        return matrix.todense().sum()

    for factor in (1.0, 2.0):
        assert total(sparse.BCOO.fromdense(factor * jax.numpy.eye(2))) == 2 * factor
    assert len(runs) == 1
