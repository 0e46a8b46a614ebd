"""Tree arithmetic on PyTorch tensors: against torch, under autograd and torch.func."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pax_tree

CASES = settings(max_examples=100, deadline=None)
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.complex64, torch.bool]
LEAVES = st.tuples(
    st.sampled_from([(), (0,), (1,), (2, 3)]), st.sampled_from(DTYPES), st.integers(0, 99)
)


def make(form):
    shape, dtype, seed = form
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-4, 5, shape, generator=generator)
    return (values + 1j * values if dtype.is_complex else values).to(dtype)


TREES = st.recursive(
    st.one_of(st.none(), LEAVES.map(make)),
    lambda trees: st.one_of(
        st.lists(trees, max_size=3), st.dictionaries(st.sampled_from("ab"), trees, max_size=2)
    ),
    max_leaves=5,
)


def check(ours, theirs, **tolerances):
    torch.testing.assert_close(torch.as_tensor(ours), torch.as_tensor(theirs), **tolerances)


@CASES
@given(TREES)
def test_reductions_against_the_vector(tree):
    leaves = pax_tree.tree_leaves(tree)
    wide = torch.cat([torch.zeros(0), *(x.reshape(-1).to(torch.complex128) for x in leaves)])
    close = {"rtol": 1e-2, "atol": 1e-2, "check_dtype": False}
    check(torch.as_tensor(pax_tree.tree_sum(tree)).to(torch.complex128), wide.sum(), **close)
    dot = torch.as_tensor(pax_tree.tree_dot(tree, tree)).to(torch.complex128)
    check(dot, torch.vdot(wide, wide), **close)
    check(pax_tree.tree_norm(tree), torch.linalg.vector_norm(wide), **close)
    check(pax_tree.tree_norm_sq(tree), torch.linalg.vector_norm(wide) ** 2, **close)
    assert pax_tree.tree_numel(tree) == wide.numel()
    floating = [x for x in leaves if x.is_floating_point() or x.is_complex()]
    if floating:
        expected = torch.nn.utils.get_total_norm(floating)
        check(pax_tree.tree_norm(floating), expected, rtol=1e-2, atol=1e-2)


@CASES
@given(TREES, st.sampled_from([2, 0.5]))
def test_elementwise_against_torch(tree, number):
    pairs = [
        (pax_tree.tree_add(tree, tree), lambda x: torch.add(x, x)),
        (pax_tree.tree_add(tree, tree, number), lambda x: x + torch.mul(x, number)),
        (pax_tree.tree_scale(number, tree), lambda x: torch.mul(x, number)),
        (pax_tree.tree_zeros_like(tree), torch.zeros_like),
    ]
    if all(leaf.dtype != torch.bool for leaf in pax_tree.tree_leaves(tree)):
        pairs += [
            (pax_tree.tree_subtract(tree, tree), lambda x: torch.sub(x, x)),
            (pax_tree.tree_neg(tree), torch.neg),
        ]
    for got, function in pairs:
        assert pax_tree.tree_structure(got) == pax_tree.tree_structure(tree)
        pax_tree.tree_for_each(lambda g, x: check(g, function(x), rtol=0, atol=0), got, tree)


@CASES
@given(TREES)
def test_ravel_round_trip(tree):
    leaves = pax_tree.tree_leaves(tree)
    flat, unravel = pax_tree.tree_ravel(tree, library=torch)
    dtype = leaves[0].dtype if leaves else torch.get_default_dtype()
    for leaf in leaves:
        dtype = torch.promote_types(dtype, leaf.dtype)
    assert (flat.dtype, flat.shape) == (dtype, (sum(x.numel() for x in leaves),))
    if leaves:
        check(flat, torch.cat([x.reshape(-1) for x in leaves]), rtol=0, atol=0)
        check(pax_tree.tree_ravel(tree)[0], flat, rtol=0, atol=0)
    back = unravel(flat)
    assert pax_tree.tree_structure(back) == pax_tree.tree_structure(tree)
    pax_tree.tree_for_each(lambda g, x: check(g, x, rtol=0, atol=0), back, tree)


def test_ravel_of_numbers_numpy_arrays_and_parameters():
    linear = torch.nn.Linear(2, 1)
    tree = {"net": dict(linear.named_parameters()), "lr": 0.5, "n": np.arange(2), "on": True}
    flat, unravel = pax_tree.tree_ravel(tree)
    assert (flat.dtype, flat.shape) == (torch.float32, (7,))
    expected = [0.5, 0, 1, linear.bias.item(), *linear.weight.flatten().tolist(), 1]
    assert sorted(flat.tolist()) == pytest.approx(sorted(expected))
    back = unravel(flat)
    dtypes = {"lr": torch.float32, "n": torch.int64, "on": torch.bool}
    assert {name: back[name].dtype for name in dtypes} == dtypes
    flat.sum().backward()
    assert torch.equal(linear.weight.grad, torch.ones(1, 2))
    matching = torch.nn.utils.parameters_to_vector(linear.parameters())
    check(pax_tree.tree_ravel(list(linear.parameters()))[0], matching)


def test_ravel_refuses():
    _, unravel = pax_tree.tree_ravel([torch.ones(2), torch.ones(3)])
    with pytest.raises(ValueError, match=r"a vector of shape \(5,\), but got \(4,\)\."):
        unravel(torch.ones(4))
    with pytest.raises(TypeError, match=r"dtype torch.float32, but got torch.float64; convert it"):
        unravel(torch.ones(5, dtype=torch.float64))
    import jax.numpy as jnp

    message = r"the leaves are of (torch and jax.numpy|jax.numpy and torch); convert one of them"
    with pytest.raises(TypeError, match=message):
        pax_tree.tree_ravel([torch.ones(2), jnp.ones(2)])


def tree_like(w, b):
    return {"w": w, "b": [b, None]}


def vector(w, b):
    return torch.cat([b.reshape(-1), w.reshape(-1)])


FUNCTIONS = {
    "sum": (lambda t: pax_tree.tree_sum(t) ** 2, lambda v: v.sum() ** 2),
    "norm": (pax_tree.tree_norm, torch.linalg.vector_norm),
    "norm_sq": (pax_tree.tree_norm_sq, lambda v: (v * v).sum()),
    "dot": (lambda t: pax_tree.tree_dot(t, pax_tree.tree_scale(2, t)), lambda v: 2 * v @ v),
    "ravel": (lambda t: (pax_tree.tree_ravel(t)[0] ** 3).sum(), lambda v: (v**3).sum()),
    "unravel": (lambda t: pax_tree.tree_norm_sq(squared(t)), lambda v: (v**4).sum()),
    "linear": (
        lambda t: pax_tree.tree_sum(pax_tree.tree_subtract(pax_tree.tree_add(t, t, 2.0), t)) ** 2,
        lambda v: (2 * v).sum() ** 2,
    ),
}


def squared(tree):
    flat, unravel = pax_tree.tree_ravel(tree)
    return unravel(flat * flat)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_under_autograd_and_torch_func(name):
    ours, theirs = FUNCTIONS[name]

    def f(w, b):
        return ours(tree_like(w, b))

    def g(w, b):
        return theirs(vector(w, b))

    torch.manual_seed(0)
    args = torch.randn(2, 3, dtype=torch.float64), torch.randn((), dtype=torch.float64)
    check(f(*args), g(*args))
    leaves = [x.clone().requires_grad_() for x in args]
    for got, expected in zip(
        torch.autograd.grad(f(*leaves), leaves), torch.func.grad(g, (0, 1))(*args), strict=True
    ):
        check(got, expected)
    assert torch.autograd.gradcheck(f, leaves)
    assert torch.autograd.gradgradcheck(f, leaves)
    for transform in (torch.func.grad, torch.func.hessian):
        check(transform(f)(*args), transform(g)(*args))
    many = tuple(torch.stack([x, -2 * x]) for x in args)
    check(torch.func.vmap(f)(*many), torch.func.vmap(g)(*many))
    check(torch.func.jvp(f, args, args)[1], torch.func.jvp(g, args, args)[1])
    check(torch.func.vmap(torch.func.grad(f))(*many), torch.func.vmap(torch.func.grad(g))(*many))


def test_the_norm_has_a_derivative_at_zero():
    zero = [torch.zeros(3, requires_grad=True), torch.zeros(2, requires_grad=True)]
    pax_tree.tree_norm(zero).backward()
    assert all(torch.equal(x.grad, torch.zeros_like(x)) for x in zero)


def test_norm_of_mixed_dtypes_and_integers():
    mixed = [torch.tensor([3.0], dtype=torch.bfloat16), torch.tensor([4.0], dtype=torch.float64)]
    check(pax_tree.tree_norm(mixed), torch.tensor(5.0, dtype=torch.float64))
    check(
        pax_tree.tree_norm([torch.tensor([3]), torch.tensor([4])]),
        torch.tensor(5.0, dtype=torch.float64),
    )
    int32 = torch.tensor([3, 4], dtype=torch.int32)
    check(pax_tree.tree_norm([int32]), torch.tensor(5.0))
    check(pax_tree.tree_norm([torch.tensor([3.0]), 4.0]), torch.tensor(5.0))


@pytest.mark.parametrize("array", [torch.tensor, np.asarray, jnp.asarray])
@pytest.mark.parametrize("numbers", [[200, 200], [2**16 - 1] * 4], ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64"])
def test_products_of_integers_do_not_overflow(array, numbers, dtype):
    factor = max(1, np.iinfo(dtype).max // 2**16)
    leaf = np.asarray(numbers).clip(0, np.iinfo(dtype).max) * factor
    with jax.enable_x64(True):
        tree = [array(leaf.astype(dtype)), array(leaf[:1].astype(dtype))]
        norm, square = pax_tree.tree_norm(tree), pax_tree.tree_norm_sq(tree)
        product = pax_tree.tree_dot(tree, tree)
    expected = np.linalg.norm(np.append(leaf, leaf[0]).astype(float))
    np.testing.assert_allclose(np.asarray(norm), expected, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(square), expected**2, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(product), expected**2, rtol=1e-6)


def test_numpy_scalars_keep_the_dtype():
    [leaf] = pax_tree.tree_scale(np.float64(2), [torch.ones(2)])
    assert torch.equal(leaf, torch.full((2,), 2.0))
    [leaf] = pax_tree.tree_add([torch.ones(2)], [torch.ones(2)], np.float64(2))
    assert torch.equal(leaf, torch.full((2,), 3.0))


@pytest.mark.gpu
def test_on_a_gpu():
    tree = {"w": torch.ones(3, device="cuda"), "lr": 2.0}
    flat, unravel = pax_tree.tree_ravel(tree)
    assert flat.device.type == unravel(flat)["lr"].device.type == "cuda"
    assert pax_tree.tree_zeros_like(tree)["w"].device.type == "cuda"
    check(
        pax_tree.tree_norm([torch.ones(3, device="cuda"), torch.ones(1)]).cpu(), torch.tensor(2.0)
    )
    assert not pax_tree.tree_diff(tree, {"w": torch.ones(3, device="cuda"), "lr": 2.0})
