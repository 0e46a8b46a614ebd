"""Linear algebra by JAX's. Where PyTorch raises for a singular matrix, there are NaNs here."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from torch2jax_bridge._lowered.registry import lowering
from torch2jax_bridge._lowered.rules.numbers import in_float32

Array = jax.Array


def _info(x: Array) -> Array:
    return jnp.zeros(x.shape[:-2], jnp.int32)


def _t(x: Array) -> Array:
    return jnp.swapaxes(x, -1, -2)


@lowering("aten::linalg_inv_ex")
def inv(x: Array, *, check_errors: bool = False) -> tuple[Array, Array]:
    return jnp.linalg.inv(x), _info(x)


@lowering("aten::linalg_cholesky_ex")
def cholesky(x: Array, *, upper: bool = False, check_errors: bool = False) -> tuple[Array, Array]:
    factor = jax.lax.linalg.cholesky(_hermitian(x, upper), symmetrize_input=False)
    return (jnp.conj(_t(factor)) if upper else factor), _info(x)


def _batched(x: Array, y: Array) -> tuple[Array, Array]:
    """Return two stacks of matrices, equally many."""
    batch = jnp.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    x, y = (jnp.broadcast_to(v, (*batch, *v.shape[-2:])) for v in (x, y))
    return x, y


def _hermitian(x: Array, upper: bool) -> Array:
    """Return the matrix that half of one stands for; its derivative is for the whole, as PyTorch's."""
    lower = jnp.conj(_t(x)) if upper else x
    half = jnp.tril(lower)
    value = half + jnp.conj(_t(jnp.tril(lower, -1)))
    mean = (lower + jnp.conj(_t(lower))) / 2
    return jax.lax.stop_gradient(value) + (mean - jax.lax.stop_gradient(mean))


@lowering("aten::linalg_solve_triangular")
def solve_triangular(
    a: Array, b: Array, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Array:
    a, b = _batched(a, b)
    return jax.lax.linalg.triangular_solve(
        a, b, left_side=left, lower=not upper, unit_diagonal=unitriangular
    )


@lowering("aten::triangular_solve")
def triangular_solve(
    b: Array, a: Array, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> tuple[Array, Array]:
    a, b = _batched(a, b)
    found = jax.lax.linalg.triangular_solve(
        a, b, left_side=True, lower=not upper, transpose_a=transpose, unit_diagonal=unitriangular
    )
    return found, a


@lowering("aten::_linalg_solve_ex")
def solve(
    a: Array, b: Array, *, left: bool = True, check_errors: bool = False, result: Any
) -> tuple[Array, ...]:
    is_vector = b.ndim == 1 or (b.ndim == a.ndim - 1 and b.shape == a.shape[:-1])
    right = b[..., None] if is_vector else b
    pair = (a, right) if left else (_t(a), _t(right))
    found = jnp.linalg.solve(*_batched(*pair))
    found = found if left else _t(found)
    found = found[..., 0] if is_vector else found
    lu, pivots = _lu(a)
    return found, lu, pivots, _info(a)


def _lu(a: Array) -> tuple[Array, Array]:
    lu, pivots, _ = jax.lax.linalg.lu(a)
    return lu, pivots + 1


@lowering("aten::linalg_lu_factor_ex")
def lu_factor(
    a: Array, *, pivot: bool = True, check_errors: bool = False
) -> tuple[Array, Array, Array]:
    return *_lu(a), _info(a)


@lowering("aten::_linalg_det")
def det(a: Array) -> tuple[Array, Array, Array]:
    found = jnp.linalg.det(a) if a.size else jnp.ones(a.shape[:-2], a.dtype)
    return found, *_lu(a)


@lowering("aten::_linalg_slogdet")
def slogdet(a: Array) -> tuple[Array, Array, Array, Array]:
    sign, logarithm = jnp.linalg.slogdet(a)
    return sign, logarithm, *_lu(a)


@lowering("aten::linalg_householder_product")
def householder_product(a: Array, taus: Array) -> Array:
    """Return the first columns of a product of reflections, the last of which comes first."""
    rows, count = a.shape[-2], taus.shape[-1]
    below = jnp.tril(a[..., :count], -1) + jnp.eye(rows, count, dtype=a.dtype)
    vectors, factors = jnp.moveaxis(below, -1, 0), jnp.moveaxis(taus, -1, 0)

    def reflected(found: Array, reflection: tuple[Array, Array]) -> tuple[Array, None]:
        vector, tau = reflection
        along = jnp.einsum("...i,...ij->...j", vector.conj(), found)
        return found - tau[..., None, None] * vector[..., :, None] * along[..., None, :], None

    start = jnp.broadcast_to(jnp.eye(rows, a.shape[-1], dtype=a.dtype), a.shape)
    return jax.lax.scan(reflected, start, (vectors, factors), reverse=True)[0]


@lowering("aten::linalg_qr")
def qr(a: Array, mode: str = "reduced", *, result: Any) -> tuple[Array, Array]:
    if mode == "r":
        return jnp.zeros(result[0].shape, a.dtype), jnp.linalg.qr(a, "r")
    q, r = jnp.linalg.qr(a, mode)
    return q, r


@lowering("aten::_linalg_svd")
def svd(
    a: Array,
    full_matrices: bool = False,
    compute_uv: bool = True,
    *,
    driver: Any = None,
    result: Any,
) -> tuple[Array, Array, Array]:
    if compute_uv:
        return tuple(jnp.linalg.svd(a, full_matrices=full_matrices))
    empty = (jnp.zeros(result[i].shape, a.dtype) for i in (0, 2))
    u, vh = empty
    return u, jnp.linalg.svd(a, compute_uv=False), vh


@lowering("aten::_linalg_eigh")
def eigh(a: Array, uplo: str = "L", compute_v: bool = True, *, result: Any) -> tuple[Array, Array]:
    values, vectors = jnp.linalg.eigh(a, uplo, symmetrize_input=False)
    return values, vectors if compute_v else jnp.zeros(result[1].shape, a.dtype)


@lowering("aten::linalg_matrix_exp")
@in_float32
def matrix_exp(a: Array) -> Array:
    return jax.scipy.linalg.expm(a)
