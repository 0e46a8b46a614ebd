"""`jax2torch` under PyTorch's autograd: finite differences, networks, what is kept and what is not."""

import gc
import threading
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from torch2jax_bridge import JaxModule, jax2torch
from torch2jax_bridge._jax2torch import execute as _execute


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def real(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def complex_(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.complex128).requires_grad_()


CHECKED = {
    "tree": (lambda x, y: {"a": jnp.tanh(x) * y[0], "n": [x @ y]}, real(0, 3), real(1, 3)),
    "norm": (lambda x: jnp.linalg.norm(x) * x, real(2, 2, 3)),
    "cumsum": (lambda x, y: jnp.cumsum(x * y) ** 3, real(3, 4), real(4, 4)),
    "scan": (
        lambda x, y: jax.lax.scan(lambda c, z: (jnp.sin(c * z), c), x, y)[1],
        real(5),
        real(6, 4),
    ),
    "cond": (lambda x: jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x), real(7, 3)),
    "sort": (lambda x: jnp.sort(x) * jnp.argsort(x), real(8, 5)),
    "solve": (lambda a, b: jnp.linalg.solve(a @ a.T + jnp.eye(3), b), real(9, 3, 3), real(10, 3)),
    "checkpoint": (jax.checkpoint(lambda x: jnp.sin(jnp.sin(x))), real(11, 3)),
    "holomorphic": (lambda z: jnp.exp(1j * z) * z, complex_(12, 3)),
    "conj": (lambda z, w: jnp.conj(z) * w * w + jnp.abs(w), complex_(13, 3), complex_(14, 3)),
    "complex_to_real": (lambda z: jnp.real(z) ** 2 + jnp.imag(z) * jnp.abs(z), complex_(15, 3)),
    "real_to_complex": (lambda x: jnp.exp(1j * x) * (2 + 1j), real(16, 3)),
    "mixed": (lambda x, z: jnp.fft.ifft(jnp.fft.fft(x) * z), real(17, 4), complex_(18, 4)),
}


def leaves(function):
    wrapped = jax2torch(function)
    return lambda *args: tuple(torch.utils._pytree.tree_leaves(wrapped(*args)))


@pytest.mark.parametrize("name", CHECKED)
def test_jax2torch_gradcheck(name, x64):
    function, *args = CHECKED[name]
    assert gradcheck(leaves(function), args, check_forward_ad=True)


@pytest.mark.parametrize("name", CHECKED)
def test_jax2torch_gradgradcheck(name, x64):
    function, *args = CHECKED[name]
    assert gradgradcheck(leaves(function), args, check_fwd_over_rev=name != "checkpoint")


@pytest.mark.parametrize("name", ["tree", "conj"])
def test_jax2torch_gradcheck_in_batches(name, x64):
    function, *args = CHECKED[name]
    options = {"check_batched_grad": True, "check_forward_ad": True}
    assert gradcheck(leaves(function), args, **options, check_batched_forward_grad=True)
    assert gradgradcheck(leaves(function), args, check_batched_grad=True)


def test_jax2torch_vectorized_jacobian():
    x = torch.tensor([0.3, 0.5])
    f = jax2torch(lambda x: jnp.stack([x[0] * x[1], jnp.sin(x[0]), x[1] ** 2]))
    want = torch.tensor([[0.5, 0.3], [0.3, 0.0], [0.0, 1.0]])
    want[1, 0] = torch.cos(x[0])
    for vectorize in (True, False):
        got = torch.autograd.functional.jacobian(f, x, vectorize=vectorize)
        torch.testing.assert_close(got, want)


def counted(log):
    """The sine, with every run of its forward and backward pass noted."""

    @jax.custom_vjp
    def f(x):
        jax.debug.callback(lambda: log.append("plain"))
        return jnp.sin(x)

    def forward(x):
        jax.debug.callback(lambda: log.append("forward"))
        return jnp.sin(x), jnp.cos(x)

    def backward(cosine, g):
        jax.debug.callback(lambda: log.append("backward"))
        return (cosine * g,)

    f.defvjp(forward, backward)
    return f


def test_jax2torch_a_step_runs_the_forward_pass_once():
    log = []
    f = jax2torch(counted(log))
    x = torch.ones(3, requires_grad=True)
    out = f(x)
    jax.effects_barrier()
    assert log == ["forward"]
    out.sum().backward()
    jax.effects_barrier()
    assert log == ["forward", "backward"]
    torch.testing.assert_close(x.grad, torch.cos(x.detach()))


