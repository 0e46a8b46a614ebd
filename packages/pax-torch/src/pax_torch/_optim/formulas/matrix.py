"""Optimizers that see a parameter as a matrix or as rows: Adafactor, Muon and SparseAdam."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pax_torch._optim.formulas.adam import adam_constants
from pax_torch._optim.formulas.update_rule import (
    Constants,
    Options,
    Scalar,
    State,
    Stepped,
    UpdateRule,
    counted,
    given,
    lerp,
    maximum,
    minimum,
    sqrt,
)


def _init_adafactor(p: Tensor, h: Options) -> State:
    _refuse_complex(p, "Adafactor")
    state = counted(p)
    if p.dim() < 2:
        return {**state, "variance": torch.zeros_like(p)}
    rows, columns = p.narrow(-1, 0, 1), p.narrow(-2, 0, 1)
    return {**state, "row_var": torch.zeros_like(rows), "col_var": torch.zeros_like(columns)}


def _step_adafactor(p: Tensor, g: Tensor, state: State, h: Options, c: Constants) -> Stepped:
    least, floor = h.eps
    least = torch.finfo(p.dtype).eps if least is None else least
    weight, limit = c
    new = dict(state)
    lr = maximum(_rms(p), floor) * minimum(h.lr, limit)
    if given(h.weight_decay):
        p = p * (1 - h.lr * h.weight_decay)
    estimate = _estimate(g, new, weight, least)
    update = torch.clamp(estimate, min=least * least).rsqrt() * g
    return p - lr / maximum(_rms(update) / h.d, 1.0) * update, new


def _adafactor_constants(t: Scalar, h: Options) -> Constants:
    """Return the weight of the last gradient, and the highest learning rate."""
    return t**h.beta2_decay, 1 / t**0.5


def _estimate(g: Tensor, state: State, weight: Scalar, least: Scalar) -> Tensor:
    """Return the running average of the squared gradient; of a matrix, only row and column means are kept."""
    if g.dim() < 2:
        state["variance"] = lerp(state["variance"], g * g, weight)
        return state["variance"]
    rows = state["row_var"] = lerp(state["row_var"], _mean_square(g, -1), weight)
    columns = state["col_var"] = lerp(state["col_var"], _mean_square(g, -2), weight)
    return rows @ columns / torch.clamp(rows.mean(-2, keepdim=True), min=least)


def _mean_square(g: Tensor, axis: int) -> Tensor:
    return torch.norm(g, dim=axis, keepdim=True).square() / g.size(axis)


def _rms(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x).to(torch.float64) / x.numel() ** 0.5


def _init_muon(p: Tensor, h: Options) -> State:
    _refuse_complex(p, "Muon")
    if p.dim() != 2:
        raise ValueError(f"Muon only supports 2D parameters, got one of shape {tuple(p.shape)}.")
    return {"momentum_buffer": torch.zeros_like(p)}


def _refuse_complex(p: Tensor, name: str) -> None:
    if p.is_complex():
        raise ValueError(f"{name} does not support complex parameters, got dtype {p.dtype}.")


def _step_muon(p: Tensor, g: Tensor, state: State, h: Options, c: Constants) -> Stepped:
    buffer = lerp(state["momentum_buffer"], g, 1 - h.momentum)
    update = lerp(g, buffer, h.momentum) if h.nesterov else buffer
    unit = update.bfloat16()
    unit = unit / torch.clamp(unit.norm(), min=h.eps)
    if not h.nesterov and buffer.dtype is torch.bfloat16:
        buffer = unit  # The class divides in place.
    step = h.lr * _shape_factor(p, h.adjust_lr_fn) * _orthogonal(unit, h).to(p.dtype)
    return p * (1 - h.lr * h.weight_decay) - step, {"momentum_buffer": buffer}


def _orthogonal(x: Tensor, h: Options) -> Tensor:
    """Return the Newton-Schulz iteration, in the class's precision."""
    a, b, c = h.ns_coefficients
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    for _ in range(h.ns_steps):
        gram = x @ x.T
        update = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.addmm(x, update, x, beta=a)
    return x if wide else x.T


def _shape_factor(p: Tensor, kind: str | None) -> float:
    rows, columns = p.shape
    if kind == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1, rows / columns))


def _init_sparse_adam(p: Tensor, h: Options) -> State:
    return {"step": 0, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}


def _step_sparse_adam(p: Tensor, g: Tensor, state: State, h: Options, c: Constants) -> Stepped:
    if p.dim() == 0:
        return _step_sparse_number(p, g, state, h, c)
    g = g.coalesce()
    rows, values = tuple(g.indices()), g.values()
    mean = _moved(state["exp_avg"][rows], values, 1 - h.betas[0])
    square = _moved(state["exp_avg_sq"][rows], values * values, 1 - h.betas[1])
    new = {
        **state,
        "exp_avg": state["exp_avg"].index_put(rows, mean),
        "exp_avg_sq": state["exp_avg_sq"].index_put(rows, square),
    }
    rate, root = c
    change = rate * root * (mean / (sqrt(square) + h.eps))
    return p.index_put(rows, change, accumulate=True), new


def _moved(old: Tensor, values: Tensor, weight: Scalar) -> Tensor:
    return old + (values - old) * weight


def _step_sparse_number(p: Tensor, g: Tensor, state: State, h: Options, c: Constants) -> Stepped:
    """Return the same for a parameter of shape (), which has no rows to name."""
    longer = {k: x[None] if isinstance(x, Tensor) and k != "step" else x for k, x in state.items()}
    new, new_state = _step_sparse_adam(p[None], g.to_dense()[None].to_sparse(), longer, h, c)
    return new[0], {k: x[0] if k != "step" else x for k, x in new_state.items()}


ADAFACTOR = UpdateRule(_init_adafactor, _step_adafactor, _adafactor_constants, elementwise=False)
MUON = UpdateRule(_init_muon, _step_muon, elementwise=False)
SPARSE_ADAM = UpdateRule(_init_sparse_adam, _step_sparse_adam, adam_constants, elementwise=False)
