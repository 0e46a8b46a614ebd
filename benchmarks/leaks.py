"""What stays of a wrapped function or module once it is dropped: `python -m benchmarks.leaks` prints a table.

Each wrapper is given something new of the user's in every iteration, is used and dropped; beside it the
same is done by PyTorch or JAX alone, which is the floor.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jmp
import optax
import torch

import opax
import pax_jax
import pax_torch
import pax_tree
from torch2jax_bridge import JaxModule, jax2torch, torch2jax, torch2jax_with_vjp

Trial = Callable[[], list[Any]]
T, J = torch.ones(4), jnp.ones(4)
SIZE = 10_000  # numbers of what a trial holds


def of_torch(use: Callable[[Any], Any]) -> list[Any]:
    """Use a function of PyTorch's that holds a tensor; returns weak references to both."""
    held = torch.ones(SIZE)

    def function(x: Any) -> Any:
        return (x * held[:4]).sum()

    use(function)
    return [weakref.ref(held), weakref.ref(function)]


def of_jax(use: Callable[[Any], Any]) -> list[Any]:
    """Use a function of JAX's that holds an array; returns weak references to both."""
    held = jnp.ones(SIZE) * 2

    def function(x: Any) -> Any:
        return (x * held[:4]).sum()

    jax.block_until_ready(use(function))
    return [weakref.ref(held), weakref.ref(function)]


def of_module(use: Callable[[Any], Any]) -> list[Any]:
    """Use a module of PyTorch's; returns weak references to it and to a parameter."""
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    use(module)
    return [weakref.ref(module), weakref.ref(module[0].weight)]


class Net(pax_jax.Module):
    """A module with a function: JAX keeps the classes of modules, so it is one for all trials."""

    def __init__(self, held: Any) -> None:
        super().__init__()
        self.layer, self.act = pax_jax.Linear(4, 4), lambda x: x + 1
        self.register_parameter("held", held)

    def __call__(self, x: Any) -> Any:
        """Return a number."""
        return self.act(self.layer(x)).sum() * self.held[0]


class Block(pax_jax.Module):
    """A layer of a stack, with a function."""

    def __init__(self, act: Any, key: Any) -> None:
        super().__init__()
        self.layer, self.act = pax_jax.Linear(4, 4, rng_key=key), act

    def __call__(self, x: Any) -> Any:
        """Return as many numbers."""
        return self.act(self.layer(x))


def of_pax(use: Callable[[Any], Any]) -> list[Any]:
    """Use a module of pax_jax; returns weak references to it, its function and an array."""
    held = jnp.ones(SIZE) * 2
    net = Net(held)
    jax.block_until_ready(jax.tree.leaves(use(net)))
    return [weakref.ref(held), weakref.ref(net), weakref.ref(net.act)]


def _linearized(function: Any) -> None:
    pax_torch.linearize(function, T)[1](T)


def _pulled(function: Any) -> None:
    pax_torch.vjp(function, T)[1](torch.ones(()))


def _by_rule(function: Any) -> None:
    rule = pax_torch.custom_jvp(lambda x: function(x))
    rule.defjvp(lambda primals, tangents: (rule(*primals), function(tangents[0])))
    pax_torch.grad(rule)(T)


def _by_vjp_rule(function: Any) -> None:
    rule = pax_torch.custom_vjp(lambda x: function(x))
    rule.defvjp(lambda x: (function(x), x), lambda x, cotangent: (cotangent * x,))
    pax_torch.grad(rule)(T)


def _functional(module: Any) -> None:
    function = pax_torch.functional_module(module)
    params, buffers = pax_torch.get_params(module), pax_torch.get_buffers(module)
    pax_torch.grad(lambda params: function(params, T, buffers=buffers)[0].sum())(params)


def _stepped(make: Callable[[], Any], module: Any) -> None:
    params = pax_torch.get_params(module)
    optimizer = make()
    optimizer.step(params, params, optimizer.init(params))


def _by_label() -> Any:
    adam = pax_torch.functional_optimizer(torch.optim.Adam)
    return pax_torch.multi_transform(
        {"all": adam}, lambda params: pax_torch.tree_map(lambda _: "all", params)
    )


def _bridged(module: Any) -> None:
    apply, params, _ = torch2jax(module)
    jax.block_until_ready(jax.jit(jax.grad(lambda p: apply(p, J)[0].sum()))(params))