def test_jax2torch_func_grad_runs_the_forward_pass_once():
    log = []
    f = jax2torch(counted(log))
    torch.func.grad(lambda x: f(x).sum())(torch.ones(3))
    jax.effects_barrier()
    assert log == ["forward", "backward"]


@pytest.mark.parametrize("how", ["no_grad", "inference_mode", "no gradient required"])
def test_jax2torch_keeps_nothing_where_there_is_no_backward_pass(how):
    log = []
    f = jax2torch(counted(log))
    x = torch.ones(3, requires_grad=how != "no gradient required")
    scope = getattr(torch, how, torch.enable_grad)
    with scope():
        assert not f(x).requires_grad
    jax.effects_barrier()
    assert log == ["plain"]


def test_jax2torch_residuals_that_are_arguments_or_results_are_not_copied(monkeypatch):
    counts = []
    execute = _execute.execute
    monkeypatch.setattr(
        _execute,
        "execute",
        lambda *args: counts.append(len(out := execute(*args))) or out,
    )
    x, w = torch.ones(4, 3, requires_grad=True), torch.ones(3, 2, requires_grad=True)
    jax2torch(lambda x, w: x @ w)(x, w).sum().backward()
    assert counts == [1, 2]
    counts.clear()
    jax2torch(jnp.exp)(x).sum().backward()
    assert counts == [1, 1]


def test_jax2torch_an_argument_changed_before_the_backward_pass_is_noticed():
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    out = jax2torch(jnp.sin)(y)
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_jax2torch_a_result_changed_before_the_backward_pass_is_noticed():
    x = torch.ones(3, requires_grad=True)
    out = jax2torch(jnp.exp)(x)
    out.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_jax2torch_a_graph_is_freed_or_retained():
    x = torch.ones(3, requires_grad=True)
    out = jax2torch(lambda x: jnp.sin(x) * x)(x).sum()
    first = torch.autograd.grad(out, x, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(out, x)[0], first)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(out, x)


def test_jax2torch_only_what_is_asked_for_has_gradients():
    f = jax2torch(lambda x, i, flag, y: {"a": x[i] * y, "i": i + 1, "b": flag})
    x, y = torch.arange(4.0, requires_grad=True), torch.ones((), requires_grad=False)
    out = f(x, torch.tensor([1, 3]), torch.tensor(True), y)
    assert out["a"].requires_grad
    assert (out["i"].requires_grad, out["b"].requires_grad) == (False, False)
    assert (out["i"].dtype, out["b"].dtype) == (torch.int32, torch.bool)
    out["a"].sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.0, 1.0]
    assert y.grad is None


def test_jax2torch_integer_results_of_what_requires_gradients():
    x = torch.tensor([1.0, 3.0, 2.0], requires_grad=True)
    out = jax2torch(lambda x: {"at": jnp.argmax(x), "over": x > 1.5})(x)
    assert (out["at"].item(), out["over"].tolist()) == (1, [False, True, True])
    assert not out["at"].requires_grad
    assert torch.func.vmap(jax2torch(jnp.argmax))(x.expand(2, 3)).tolist() == [1, 1]


def test_jax2torch_results_that_are_not_used_have_no_cotangent():
    x = torch.ones(3, requires_grad=True)
    a, b = jax2torch(lambda x: (jnp.sin(x), jnp.cos(x)))(x)
    b.sum().backward()
    torch.testing.assert_close(x.grad, -torch.sin(x.detach()))
    assert a.requires_grad


def test_jax2torch_independent_arguments_have_gradients_of_zero():
    x, y = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    jax2torch(lambda x, y: x * 2)(x, y).sum().backward()
    assert y.grad is None or not y.grad.any()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_jax2torch_random_keys_are_kept_for_the_backward_pass():
    def dropout(key, x):
        return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x * 2, 0)

    f = jax2torch(dropout)
    x = torch.ones(1000, requires_grad=True)
    for key in (jax.random.key(3), jax.random.PRNGKey(3)):
        out = f(key, x)
        np.testing.assert_array_equal(out.detach(), dropout(key, jnp.ones(1000)))
        (grad,) = torch.autograd.grad(out.sum(), x)
        torch.testing.assert_close(grad, out.detach())


