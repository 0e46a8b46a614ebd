"""Basic calls of pax_torch."""

import math

import torch

import pax_torch as pax

TWO = torch.tensor([1.0, 2.0])


def cubes(x):
    return (x**3).sum()


def close(tensor, numbers):
    torch.testing.assert_close(tensor.detach(), torch.tensor(numbers), check_dtype=False)


def gradient():
    close(pax.grad(cubes)(TWO), [3.0, 12.0])


def value_and_gradient_of_a_tree():
    value, grads = pax.value_and_grad(lambda p: p["w"] * p["b"])({"w": 2.0, "b": 3.0})
    assert (value, grads) == (6.0, {"w": 3.0, "b": 2.0})


def second_derivative():
    close(pax.grad(lambda x: pax.grad(cubes)(x).sum())(TWO), [6.0, 12.0])


def hessian():
    close(pax.hessian(cubes)(TWO), [[6.0, 0.0], [0.0, 12.0]])
    close(pax.hvp(cubes, (TWO,), (torch.ones(2),)), [6.0, 12.0])


def jacobians():
    close(pax.jacfwd(lambda x: x**2)(TWO), [[2.0, 0.0], [0.0, 4.0]])
    close(pax.jacrev(lambda x: x**2)(TWO), [[2.0, 0.0], [0.0, 4.0]])


def forward_mode():
    value, slope = pax.jvp(lambda x: x**2, (TWO,), (torch.ones(2),))
    close(value, [1.0, 4.0])
    close(slope, [2.0, 4.0])


def linearized():
    value, push = pax.linearize(lambda x: x**2, TWO)
    close(value, [1.0, 4.0])
    close(push(torch.ones(2)), [2.0, 4.0])


def reverse_mode():
    value, pull = pax.vjp(lambda x: x**2, TWO)
    close(value, [1.0, 4.0])
    close(pull(torch.ones(2))[0], [2.0, 4.0])


def batched():
    close(pax.vmap(lambda x, y: x * y, in_axes=(0, None))(TWO, torch.tensor(3.0)), [3.0, 6.0])
    close(pax.vmap(pax.grad(lambda x: x**3))(TWO), [3.0, 12.0])


def derivative_of_what_is_batched():
    close(pax.grad(lambda x: pax.vmap(lambda v: v**3)(x).sum())(TWO), [3.0, 12.0])
    _, slope = pax.jvp(pax.vmap(lambda v: v**2), (TWO,), (torch.ones(2),))
    close(slope, [2.0, 4.0])


def function_with_a_rule_for_reverse_mode():
    @pax.custom_vjp
    def f(x):
        return x**2

    f.defvjp(lambda x: (x**2, x), lambda x, g: (10 * g * x,))
    close(pax.grad(lambda x: f(x).sum())(TWO), [10.0, 20.0])
    close(pax.vmap(pax.grad(f))(TWO), [10.0, 20.0])


def function_with_a_rule_for_forward_mode():
    @pax.custom_jvp
    def f(x):
        return x**2

    f.defjvp(lambda primals, tangents: (primals[0] ** 2, 10 * primals[0] * tangents[0]))
    close(pax.jvp(f, (TWO,), (torch.ones(2),))[1], [10.0, 20.0])
    close(pax.grad(lambda x: f(x).sum())(TWO), [10.0, 20.0])
    close(pax.vmap(pax.grad(f))(TWO), [10.0, 20.0])


def computed_again():
    close(pax.grad(pax.checkpoint(cubes))(TWO), [3.0, 12.0])


def gradient_stopped():
    close(pax.grad(lambda x: (x * pax.stop_gradient(x)).sum())(TWO), [1.0, 2.0])


def compiled():
    step = pax.jit(lambda x: pax.grad(cubes)(x), backend="eager")
    close(step(TWO), [3.0, 12.0])
    close(step(TWO), [3.0, 12.0])


def derivative_of_what_is_compiled():
    close(pax.grad(pax.jit(cubes, backend="eager"))(TWO), [3.0, 12.0])


def shapes():
    out = pax.eval_shape(lambda x: x @ x.T, torch.ones(3, 2))
    assert (tuple(out.shape), out.dtype) == ((3, 3), torch.float32)


def linear():
    module = torch.nn.Linear(2, 1)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[2.0, 3.0]]))
        module.bias.zero_()
    return module


def module():
    func, params = pax.functional_module(linear()), pax.get_params(linear())
    close(func(params, TWO)[0], [8.0])
    grads = pax.grad(lambda params: func(params, TWO)[0].sum())(params)
    close(grads["weight"], [[1.0, 2.0]])


def module_with_state():
    norm = torch.nn.BatchNorm1d(1)
    func = pax.functional_module(norm)
    params, buffers = pax.get_params(norm), pax.get_buffers(norm)
    out, new = func(params, torch.tensor([[1.0], [3.0]]), buffers=buffers, is_training=True)
    close(out, [[-1.0], [1.0]])
    close(new["running_mean"], [0.2])


def modules_side_by_side():
    stacked = pax.stack_params([linear(), linear()])
    func = pax.functional_module(linear())
    close(pax.vmap(lambda p: func(p, TWO)[0])(stacked), [[8.0], [8.0]])


def optimizer(cls, **options):
    params, grads = {"w": torch.tensor([1.0])}, {"w": torch.tensor([2.0])}
    opt = pax.functional_optimizer(cls, **options)
    return opt.step(params, grads, opt.init(params))[0]["w"]


def steps():
    close(optimizer(torch.optim.SGD, lr=0.1, momentum=0.9), [0.8])
    close(optimizer(torch.optim.Adam, lr=0.1), [0.9])
    close(optimizer(torch.optim.AdamW, lr=0.1, weight_decay=0.0), [0.9])


def steps_side_by_side():
    opt = pax.functional_optimizer(torch.optim.SGD, lr=0.1)
    params = {"w": TWO}
    state = pax.vmap(opt.init)(params)
    close(pax.vmap(opt.step)(params, {"w": TWO}, state)[0]["w"], [0.9, 1.8])


def differentiable_step():
    opt = pax.functional_optimizer(torch.optim.SGD, lr=0.1, differentiable=True)

    def stepped(w):
        return opt.step({"w": w}, {"w": w**2}, opt.init({"w": w}))[0]["w"].sum()

    close(pax.grad(stepped)(TWO), [0.8, 0.6])


def schedules():
    scheduler = torch.optim.lr_scheduler
    stairs = pax.functional_schedule(scheduler.StepLR, step_size=2, gamma=0.5, initial_lr=1.0)
    assert [stairs(i) for i in range(4)] == [1.0, 1.0, 0.5, 0.5]
    close(stairs(torch.tensor([0, 2])), [1.0, 0.5])
    cycle = {"max_lr": 1.0, "total_steps": 10, "cycle_momentum": False}
    assert math.isclose(
        pax.functional_schedule(scheduler.OneCycleLR, **cycle, initial_lr=1.0)(0), 0.04
    )


def random_numbers():
    close(pax.random.uniform(pax.random.key(0), (2,)), [0.947667, 0.9785799])


def trees():
    assert pax.tree_cast({"a": TWO}, torch.float64)["a"].dtype == torch.float64
    close(pax.tree_clone({"a": TWO})["a"], [1.0, 2.0])
