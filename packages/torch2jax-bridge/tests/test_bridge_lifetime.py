"""No copies of arguments, no growth of memory, nothing kept too long or too short.

A million calls and a hundred thousand functions, with what they cost, take about fifteen minutes:
`TORCH2JAX_BRIDGE_LEAK_CALLS=1000000 python -m pytest -n0 -rP -k does_not_grow` and this file.
"""

import gc
import os
import resource
import subprocess
import sys
import textwrap
import time
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from torch2jax_bridge import _C, torch2jax
from torch2jax_bridge._compat import native_grad_mode


def all_gone(refs):
    """Whether all weak references die; XLA may drop a program a moment after its last call."""
    for _ in range(50):
        gc.collect()
        if all(ref() is None for ref in refs):
            return True
        time.sleep(0.05)
    return False


def test_bridge_arguments_are_not_copied():
    seen = []

    def function(x, y):
        seen.append((x.data_ptr(), y.data_ptr()))
        return x + y

    x, y = jnp.arange(1000.0), jnp.ones(1000)
    wrapped = torch2jax(function, output_shapes=x)
    for call in (wrapped, jax.jit(wrapped)):
        jax.block_until_ready(call(x, y))
        assert seen[-1] == (x.unsafe_buffer_pointer(), y.unsafe_buffer_pointer())


def test_bridge_results_do_not_share_memory_with_torch():
    buffer = torch.zeros(4)
    wrapped = torch2jax(lambda x: buffer, output_shapes=jnp.zeros(4))
    out = jax.block_until_ready(wrapped(jnp.zeros(1)))
    buffer.fill_(1)
    np.testing.assert_array_equal(out, np.zeros(4))


@pytest.fixture(params=["native", "python"])
def grad_mode(request):
    """Switches the mode by PyTorch's C functions, or by those of Python as where the C ones are missing."""
    native = native_grad_mode()
    assert all(native)
    _C.use_native_grad_mode(*(native if request.param == "native" else (0, 0)))
    yield
    _C.use_native_grad_mode(*native)


def test_bridge_grad_mode_is_off_inside_and_restored(grad_mode):
    modes = []

    def function(x):
        modes.append(torch.is_grad_enabled())
        torch.set_grad_enabled(True)
        return x * 1

    wrapped = torch2jax(function)
    for mode in (True, False):
        with torch.set_grad_enabled(mode):
            jax.block_until_ready(wrapped(jnp.ones(2)))
            assert torch.is_grad_enabled() is mode
    assert set(modes) == {False}


class Owner:
    def __call__(self, x):
        return x * 2


def test_bridge_program_keeps_its_function_alive():
    owner = Owner()
    alive = weakref.ref(owner)
    program = jax.jit(torch2jax(owner)).lower(jnp.ones(3)).compile()
    del owner
    jax.clear_caches()
    gc.collect()
    np.testing.assert_array_equal(program(jnp.ones(3)), [2.0, 2.0, 2.0])
    assert alive() is not None
    del program
    assert all_gone([alive])


