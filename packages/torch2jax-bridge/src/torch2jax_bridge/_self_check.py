"""Small checks of the bridge on every device that both libraries see, for users and bug reports."""

from __future__ import annotations

import functools
import platform
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from torch2jax_bridge._convert import j2t, t2j
from torch2jax_bridge._jax2torch.api import jax2torch
from torch2jax_bridge._runtime.errors import original_exception
from torch2jax_bridge._torch2jax.api import torch2jax

Check = Callable[[Any, torch.device], None]
LARGE = 1 << 20


def main() -> int:
    """Print versions, devices and the verdict of each check; return 1 if one has failed, else 0."""
    _print_versions()
    devices = list(_shared_devices())
    failed = 0
    for ours, theirs in devices:
        print(f"\n{ours.platform}:{ours.id} of JAX is {theirs} of PyTorch")
        for copies, what in _copies(ours, theirs):
            print(f"  {'copies' if copies else 'no copy':8}{what}")
        with jax.default_device(ours):
            failed += sum(not _passes(check, ours, theirs) for check in CHECKS)
    count = len(devices) * len(CHECKS)
    print(f"\n{count - failed} of {count} checks passed.")
    return 1 if failed else 0


def _print_versions() -> None:
    names = ("torch2jax-bridge", "pax-tree", "jax", "jaxlib", "torch", "numpy")
    print(", ".join(f"{name} {_version_of(name)}" for name in names))
    print(f"Python {platform.python_version()}, {platform.platform()}")
    bits = "with" if jnp.arange(1).dtype.itemsize == 8 else "without"
    print(f"JAX: {', '.join(map(str, jax.devices()))}; {bits} 64 bits")
    found = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    print(f"PyTorch: cpu{''.join(f', cuda:{i} ({name})' for i, name in enumerate(found))}")


def _version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "from its sources"


def _shared_devices() -> Iterator[tuple[Any, torch.device]]:
    """Return the devices that both libraries see; JAX's further CPU devices are the same memory."""
    yield jax.devices("cpu")[0], torch.device("cpu")
    try:
        gpus = jax.devices("gpu")
    except RuntimeError:
        return
    for gpu in gpus:
        if gpu.local_hardware_id is not None and gpu.local_hardware_id < torch.cuda.device_count():
            yield gpu, torch.device("cuda", gpu.local_hardware_id)


def _copies(ours: Any, theirs: torch.device) -> Iterator[tuple[bool, str]]:
    array = jax.device_put(np.arange(4.0, dtype=np.float32), ours)
    tensor = torch.arange(1024.0, device=theirs)
    yield j2t(array).data_ptr() != array.unsafe_buffer_pointer(), "of an array, j2t"
    yield t2j(tensor).unsafe_buffer_pointer() != tensor.data_ptr(), "of a tensor, t2j"
    wide = torch.arange(1024, device=theirs)
    yield t2j(wide).unsafe_buffer_pointer() != wide.data_ptr(), "of a tensor of int64, t2j"


def _passes(check: Check, ours: Any, theirs: torch.device) -> bool:
    start = time.perf_counter()
    try:
        check(ours, theirs)
    except Exception as error:
        verdict = f"FAILED: {type(error).__name__}: {error}".strip()
    else:
        verdict = f"ok ({1000 * (time.perf_counter() - start):.0f} ms)"
    print(f"  {check.__name__.strip('_').replace('_', ' '):24}{verdict}")
    return verdict.startswith("ok")


def _close(got: Any, expected: Any) -> None:
    got = j2t(got) if isinstance(got, jax.Array) else got
    torch.testing.assert_close(got.cpu().double(), torch.as_tensor(expected).cpu().double())


def _values(ours: Any, theirs: torch.device) -> None:
    f = torch2jax(lambda x, y: {"a": x @ y, "b": (x.sum(), y.T)})
    x, y = jnp.arange(6.0).reshape(2, 3), jnp.ones((3, 4))
    out = jax.jit(f)(x, y)
    _close(out["a"], j2t(x) @ j2t(y))
    _close(out["b"][1], torch.ones(4, 3))


def _dtypes(ours: Any, theirs: torch.device) -> None:
    for dtype in ("bool", "int8", "int32", "uint8", "float16", "bfloat16", "float32", "complex64"):
        x = jnp.ones(3, dtype)
        got = jax.jit(torch2jax(torch.clone))(x)
        if got.dtype != x.dtype or not bool((got == x).all()):
            raise AssertionError(f"{dtype} came back as {got}.")


def _memory_of_arguments(ours: Any, theirs: torch.device) -> None:
    seen: list[int] = []
    x = jnp.ones(1000)
    jax.block_until_ready(
        torch2jax(lambda t: seen.append(t.data_ptr()) or t + 1, output_shapes=x)(x)
    )
    if seen != [x.unsafe_buffer_pointer()]:
        raise AssertionError("An argument was copied.")