def _loss() -> Any:
    """Return a new function: JAX keeps the programs of one for as long as that is there."""
    return lambda net, x: net(x)


def _optimized(make: Callable[[Any], Any], net: Any) -> Any:
    params = net.parameters()
    return make(params).step(params, net)


def _scanned(scan: Any, function: Any) -> Any:
    return scan(lambda carry, x: (carry + function(x), x), jnp.zeros(()), J[None])


def _scanned_module(net: Any) -> Any:
    def step(carry: Any, x: Any) -> Any:
        return carry, carry(x)

    return pax_jax.scan(step, net, J[None])


def _looped(net: Any) -> Any:
    def step(state: Any) -> Any:
        return state[0], state[1] + state[0](J) * 0 + 1

    start = net, jnp.zeros(())
    last = pax_jax.while_loop(lambda state: state[1] < 2, step, start)
    return last, pax_jax.fori_loop(0, 2, lambda i, state: step(state), start)


def _branched(net: Any) -> Any:
    def call(net: Any) -> Any:
        return net(J)

    return pax_jax.cond(True, call, call, net), pax_jax.switch(0, [call, call], net)


def _updated(net: Any) -> Any:
    def loss(net: Any, x: Any) -> Any:
        value = net(x)
        return value, (value, net)

    optimizer = opax.sgd(0.1)(net.parameters())
    return jax.jit(pax_jax.build_update_fn(loss))(net, optimizer, J)[2]


def _scanned_in_torch(function: Any) -> Any:
    return pax_torch.lax.scan(lambda carry, x: (carry + function(x), x), torch.zeros(()), T[None])


def _branched_in_torch(function: Any) -> Any:
    return pax_torch.lax.cond(torch.tensor(True), function, function, T)


def _looped_in_torch(function: Any) -> Any:
    return pax_torch.lax.fori_loop(0, 2, lambda i, x: x + function(x), T)


def _mapped_in_torch(function: Any) -> Any:
    pax_torch.lax.associative_scan(lambda a, b: a + b + function(a) * 0, torch.ones(4, 4))
    return pax_torch.lax.map(function, T[None])


def _with_gradient(function: Any) -> None:
    rule = pax_torch.custom_gradient(lambda x: (function(x), lambda g: g * x))
    pax_torch.grad(rule)(T)


def _called_back(function: Any) -> None:
    shape = pax_torch.ShapeDtypeStruct((), torch.float32)
    pax_torch.pure_callback(function, shape, T)


def _scheduled(module: Any) -> None:
    optimizer = pax_torch.functional_optimizer(torch.optim.SGD, lr=0.1)
    step_lr = torch.optim.lr_scheduler.StepLR
    schedule = pax_torch.functional_schedule(step_lr, 3, optimizer=optimizer)
    params = pax_torch.get_params(module)
    optimizer.step(params, params, optimizer.init(params), **schedule(4))


def _averaged(module: Any) -> None:
    params = pax_torch.get_params(module)
    pax_torch.ema_step(pax_torch.ema_init(params), params, 0.9)
    stacked, _ = pax_torch.stack_params([module, module]), pax_torch.stack_buffers([module, module])
    pax_torch.tree_ravel(stacked)


def _with_policy(net: Any) -> Any:
    policy = jmp.get_policy("params=float32,compute=bfloat16,output=float32")
    return pax_jax.apply_mp_policy(net, policy)(J)


def _differentiated(wrap: Callable[[Any], Any], function: Any) -> None:
    wrap(function)(T.clone().requires_grad_()).backward()


def _plain_step(optimizer: Any, params: Any) -> Any:
    return optimizer.update(params, optimizer.init(params), params)


FLOORS: dict[str, Trial] = {
    "torch.func.grad": partial(of_torch, lambda f: torch.func.grad(f)(T)),
    "torch.nn.Module": partial(of_module, lambda m: m(T).sum().backward()),
    "torch.compile": partial(
        of_torch, lambda f: (torch.compile(f, backend="eager")(T), torch._dynamo.reset())
    ),
    "jax.jit": partial(of_jax, lambda f: jax.jit(jax.grad(f))(J)),
    "jax.lax.scan": partial(of_jax, partial(_scanned, jax.lax.scan)),
    # optax has one function of trees under jax.jit, which keeps the structure of its arguments.
    "optax.adam": partial(of_pax, lambda net: _plain_step(optax.adam(1e-3), net.parameters())),
    "jax.jit of a tree": partial(of_pax, lambda net: jax.jit(jax.grad(_loss()))(net, J)),
}


