"""PyTorch's settings: those of the trace count, on whatever thread XLA runs the program."""

import threading
from contextlib import contextmanager, nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

from torch2jax_bridge import torch2jax
from torch2jax_bridge._runtime._compat import set_num_threads_here

BIG = jnp.ones((1000, 1000))


class Functions(TorchFunctionMode):
    """Sees calls of PyTorch's functions."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class Operations(TorchDispatchMode):
    """Counts operations."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def setting(get, put, value):
    before = get()
    put(value)
    try:
        yield
    finally:
        put(before)


def attribute(holder, name, value):
    return setting(lambda: getattr(holder, name), lambda v: setattr(holder, name, v), value)


def deterministic(warn_only=False):
    def put(values):
        torch.use_deterministic_algorithms(values[0], warn_only=values[1])

    return setting(deterministic_now, put, (True, warn_only))


def deterministic_now():
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    return torch.are_deterministic_algorithms_enabled(), warns


def autocast_now():
    return torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")


def new_device():
    return torch.empty(0).device.type


def flushes():
    return bool((np.float32(1e-40) * np.ones(1, np.float32))[0] == 0)


@contextmanager
def default_device():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


SETTINGS = {
    "autocast": (lambda: torch.autocast("cpu", torch.bfloat16), autocast_now),
    "autocast_half": (lambda: torch.autocast("cpu", torch.float16), autocast_now),
    "dtype": (
        lambda: setting(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
        lambda: torch.tensor(1.0).dtype,
    ),
    "device": (lambda: torch.device("meta"), new_device),
    "deterministic": (deterministic, deterministic_now),
    "warning": (lambda: deterministic(True), deterministic_now),
    "threads": (
        lambda: setting(torch.get_num_threads, torch.set_num_threads, 1),
        torch.get_num_threads,
    ),
    "attention": (
        lambda: sdpa_kernel(SDPBackend.MATH),
        torch.backends.cuda.flash_sdp_enabled,
    ),
    "precision": (
        lambda: setting(
            torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
        ),
        torch.get_float32_matmul_precision,
    ),
    "precision_of_products": (
        lambda: attribute(torch.backends.mkldnn.matmul, "fp32_precision", "bf16"),
        lambda: torch.backends.mkldnn.matmul.fp32_precision,
    ),
    "precision_of_all": (
        lambda: attribute(torch.backends, "fp32_precision", "tf32"),
        lambda: torch.backends.fp32_precision,
    ),
    "cudnn": (
        lambda: torch.backends.cudnn.flags(enabled=False, benchmark=True, deterministic=True),
        lambda: (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark),
    ),
    "fast_attention": (
        lambda: setting(
            torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled, False
        ),
        torch.backends.mha.get_fastpath_enabled,
    ),
    "anomaly": (lambda: torch.autograd.set_detect_anomaly(True), torch.is_anomaly_enabled),
    "denormals": (
        lambda: setting(flushes, torch.set_flush_denormal, True),
        flushes,
    ),
    "default_device": (default_device, lambda: (new_device(), str(torch.get_default_device()))),
    "mkldnn": (
        lambda: attribute(torch.backends.mkldnn, "enabled", False),
        lambda: torch.backends.mkldnn.enabled,
    ),
    "functions": (Functions, lambda: len(torch.overrides._get_current_function_mode_stack())),
    "operations": (
        Operations,
        lambda: sum(isinstance(mode, Operations) for mode in _get_current_dispatch_mode_stack()),
    ),
}


def reporting(get):
    """A function that notes a setting and its thread at every run, and programs that run it."""
    found = []

    def function(x):
        found.append((get(), threading.get_ident()))
        return x * 1

    wrapped = torch2jax(function, output_shapes=jnp.ones((1000, 1000)))
    small = jax.jit(lambda x: wrapped(x))
    large = jax.jit(lambda x, y: wrapped(x @ x) + y @ y)  # JAX runs it on a thread of its own
    return found, small, large


@pytest.fixture(autouse=True)
def two_threads():
    with setting(torch.get_num_threads, torch.set_num_threads, 2):
        yield


@pytest.mark.parametrize("name", SETTINGS)
def test_bridge_setting_of_the_trace_counts(name):
    enter, get = SETTINGS[name]
    plain = get()
    found, small, large = reporting(get)
    with enter():
        wanted = get()
        jax.block_until_ready((small(BIG), large(BIG, BIG)))
    assert get() == plain != wanted
    jax.block_until_ready((small(BIG), large(BIG, BIG)))
    assert [value for value, _ in found] == [wanted] * 4
    assert get() == plain
    found, small, large = reporting(get)
    jax.block_until_ready((small(BIG), large(BIG, BIG)))
    with enter():
        jax.block_until_ready((small(BIG), large(BIG, BIG)))
        assert get() == wanted
    assert [value for value, _ in found] == [plain] * 4


@pytest.mark.parametrize("name", SETTINGS)
def test_bridge_setting_is_part_of_the_signature(name):
    enter, get = SETTINGS[name]
    found = []

    def function(x):
        found.append(get())
        return x * 1

    wrapped = torch2jax(function, output_shapes=jnp.ones(2))
    plain = get()
    for _ in range(2):
        wrapped(jnp.ones(2)).block_until_ready()
        with enter():
            wanted = get()
            wrapped(jnp.ones(2)).block_until_ready()
    assert found == [plain, wanted] * 2


@pytest.mark.parametrize("program", [lambda f: f, jax.jit, jax.vmap])
def test_bridge_inference_mode_of_the_caller_is_off(program):
    found = []

    def function(x):
        found.append(torch.is_inference_mode_enabled())
        return torch.sin(x)

    with torch.inference_mode():
        wrapped = torch2jax(function)
        out = program(wrapped)(jnp.ones(3))
        grads = jax.jit(jax.grad(lambda x: wrapped(x).sum()))(jnp.ones(3))
        apply, params, _ = torch2jax(torch.nn.Linear(3, 2))
        weights = jax.grad(lambda p: apply(p, jnp.ones(3))[0].sum())(params)
        assert torch.is_inference_mode_enabled()
    np.testing.assert_allclose(out, jnp.sin(jnp.ones(3)), rtol=1e-6)
    np.testing.assert_allclose(grads, jnp.cos(jnp.ones(3)), rtol=1e-6)
    np.testing.assert_array_equal(weights["weight"], jnp.ones((2, 3)))
    assert not any(found)


@pytest.mark.parametrize("transform", ["value", "grad", "jvp", "hessian", "vmap"])
def test_bridge_autocast_of_the_trace_in_transforms(transform):
    def product(x):
        return (x @ x.T).float().sum()

    def of(f):
        return {
            "value": f,
            "grad": jax.grad(f),
            "jvp": lambda x: jax.jvp(f, (x,), (x,))[1],
            "hessian": jax.hessian(f),
            "vmap": lambda x: jax.vmap(f)(x[None]),
        }[transform]

    x = jnp.linspace(-1.0, 1.0, 12).reshape(3, 4) / 3
    with torch.autocast("cpu", torch.bfloat16):
        program = jax.jit(of(torch2jax(product)))
        inside = program(x)
    np.testing.assert_array_equal(program(x), inside)
    plain = jax.jit(of(torch2jax(product)))(x)
    assert transform == "hessian" or (plain != inside).any()
    np.testing.assert_allclose(plain, inside, rtol=0.05, atol=0.05)


def test_bridge_default_device_does_not_move_what_the_bridge_makes():
    with torch.device("meta"):
        sine = torch2jax(torch.sin)
        np.testing.assert_allclose(
            jax.jit(jax.grad(lambda x: sine(x).sum()))(jnp.ones(2)), np.cos([1, 1])
        )


def test_bridge_hooks_of_the_callers_graphs_do_not_see_those_of_the_bridge():
    seen = []

    def note(tensor):
        seen.append(1)
        return tensor

    squared = torch2jax(lambda x: torch.sin(x) ** 2)
    gradient = jax.jit(jax.grad(lambda x, y: squared(x @ y).sum()))
    with torch.autograd.graph.saved_tensors_hooks(note, note):
        for size in (3, 500):
            jax.block_until_ready(gradient(jnp.ones((size, size)), jnp.eye(size)))
    assert not seen
    with torch.autograd.graph.disable_saved_tensors_hooks("not here"):
        jax.block_until_ready(gradient(jnp.ones((3, 3)), jnp.eye(3)))


def test_bridge_counting_mode_sees_no_inference():
    example = torch.ones(3)
    with Operations() as counting:
        torch2jax(lambda x: torch.sin(x) + 1, example)
        assert counting.count == 0


def test_bridge_settings_that_the_function_changes_are_put_back():
    def function(x):
        torch.set_default_dtype(torch.float64)
        return x + torch.ones(3).float()

    wrapped = torch2jax(function)
    for _ in range(2):
        np.testing.assert_array_equal(jax.jit(wrapped)(jnp.ones(3)), [2, 2, 2])
        assert torch.get_default_dtype() is torch.float32


BEGUN = {
    "threads": lambda: torch.set_num_threads(1),
    "autocast": lambda: torch.set_autocast_enabled("cpu", True),
    "dtype of casts": lambda: torch.set_autocast_dtype("cpu", torch.float16),
    "cache of casts": lambda: torch.set_autocast_cache_enabled(False),
    "default device": lambda: torch.set_default_device("meta"),
    "hooks": lambda: torch.autograd.graph.saved_tensors_hooks(abs, abs).__enter__(),
    "modes": lambda: Functions().__enter__(),
    "denormals": lambda: torch.set_flush_denormal(True),
    "gradients": lambda: torch.set_grad_enabled(True),
}


def state_of_thread():
    return (
        torch.get_num_threads(),
        threads_of_a_new_thread(),
        autocast_now(),
        torch.is_autocast_cache_enabled(),
        str(torch.get_default_device()),
        torch._C._autograd._top_saved_tensors_default_hooks(True),
        len(torch.overrides._get_current_function_mode_stack()),
        flushes(),
        torch.is_grad_enabled(),
    )


@pytest.mark.parametrize("name", BEGUN)
def test_bridge_what_a_function_begins_and_does_not_end_does_not_stay(name):
    found = []

    def function(x):
        found.append(state_of_thread())
        result = x * 1
        BEGUN[name]()
        return result

    before = state_of_thread()
    wrapped = torch2jax(function, output_shapes=jnp.ones((300, 300)))
    small, large = jax.jit(lambda x: wrapped(x)), jax.jit(lambda x: wrapped(x @ x) + x @ x)
    for _ in range(2):
        jax.block_until_ready((small(BIG[:300, :300]), large(BIG[:300, :300])))
        assert state_of_thread() == before
    assert set(found) == {(*before[:-1], False)}


@pytest.mark.parametrize("outer", [nullcontext, lambda: torch.autograd.graph.save_on_cpu()])
def test_bridge_hooks_begun_under_other_settings_than_the_trace_do_not_stay(outer):
    def function(x):
        BEGUN["hooks"]()
        return x * 1

    call = jax.jit(torch2jax(function, output_shapes=jnp.ones(3)))
    jax.block_until_ready(call(jnp.ones(3)))
    with outer(), torch.autocast("cpu"):
        before = torch._C._autograd._top_saved_tensors_default_hooks(True)
        jax.block_until_ready(call(jnp.ones(3)))
        assert torch._C._autograd._top_saved_tensors_default_hooks(True) == before
    assert torch._C._autograd._top_saved_tensors_default_hooks(True) is None


def threads_of_a_new_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def test_bridge_thread_count_of_a_call_is_not_that_of_new_threads():
    seen = []

    def function(x):
        seen.append((torch.get_num_threads(), threads_of_a_new_thread()))
        return x * 1

    wrapped = torch2jax(function, output_shapes=jnp.ones((1000, 1000)))
    small, large = jax.jit(lambda x: wrapped(x)), jax.jit(lambda x, y: wrapped(x @ x) + y @ y)
    with setting(torch.get_num_threads, set_num_threads_here, 1):
        jax.block_until_ready((small(BIG), large(BIG, BIG)))
    jax.block_until_ready((small(BIG), large(BIG, BIG)))
    assert seen == [(1, 2)] * 4
    assert threads_of_a_new_thread() == torch.get_num_threads() == 2


def test_bridge_thread_count_that_the_function_sets_does_not_stay():
    def function(x):
        torch.set_num_threads(1)
        return x * 1

    wrapped = torch2jax(function)
    jax.block_until_ready((jax.jit(wrapped)(BIG), jax.jit(lambda x: wrapped(x @ x) + x @ x)(BIG)))
    assert threads_of_a_new_thread() == torch.get_num_threads() == 2


def test_bridge_settings_of_a_failed_call_are_put_back():
    def fails(x):
        raise LookupError("nothing there")

    with torch.autocast("cpu", torch.bfloat16):
        program = jax.jit(torch2jax(fails, output_shapes=jnp.ones(3)))
        with pytest.raises(jax.errors.JaxRuntimeError, match="nothing there"):
            program(jnp.ones(3)).block_until_ready()
    for _ in range(2):
        with pytest.raises((jax.errors.JaxRuntimeError, ValueError), match="nothing there"):
            program(jnp.ones(3)).block_until_ready()
        assert not torch.is_autocast_enabled("cpu")