def _memory_of_results(ours: Any, theirs: torch.device) -> None:
    kept: list[torch.Tensor] = []
    x = jnp.ones(LARGE)
    f = torch2jax(lambda t: kept.append(t * 2) or kept[-1], output_shapes=x)
    first = jax.block_until_ready(f(x))
    kept[-1].zero_()
    second = f(x) + first
    _close(second, torch.full((LARGE,), 4.0))


def _order_of_streams(ours: Any, theirs: torch.device) -> None:
    double = torch2jax(lambda t: t * 2)

    @jax.jit
    def chain(x: jax.Array) -> jax.Array:
        for _ in range(8):
            x = double(x + 1) - 1
        return x

    x = jnp.arange(float(LARGE)) / LARGE
    expected = j2t(x).clone()
    for _ in range(8):
        expected = (expected + 1) * 2 - 1
    for _ in range(3):
        _close(chain(x), expected)


def _gradients(ours: Any, theirs: torch.device) -> None:
    f = torch2jax(lambda x, y: (x * torch.sin(y)).sum())
    x, y = jnp.arange(3.0), jnp.ones(3)
    dx, dy = jax.jit(jax.grad(f, (0, 1)))(x, y)
    _close(dx, np.sin(np.ones(3, np.float32)))
    _close(dy, np.arange(3) * np.cos(np.ones(3, np.float32)))


def _second_derivatives(ours: Any, theirs: torch.device) -> None:
    hessian = jax.jit(jax.hessian(torch2jax(lambda x: (x**3).sum())))(jnp.arange(3.0))
    _close(hessian, torch.diag(6 * torch.arange(3.0)))


def _batches(ours: Any, theirs: torch.device) -> None:
    _close(jax.vmap(torch2jax(torch.linalg.vector_norm))(jnp.ones((5, 4))), torch.full((5,), 2.0))


def _loops(ours: Any, theirs: torch.device) -> None:
    add = torch2jax(torch.add)
    total, _ = jax.lax.scan(lambda c, x: (add(c, x), None), jnp.float32(0), jnp.arange(10.0))
    _close(total, 45.0)


def _modules(ours: Any, theirs: torch.device) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4)).to(theirs)
    apply, params, buffers = torch2jax(net)
    x = jnp.arange(12.0).reshape(3, 4)
    out, new = jax.jit(apply, static_argnames="is_training")(params, x, buffers=buffers)
    _close(out, net(j2t(x)).detach())
    _close(new["1.running_mean"], net[1].running_mean)


def _random_numbers(ours: Any, theirs: torch.device) -> None:
    apply, params, _ = torch2jax(torch.nn.Dropout(0.5))
    draw = jax.jit(lambda x, key: apply(params, x, rng=key)[0])
    x, key, other = jnp.ones(1000), jax.random.key(0), jax.random.key(1)
    _close(draw(x, key), j2t(draw(x, key)))
    _close(jax.grad(lambda x: draw(x, key).sum())(x), j2t(draw(x, key)))
    if bool((draw(x, key) == draw(x, other)).all()):
        raise AssertionError("Two keys gave the same numbers.")


def _inference(ours: Any, theirs: torch.device) -> None:
    @functools.cache
    def mask(n: int) -> torch.Tensor:
        return torch.tril(torch.ones(n, n, device=theirs))

    _close(jax.jit(torch2jax(lambda x: mask(len(x)) @ x))(jnp.ones(3)), [1.0, 2.0, 3.0])
    _close(mask(3).sum(), 6.0)


def _errors(ours: Any, theirs: torch.device) -> None:
    def fails(x: torch.Tensor) -> torch.Tensor:
        raise LookupError("There is nothing there.")

    try:
        jax.block_until_ready(torch2jax(fails, output_shapes=jnp.ones(2))(jnp.ones(2)))
    except jax.errors.JaxRuntimeError as error:
        if not isinstance(original_exception(error), LookupError):
            raise
    else:
        raise AssertionError("An exception was lost.")


def _JAX_in_PyTorch(ours: Any, theirs: torch.device) -> None:
    x = torch.arange(3.0, device=theirs, requires_grad=True)
    jax2torch(lambda x: jnp.sum(x**2))(x).backward()
    _close(x.grad, 2 * torch.arange(3.0))


CHECKS: tuple[Check, ...] = (
    *(_values, _dtypes, _memory_of_arguments, _memory_of_results, _order_of_streams),
    *(_gradients, _second_derivatives, _batches, _loops, _modules, _random_numbers),
    *(_inference, _errors, _JAX_in_PyTorch),
)