class Wrapper(NamedTuple):
    """What is done with a wrapper in one iteration, and the floor beside it."""

    trial: Trial
    floor: str


def _torch(floor: str, **uses: Callable[[Any], Any]) -> dict[str, Wrapper]:
    return {name: Wrapper(partial(of_torch, use), floor) for name, use in uses.items()}


_eager = partial(pax_torch.jit, backend="eager")
_adam = partial(pax_torch.functional_optimizer, torch.optim.Adam)
WRAPPERS: dict[str, Wrapper] = {
    "pax_tree.Partial": Wrapper(
        partial(of_torch, lambda f: pax_tree.Partial(f)(T)), "torch.func.grad"
    ),
    "pax_tree.tree_ravel": Wrapper(partial(of_pax, pax_tree.tree_ravel), "jax.jit"),
    **{
        f"pax_torch.{name}": wrapper
        for name, wrapper in _torch(
            "torch.func.grad",
            grad=lambda f: pax_torch.grad(f)(T),
            vmap=lambda f: pax_torch.vmap(f)(T[None]),
            jvp=lambda f: pax_torch.jvp(f, (T,), (T,)),
            vjp=_pulled,
            linearize=_linearized,
            hessian=lambda f: pax_torch.hessian(f)(T),
            jacfwd=lambda f: pax_torch.jacfwd(f)(T),
            custom_jvp=_by_rule,
            custom_vjp=_by_vjp_rule,
            checkpoint=partial(_differentiated, pax_torch.checkpoint),
            eval_shape=lambda f: pax_torch.eval_shape(f, T),
            custom_gradient=_with_gradient,
            closure_convert=lambda f: pax_torch.closure_convert(f, T)[0](T),
            jacrev=lambda f: pax_torch.jacrev(f)(T),
            hvp=lambda f: pax_torch.hvp(f, (T,), (T,)),
            pure_callback=_called_back,
            scan=_scanned_in_torch,
            cond=_branched_in_torch,
            fori_loop=_looped_in_torch,
            map=_mapped_in_torch,
        ).items()
    },
    **{
        f"pax_torch.{name}": wrapper
        for name, wrapper in {
            "jit": Wrapper(
                partial(of_torch, lambda f: (_eager(f)(T), torch._dynamo.reset())), "torch.compile"
            ),
            "jit(grad)": Wrapper(
                partial(of_torch, lambda f: (_eager(pax_torch.grad(f))(T), torch._dynamo.reset())),
                "torch.compile",
            ),
            "jit(dynamic=True)": Wrapper(
                partial(of_torch, lambda f: (_eager(f, dynamic=True)(T), torch._dynamo.reset())),
                "torch.compile",
            ),
            "functional_module": Wrapper(partial(of_module, _functional), "torch.nn.Module"),
            "functional_optimizer": Wrapper(
                partial(of_module, partial(_stepped, _adam)), "torch.nn.Module"
            ),
            "multi_transform": Wrapper(
                partial(of_module, partial(_stepped, _by_label)), "torch.nn.Module"
            ),
            "functional_schedule": Wrapper(partial(of_module, _scheduled), "torch.nn.Module"),
            "ema_step": Wrapper(partial(of_module, _averaged), "torch.nn.Module"),
        }.items()
    },
    **{
        f"pax_jax.{name}": Wrapper(partial(of_pax, use), "jax.jit")
        for name, use in {
            "Module": lambda net: net.eval().freeze().unfreeze().copy().parameters(),
            "jit": lambda net: pax_jax.jit(_loss())(net, J),
            "grad": lambda net: pax_jax.grad(_loss())(net, J),
            "jit(grad)": lambda net: pax_jax.jit(pax_jax.grad(_loss()))(net, J),
            "vmap": lambda net: pax_jax.vmap(net.__call__)(J[None]),
            "remat": lambda net: pax_jax.grad(pax_jax.remat(_loss()))(net, J),
            "pure": lambda net: pax_jax.pure(lambda net: net(J))(net),
            "mutable": lambda net: pax_jax.mutable(net)(J),
            "purecall": lambda net: pax_jax.purecall(net, J),
            "replace_method": lambda net: net.replace_method(__call__=lambda self, x: x)(J),
            "apply_mp_policy": _with_policy,
            "scan of a module": _scanned_module,
            "while_loop": _looped,
            "cond": _branched,
            "lora": lambda net: pax_jax.merge_lora(pax_jax.lora(net, 1))(J),
            "state_dict": lambda net: net.load_state_dict(net.state_dict())(J),
            "repr": lambda net: [repr(net), net.summary()] and net,
        }.items()
    },
    "pax_jax.build_update_fn": Wrapper(partial(of_pax, _updated), "jax.jit of a tree"),
    "pax_jax.scan": Wrapper(partial(of_jax, partial(_scanned, pax_jax.scan)), "jax.lax.scan"),
    "pax_jax.Lambda": Wrapper(
        partial(of_pax, lambda net: pax_jax.Sequential(net.layer, pax_jax.Lambda(net.act))(J)),
        "jax.jit",
    ),
    "pax_jax.Stack": Wrapper(
        partial(of_pax, lambda net: pax_jax.Stack(partial(Block, net.act), 2)(J)), "jax.jit"
    ),
    "pax_jax.from_torch": Wrapper(
        partial(of_module, lambda m: pax_jax.from_torch(m)(J)), "torch.nn.Module"
    ),
    **{
        f"opax.{name}": Wrapper(
            partial(of_pax, partial(_optimized, make)),
            "optax.adam" if name == "adam" else "jax.jit",
        )
        for name, make in {
            "adam": opax.adam(1e-3),
            "sgd": opax.sgd(0.1, momentum=0.9),
            "multi_transform": opax.multi_transform({"all": opax.sgd(0.1)}, {"**": "all"}),
            "chain": opax.chain(opax.clip(1.0), opax.sgd(0.1)),
            "from_optax": opax.from_optax(optax.sgd(0.1, momentum=0.9)),
        }.items()
    },
    "torch2jax": Wrapper(
        partial(of_torch, lambda f: jax.jit(jax.grad(torch2jax(f)))(J).block_until_ready()),
        "jax.jit",
    ),
    'torch2jax(backend="xla")': Wrapper(
        partial(of_torch, lambda f: jax.jit(jax.grad(torch2jax(f, backend="xla")))(J)), "jax.jit"
    ),
    "torch2jax(module)": Wrapper(partial(of_module, _bridged), "jax.jit"),
    "torch2jax_with_vjp": Wrapper(
        partial(of_torch, lambda f: jax.grad(torch2jax_with_vjp(f, T))(J).block_until_ready()),
        "jax.jit",
    ),
    "jax2torch": Wrapper(partial(of_jax, partial(_differentiated, jax2torch)), "jax.jit"),
    "JaxModule": Wrapper(
        partial(of_jax, lambda f: JaxModule(lambda p, x: f(x) * p, jnp.ones(()))(T).backward()),
        "jax.jit",
    ),
}