def test_jax2torch_backward_outside_of_the_setting_it_was_called_with():
    x = real(0, 3)
    with jax.enable_x64(True):
        out = jax2torch(lambda x: jnp.sin(x) / 3)(x)
        want = torch.cos(x.detach()) / 3
    (grad,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    torch.testing.assert_close(grad.detach(), want, rtol=1e-14, atol=0)
    (second,) = torch.autograd.grad(grad.sum(), x)
    torch.testing.assert_close(second, -torch.sin(x.detach()) / 3, rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_jax2torch_gradients_in_half_precision(dtype):
    x = torch.linspace(0, 1, 8).to(dtype).requires_grad_()
    out = jax2torch(lambda x: jnp.sin(x) * x)(x)
    out.sum().backward()
    assert (out.dtype, x.grad.dtype) == (dtype, dtype)
    wide = x.detach().float()
    expected = torch.cos(wide) * wide + torch.sin(wide)
    torch.testing.assert_close(x.grad.float(), expected, rtol=2e-2, atol=2e-2)


def test_jax2torch_a_function_with_only_a_backward_rule_has_no_forward_mode():
    f = jax2torch(counted([]))
    with pytest.raises(TypeError, match="custom_vjp"):
        torch.func.jvp(f, (torch.ones(3),), (torch.ones(3),))


def layer_sizes():
    return [(5, 16), (16, 16), (16, 3)]


def initial(seed):
    generator = np.random.default_rng(seed)
    return [
        {"w": generator.normal(0, a**-0.5, (a, b)).astype("float32"), "b": np.zeros(b, "float32")}
        for a, b in layer_sizes()
    ]


def network(params, x):
    for layer in params[:-1]:
        x = jax.nn.gelu(x @ layer["w"] + layer["b"])
    return x @ params[-1]["w"] + params[-1]["b"]


def loss_in_jax(params, x, labels):
    logits = network(params, x)
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1))


def losses_in_jax(x, labels, steps):
    params = jax.tree.map(jnp.asarray, initial(0))
    step = jax.jit(jax.value_and_grad(loss_in_jax))
    losses = []
    for _ in range(steps):
        loss, grads = step(params, jnp.asarray(x), jnp.asarray(labels))
        params = jax.tree.map(lambda p, g: p - 0.3 * g, params, grads)
        losses.append(float(loss))
    return losses, params


def losses_in_torch(module, x, labels, steps):
    optimizer = torch.optim.SGD(module.parameters(), 0.3)
    x, labels = torch.from_numpy(x), torch.from_numpy(labels)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_jax2torch_trains_as_jax_does(compiled):
    generator = np.random.default_rng(1)
    x = generator.normal(size=(64, 5)).astype("float32")
    labels = x[:, :3].argmax(1)
    want, params = losses_in_jax(x, labels, 30)
    module = JaxModule(network, initial(0))
    call = torch.compile(module, fullgraph=True, backend="aot_eager") if compiled else module
    got = losses_in_torch(call, x, labels, 30)
    np.testing.assert_allclose(got, want, rtol=2e-4)
    assert got[-1] < 0.6 * got[0]
    for a, b in zip(jax.tree.leaves(module.jax_params()), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)


def test_jax2torch_many_threads_share_one_function():
    f = jax2torch(lambda x, n: jnp.sin(x) * n)
    failures = []

    def work(number):
        x = torch.full((50 + number % 3,), float(number), requires_grad=True)
        for _ in range(30):
            (grad,) = torch.autograd.grad(f(x, number).sum(), x)
            if not torch.allclose(grad, torch.cos(x.detach()) * number, atol=1e-4):
                failures.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_jax2torch_ten_thousand_calls_leave_nothing():
    f = jax2torch(lambda x: (jnp.sin(x) * x).sum())
    x = torch.ones(1000, requires_grad=True)

    def calls(count):
        for _ in range(count):
            f(x).backward()
        gc.collect()
        return len(gc.get_objects()), resident()

    calls(500)
    objects, memory = calls(500)
    later_objects, later_memory = calls(9000)
    assert later_objects - objects < 100
    assert later_memory - memory < 20e6


def test_jax2torch_a_dropped_function_is_freed():
    def make():
        def fn(x):
            return jnp.sin(x) * 2

        wrapped = jax2torch(fn)
        x = torch.ones(3, requires_grad=True)
        torch.autograd.grad(wrapped(x).sum(), x)
        torch.func.vmap(torch.func.grad(lambda x: wrapped(x).sum()))(torch.ones(2, 3))
        return weakref.ref(fn), weakref.ref(wrapped)

    alive = [ref for _ in range(3) for ref in make()]
    jax.clear_caches()
    gc.collect()
    assert [ref() for ref in alive] == [None] * 6


def test_jax2torch_a_graph_that_is_dropped_frees_its_tensors():
    x = torch.ones(1000, requires_grad=True)
    y = x * 2
    storage = weakref.ref(y.untyped_storage())
    out = jax2torch(jnp.sin)(y)
    del y
    assert storage() is not None
    del out
    gc.collect()
    assert storage() is None