USES = {
    "call": lambda f, x: f(x),
    "jit": lambda f, x: jax.jit(f)(x),
    "grad": lambda f, x: jax.grad(lambda x: f(x).sum())(x),
    "jit_grad": lambda f, x: jax.jit(jax.grad(lambda x: f(x).sum()))(x),
    "vmap": lambda f, x: jax.vmap(f)(x),
    "hessian": lambda f, x: jax.hessian(lambda x: f(x).sum())(x),
    "scan": lambda f, x: jax.lax.scan(lambda c, _: (f(c), None), x, None, length=3)[0],
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_bridge_function_is_freed_after_use(use):
    owner = Owner()
    alive = weakref.ref(owner)
    wrapped = torch2jax(owner)
    jax.block_until_ready(use(wrapped, jnp.ones(3)))
    del owner, wrapped
    jax.clear_caches()
    assert all_gone([alive])


def test_bridge_called_wrapper_is_freed_without_clearing_caches():
    alive = []
    for _ in range(20):
        owner = Owner()
        alive.append(weakref.ref(owner))
        jax.block_until_ready(torch2jax(owner)(jnp.ones(3)))
    del owner
    assert all_gone(alive)


CALLS = int(os.environ.get("TORCH2JAX_BRIDGE_LEAK_CALLS", "2000"))
FUNCTIONS = CALLS // 10
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def growth(run, warm_up, times):
    """Bytes that the process has more after so many runs; says how long they took."""
    run(warm_up)
    gc.collect()
    before, start = resident(), time.perf_counter()
    run(times)
    gc.collect()
    grown = resident() - before
    seconds = time.perf_counter() - start
    print(f"{times:,} times: from {before / 1e6:.1f} MB by {grown / 1e6:+.2f} MB, {seconds:.0f} s")
    return grown


@on_linux
@pytest.mark.parametrize("fails", [False, True], ids=["returns", "raises"])
def test_bridge_memory_does_not_grow_with_calls(fails):
    def function(x):
        if fails:
            raise ValueError("no")
        return x + 1

    x = jnp.ones(5000)
    call = jax.jit(torch2jax(function, output_shapes=x))

    def run(times):
        for _ in range(times):
            try:
                jax.block_until_ready(call(x))
            except jax.errors.JaxRuntimeError:
                assert fails

    # A leak of the result alone would be 40 MB; raising takes ten times as long.
    assert growth(run, 100, max(500, CALLS // 20) if fails else CALLS) < 5_000_000


@on_linux
def test_bridge_memory_does_not_grow_with_wrapped_functions():
    x = jnp.ones(5000)

    def program(offsets):
        def sums(x):
            for offset in offsets:
                x = torch2jax(lambda x, y=torch.full((5000,), offset): x + y)(x)
            return x

        return jax.jit(sums)

    def run(times):
        for start in range(0, times, 20):
            out = program([float(start + i) for i in range(20)])(x)
            jax.block_until_ready(out)

    # One leaked tensor a function: 20,000 bytes each.
    assert growth(run, max(200, FUNCTIONS // 50), FUNCTIONS) < 3_000_000


@on_linux
def test_bridge_memory_does_not_grow_with_training_steps():
    x = jnp.ones((100, 1000))
    step = jax.jit(jax.grad(lambda x: wrapped(x).sum()))
    wrapped = torch2jax(lambda x: torch.tanh(x) * x)

    def run(times):
        for _ in range(times):
            jax.block_until_ready(step(x))

    assert growth(run, 30, max(150, CALLS // 10)) < 10_000_000  # one saved tensor a step: 60 MB


def python(code):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120
    )


def test_bridge_interpreter_exits_with_calls_in_flight():
    done = python(
        """
        import time
        import jax, jax.numpy as jnp, torch
        from torch2jax_bridge import torch2jax

        def slow(x):
            time.sleep(0.05)
            return x + 1

        f = jax.jit(lambda x, y: torch2jax(slow, output_shapes=x)(x @ y))
        x = jnp.ones((700, 700))
        outs = [f(x, x) for _ in range(8)]
        print("end", flush=True)
        """
    )
    assert done.stdout == "end\n"
    assert done.returncode == 0, done.stderr


def test_bridge_import_does_not_start_a_backend():
    done = python(
        """
        import torch2jax_bridge
        from jax._src import xla_bridge
        print(xla_bridge.backends_are_initialized())
        """
    )
    assert done.stdout == "False\n", done.stderr


def test_bridge_argument_that_the_function_keeps_gets_its_own_memory():
    kept = []

    def function(x, y):
        kept.append(x)
        kept.append(x[1:3])
        return x + y

    wrapped = jax.jit(torch2jax(function, output_shapes=jnp.ones(5)))
    for i in range(5):
        x = jnp.arange(5.0) + i
        address = x.unsafe_buffer_pointer()
        jax.block_until_ready(wrapped(x, x))
        whole, part = kept[-2:]
        assert whole.data_ptr() != address
        assert part.data_ptr() == whole.data_ptr() + 4
        del x
    for i in range(5):
        np.testing.assert_array_equal(kept[2 * i].numpy(), np.arange(5.0) + i)
        np.testing.assert_array_equal(kept[2 * i + 1].numpy(), np.arange(1.0, 3.0) + i)


def test_bridge_view_alone_that_the_function_keeps_gets_its_own_memory():
    kept = []
    wrapped = torch2jax(lambda x: kept.append(x[1:].view(3, 1)) or x * 2, output_shapes=jnp.ones(4))
    x = jnp.arange(4.0)
    np.testing.assert_array_equal(wrapped(x), 2 * x)
    assert kept[0].data_ptr() != x.unsafe_buffer_pointer() + 4
    np.testing.assert_array_equal(kept[0].flatten(), x[1:])


def test_bridge_storage_that_the_function_keeps_is_an_error():
    kept = []

    def function(x):
        kept.append(x.untyped_storage())
        return x * 2

    with pytest.raises(
        jax.errors.JaxRuntimeError, match=r"kept a tensor.*clone what is to be kept"
    ):
        jax.block_until_ready(torch2jax(function, output_shapes=jnp.ones(4))(jnp.ones(4)))


def test_bridge_empty_argument_may_be_kept():
    kept = []
    wrapped = torch2jax(lambda x: kept.append(x.view(-1)) or x + 1, output_shapes=jnp.ones((0, 2)))
    assert wrapped(jnp.ones((0, 2))).shape == (0, 2)


def test_bridge_garbage_that_refers_to_an_argument_is_no_error():
    def function(x):
        def again(n):
            return view.sum() if n == 0 else again(n - 1)  # refers to itself and to the view

        view = x[1:]
        return again(3)

    wrapped = torch2jax(function, output_shapes=jnp.float32(0))
    for _ in range(3):
        assert wrapped(jnp.ones(5)) == 4


TAKEN = {
    "resize": lambda x: x.resize_(100),
    "free": lambda x: x.untyped_storage().resize_(0),
    "grow": lambda x: x.untyped_storage().resize_(4096),
    "shrink": lambda x: x.resize_(2),
    "replace": lambda x: x.set_(torch.ones(4).untyped_storage()),
    "forget": lambda x: x.set_(),
}


@pytest.mark.parametrize("take", TAKEN.values(), ids=TAKEN)
def test_bridge_function_that_frees_or_resizes_its_argument(take):
    def function(x):
        take(x)
        return torch.zeros(4)

    x = jnp.arange(4.0)
    with pytest.raises(
        jax.errors.JaxRuntimeError, match=r"not resizable|changed its array argument"
    ):
        jax.block_until_ready(torch2jax(function, output_shapes=x)(x))
    np.testing.assert_array_equal(x, np.arange(4.0))


def test_bridge_fork_is_refused():
    done = python(
        """
        import os, warnings
        import jax, jax.numpy as jnp
        from torch2jax_bridge import torch2jax
        warnings.simplefilter("ignore")
        f = jax.jit(torch2jax(lambda x: x + 1, output_shapes=jnp.ones(2)))
        x = jnp.ones(2)
        f(x).block_until_ready()
        if os.fork() == 0:
            try:
                f(x).block_until_ready()
            except (jax.errors.JaxRuntimeError, ValueError) as error:
                print("forked after torch2jax_bridge was imported" in str(error), flush=True)
            os._exit(0)
        os.wait()
        print(f(x)[0])
        """
    )
    assert done.stdout == "True\n2.0\n", done.stderr


def test_bridge_interrupt_reaches_the_main_thread():
    done = python(
        """
        import signal, time
        import jax, jax.numpy as jnp
        from torch2jax_bridge import original_exception, torch2jax

        def function(x):
            raise KeyboardInterrupt

        signal.signal(signal.SIGINT, signal.default_int_handler)

        x = jnp.ones(2)
        try:
            try:
                torch2jax(function, output_shapes=x)(x).block_until_ready()
            except jax.errors.JaxRuntimeError as error:
                time.sleep(30)
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    assert done.stdout == "interrupted\n", done.stderr