def alive_after(trial: Trial, times: int = 3, allowed: int = 1) -> int:
    """Return how many of the things of so many trials are still there after garbage collection.

    One may be: JAX keeps the structures of the last program that it has traced.
    """
    trial()
    gc.freeze()  # what was there before is not looked at in each collection
    try:
        held = [reference for _ in range(times) for reference in trial()]
        for _ in range(20):  # XLA's threads let go of a program a moment after it has ended
            gc.collect()
            alive = sum(reference() is not None for reference in held)
            if alive <= allowed:
                break
            time.sleep(0.1)
    finally:
        gc.unfreeze()
    return alive


def bytes_left(trial: Trial, times: int = 20) -> float:
    """Return by how much the memory of the process grows in a trial, after some to warm up."""
    for _ in range(times):
        trial()
    before = _resident()
    for _ in range(times):
        trial()
    return (_resident() - before) / times


def _resident() -> int:
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def main(names: list[str]) -> None:
    """Print a row for each wrapper, or for those with one of the names in theirs."""
    floors: dict[str, tuple[float, int]] = {}
    head = "wrapper", "bytes an iteration", "its floor", "objects left", "its floor"
    print("{:32} {:>18} {:>10}  {:>12} {:>10}".format(*head))
    for name, (trial, floor) in WRAPPERS.items():
        if names and not any(each in name for each in names):
            continue
        if floor not in floors:
            floors[floor] = bytes_left(FLOORS[floor]), alive_after(FLOORS[floor])
        left, least = floors[floor]
        row = bytes_left(trial), left, alive_after(trial), least, floor
        print(f"{name:32} {{:18,.0f}} {{:10,.0f}}  {{:12}} {{:10}}  {{}}".format(*row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
