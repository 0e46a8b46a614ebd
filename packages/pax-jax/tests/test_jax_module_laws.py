"""Laws that hold for every module, tried on random ones."""

import copy
import pickle
import string

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pax_jax as pax

NAMES = st.text(string.ascii_lowercase, min_size=3, max_size=5).map(lambda name: f"x_{name}")
DTYPES = st.sampled_from([np.float32, np.float16, np.int32, np.bool_])
SHAPES = st.lists(st.integers(0, 3), max_size=2).map(tuple)
STATICS = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.booleans(),
    st.floats(allow_nan=False),
    st.text(max_size=3),
    st.tuples(st.integers(0, 3), st.text(max_size=2)),
)


@st.composite
def arrays(draw):
    size = draw(SHAPES)
    values = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 2, size)
    return jax.numpy.asarray(values.astype(draw(DTYPES)))


def containers(children):
    return st.one_of(
        st.lists(children, max_size=3),
        st.lists(children, max_size=3).map(tuple),
        st.dictionaries(NAMES, children, max_size=3),
    )


@st.composite
def modules(draw, depth=2):
    module = pax.Module()
    for name in draw(st.lists(NAMES, max_size=4, unique=True)):
        how = draw(st.sampled_from(["parameter", "state", "tree", "static", "module", "modules"]))
        if how in ("module", "modules") and depth == 0:
            how = "state"
        if how in ("parameter", "state"):
            getattr(module, f"register_{how}")(name, draw(arrays()))
        elif how == "tree":
            module.register_parameter_subtree(name, draw(containers(arrays())))
        elif how == "static":
            setattr(module, name, draw(STATICS))
        elif how == "module":
            setattr(module, name, draw(modules(depth=depth - 1)))
        else:
            setattr(module, name, draw(containers(modules(depth=depth - 1))))
    return module


law = lambda function: settings(max_examples=40)(given(modules())(function))  # noqa: E731


def leaves(tree):
    return jax.tree.leaves(tree)


def same(a, b):
    return a == b and jax.tree.structure(a) == jax.tree.structure(b)


@law
def test_copies_and_pickles_are_equal(module):
    for duplicate in (
        module.copy(),
        copy.copy(module),
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(module)),
        jax.tree.map(lambda leaf: leaf, module),
    ):
        assert same(duplicate, module)


@law
def test_parameters_and_states_part_the_leaves(module):
    params, states = module.filter("parameter"), module.filter("state")
    assert len(leaves(params)) + len(leaves(states)) == len(leaves(module))
    assert same(states | params, module)
    assert same(params | states, module)
    assert same(module.update(params), module)
    assert leaves(params.filter("state")) == []


@law
def test_modes_and_freezing_are_undone(module):
    assert same(module.eval().train(), module)
    assert same(module.freeze().unfreeze(), module)
    assert same(module.freeze().unfreeze(origin=module), module)
    assert same(module.freeze().freeze(), module.freeze())
    assert leaves(module.freeze().parameters()) == []
    assert leaves(module.eval()) == leaves(module)


@law
def test_a_state_dict_loads_into_the_module_it_is_of(module):
    state = {name: np.asarray(array) for name, array in module.state_dict().items()}
    assert same(module.map(np.zeros_like).load_state_dict(state), module)
    weights = pax.experimental.save_weights_to_dict(module)
    assert same(pax.experimental.load_weights_from_dict(module.map(np.zeros_like), weights), module)


@law
def test_applying_identity_changes_nothing(module):
    visited = []

    def visit(inner):
        visited.append(inner)
        return inner

    assert same(module.apply(visit), module)
    assert len(visited) == len(module.summary(return_list=True, arrays=False))
    below = [m.summary(return_list=True, arrays=False) for m in module.submodules()]
    assert len(visited) == 1 + sum(map(len, below))


@law
def test_paths_are_those_of_jax_and_of_the_state_dict(module):
    paths = [
        jax.tree_util.keystr(p, simple=True, separator=".")
        for p, _ in jax.tree_util.tree_leaves_with_path(module)
    ]
    assert paths == list(module.state_dict())


@law
def test_a_flattener_holds_what_it_was_given(module):
    flat = pax.experimental.Flattener(module=module, pair=(module, None))
    assert same(flat.module, module)
    assert same(flat.update(module=flat.module).pair[0], module)


@settings(max_examples=40)
@given(modules(), modules())
def test_structures_are_equal_just_when_nothing_is_found_to_differ(a, b):
    if jax.tree.structure(a) == jax.tree.structure(b):
        pax.assert_structure_equal(a, b)
    else:
        with pytest.raises(AssertionError, match="The structures differ"):
            pax.assert_structure_equal(a, b)
