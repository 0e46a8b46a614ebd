"""Results of odd classes come back as they are, or one sentence says what is wrong with them."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from torch2jax_bridge import ShapeInferenceError, torch2jax

X = jnp.arange(3.0)


@dataclasses.dataclass(slots=True, frozen=True)
class Slotted:
    value: Any
    tag: str = "tag"


class Mixed:
    __slots__ = ("__dict__", "first")

    def __init__(self, first, second):
        self.first, self.second = first, second


class Attributes:
    def __init__(self, **values):
        vars(self).update(values)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_bridge_results_in_objects_of_every_form(wrap):
    out = wrap(torch2jax(lambda x: Slotted(Mixed(x, SimpleNamespace(c=x + 1, k=2)))))(X)
    assert type(out) is Slotted
    assert (out.tag, out.value.second.k) == ("tag", 2)
    np.testing.assert_array_equal(out.value.first, X)
    np.testing.assert_array_equal(out.value.second.c, X + 1)
    assert jax.tree.structure(jax.tree.map(jnp.sin, out)) == jax.tree.structure(out)


def test_bridge_objects_of_one_class_with_tensors_in_different_attributes():
    for names in ("a", "ab", "b", "bc"):
        function = torch2jax(lambda x, n=names: Attributes(**{k: x + ord(k) for k in n}, k=1))
        out = jax.jit(function)(X)
        assert sorted(vars(out)) == [*names, "k"]
        for name in names:
            np.testing.assert_array_equal(getattr(out, name), X + ord(name))


def test_bridge_named_tuples_that_check_their_fields():
    out = torch2jax(lambda x: torch.nn.utils.rnn.pack_sequence([x, x]), infer="run")(X)
    assert out._fields == ("data", "batch_sizes", "sorted_indices", "unsorted_indices")
    np.testing.assert_array_equal(out.data, np.repeat(X, 2))
    assert out.batch_sizes.tolist() == [2, 2, 2]


def holds_itself(x):
    made = Attributes(x=x)
    made.me = made
    return made


WRONG = {
    "array": (
        lambda x: Attributes(x=x, n=np.ones(2)),
        TypeError,
        r"ndarray at result\.n; expected",
    ),
    "self": (holds_itself, ShapeInferenceError, "may not hold themselves"),
    "nested": (lambda x: torch.nested.nested_tensor([x]), ShapeInferenceError, "to_padded_tensor"),
    "jax": (lambda x: jnp.sin(1.0) * x, ShapeInferenceError, "may not call JAX"),
}


@pytest.mark.parametrize(("function", "error", "message"), WRONG.values(), ids=WRONG)
def test_bridge_wrong_result_is_one_sentence(function, error, message):
    with pytest.raises(error, match=message):
        torch2jax(function)(X)


def test_bridge_attributes_that_differ_in_every_call():
    with pytest.raises(jax.errors.JaxRuntimeError, match="has to be the same in every call"):
        torch2jax(lambda x: Attributes(x=x, f=lambda: 0))(X)


def test_bridge_what_torch_vmap_cannot_do_names_the_other_way():
    def function(x):
        return torch.complex(x, x).conj().imag

    with pytest.raises(jax.errors.JaxRuntimeError, match="vmap_method='sequential'"):
        jax.vmap(torch2jax(function))(jnp.ones((2, 3))).block_until_ready()
    out = jax.vmap(torch2jax(function, vmap_method="sequential"))(jnp.ones((2, 3)))
    np.testing.assert_array_equal(out, -np.ones((2, 3)))
