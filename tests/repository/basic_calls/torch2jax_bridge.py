"""Basic calls of torch2jax_bridge."""

import jax
import jax.numpy as jnp
import torch

from tests.repository.basic_calls import error_of
from torch2jax_bridge import j2t, jax2torch, t2j, torch2jax, torch2jax_with_vjp, tree_j2t

TWO = jnp.array([1.0, 2.0])
TENSOR = torch.tensor([1.0, 2.0])


def cubes(x):
    return (x**3).sum()


def close(array, numbers):
    if isinstance(array, torch.Tensor):
        array = array.detach().numpy()
    assert jnp.allclose(jnp.asarray(array), jnp.array(numbers), rtol=1e-5), array


def arrays():
    close(j2t(TWO), [1.0, 2.0])
    close(t2j(TENSOR), [1.0, 2.0])
    close(tree_j2t({"a": TWO})["a"], [1.0, 2.0])


def call():
    close(torch2jax(torch.sin)(jnp.zeros(2)), [0.0, 0.0])
    close(torch2jax(cubes)(TWO), 9.0)


def compiled_call():
    close(
        jax.jit(torch2jax(lambda x, y: {"sum": x + y, "max": x.amax()}))(TWO, TWO)["sum"],
        [2.0, 4.0],
    )


def gradient():
    close(jax.grad(torch2jax(cubes))(TWO), [3.0, 12.0])
    close(jax.jit(jax.grad(torch2jax(cubes)))(TWO), [3.0, 12.0])


def second_derivative():
    close(jax.jit(jax.hessian(torch2jax(cubes)))(TWO), [[6.0, 0.0], [0.0, 12.0]])


def forward_mode():
    value, slope = jax.jit(lambda x, t: jax.jvp(torch2jax(lambda x: x**2), (x,), (t,)))(TWO, TWO)
    close(value, [1.0, 4.0])
    close(slope, [2.0, 8.0])


def batched():
    close(jax.jit(jax.vmap(torch2jax(cubes)))(jnp.ones((2, 3))), [3.0, 3.0])
    close(jax.vmap(jax.grad(torch2jax(lambda x: x**3)))(TWO), [3.0, 12.0])


def given_derivative():
    f = torch2jax_with_vjp(cubes, TENSOR)
    close(jax.grad(f)(TWO), [3.0, 12.0])


def given_shapes():
    f = torch2jax(
        lambda x: x * float(x.sum()), output_shapes=jax.ShapeDtypeStruct((2,), jnp.float32)
    )
    close(jax.jit(f)(TWO), [3.0, 6.0])


def out_buffers():
    f = torch2jax(lambda x, out: torch.mul(x, 2, out=out), output_shapes=TWO, out=True)
    close(jax.jit(f)(TWO), [2.0, 4.0])


def module():
    linear = torch.nn.Linear(2, 1)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[2.0, 3.0]]))
        linear.bias.zero_()
    apply, params, buffers = torch2jax(linear)
    out, _ = jax.jit(apply)(params, TWO, buffers=buffers)
    close(out, [8.0])
    grads = jax.grad(lambda params: apply(params, TWO, buffers=buffers)[0].sum())(params)
    close(grads["weight"], [[1.0, 2.0]])


def dropout():
    apply, params, buffers = torch2jax(torch.nn.Dropout(0.5))
    options = {"buffers": buffers, "is_training": True, "rng": jax.random.key(0)}
    first, _ = apply(params, jnp.ones(8), **options)
    close(apply(params, jnp.ones(8), **options)[0], first.tolist())


def error():
    def fails(x):
        raise ArithmeticError("seven")

    f = torch2jax(fails, output_shapes=jax.ShapeDtypeStruct((), jnp.float32))
    assert "seven" in error_of(lambda: jax.block_until_ready(jax.jit(f)(TWO)))


def jax_call():
    close(jax2torch(jnp.sin)(torch.zeros(2)), [0.0, 0.0])


def jax_gradient():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    jax2torch(cubes)(x).backward()
    close(x.grad, [3.0, 12.0])
    close(torch.func.grad(jax2torch(cubes))(TENSOR), [3.0, 12.0])


def jax_forward_mode():
    _, slope = torch.func.jvp(jax2torch(lambda x: x**2), (TENSOR,), (TENSOR,))
    close(slope, [2.0, 8.0])


def jax_batched():
    close(torch.func.vmap(jax2torch(lambda x: x**2))(TENSOR), [1.0, 4.0])


def jax_static_argument():
    close(jax2torch(lambda x, n: x**n, static_argnums=1)(TENSOR, 2), [1.0, 4.0])


def jax_in_a_compiled_function():
    f = jax2torch(lambda x: x**2)
    close(torch.compile(lambda x: f(x) + 1, backend="eager", fullgraph=True)(TENSOR), [2.0, 5.0])
