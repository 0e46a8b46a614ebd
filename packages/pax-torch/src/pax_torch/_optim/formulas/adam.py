"""Adam and its relatives."""

from __future__ import annotations

import torch
from torch import Tensor

from pax_torch._optim.formulas.update_rule import (
    Constants,
    Options,
    Scalar,
    State,
    Stepped,
    UpdateRule,
    average_square,
    counted,
    given,
    lerp,
    maximum,
    scalar_state,
    sqrt,
    where,
)


def decayed(p: Tensor, g: Tensor, h: Options) -> tuple[Tensor, Tensor]:
    """Parameter and gradient after weight decay, which goes into one or the other."""
    if not given(h.weight_decay):
        return p, g
    if getattr(h, "decoupled_weight_decay", False):
        return p * (1 - h.lr * h.weight_decay), g
    return p, g + h.weight_decay * p


def _init_moments(p: Tensor, h: Options) -> State:
    return counted(p, "exp_avg", "exp_avg_sq")


def _init_adam(p: Tensor, h: Options) -> State:
    state = _init_moments(p, h)
    return {**state, "max_exp_avg_sq": torch.zeros_like(p)} if h.amsgrad else state


def _moments(g: Tensor, state: State, h: Options) -> tuple[State, Tensor, Tensor]:
    """Return the next state, and its two running averages."""
    mean = lerp(state["exp_avg"], g, 1 - h.betas[0])
    square = average_square(state["exp_avg_sq"], g, h.betas[1])
    return {**state, "exp_avg": mean, "exp_avg_sq": square}, mean, square


def adam_constants(t: Scalar, h: Options) -> Constants:
    """Return the step size, and the root of the bias correction of the squares."""
    return -h.lr / (1 - h.betas[0] ** t), sqrt(1 - h.betas[1] ** t)


def _step_adam(p: Tensor, g: Tensor, state: State, h: Options, c: Constants) -> Stepped:
    rate, root = c
    p, g = decayed(p, g, h)
    new, mean, square = _moments(g, state, h)
    if h.amsgrad:
        square = new["max_exp_avg_sq"] = torch.maximum(state["max_exp_avg_sq"], square)
    return torch.addcdiv(p, rate * mean, sqrt(square) / root + h.eps), new


def _init_adamax(p: Tensor, h: Options) -> State:
    return counted(p, "exp_avg", "exp_inf")


def _adamax_constants(t: Scalar, h: Options) -> Constants:
    return (-h.lr / (1 - h.betas[0] ** t),)


def _step_adamax(p: Tensor, g: Tensor, state: State, h: Options, c: Constants) -> Stepped:
    p, g = decayed(p, g, h)
    mean = lerp(state["exp_avg"], g, 1 - h.betas[0])
    norm = torch.maximum(state["exp_inf"] * h.betas[1], g.abs() + h.eps)
    return torch.addcdiv(p, c[0] * mean, norm), {**state, "exp_avg": mean, "exp_inf": norm}


def _init_nadam(p: Tensor, h: Options) -> State:
    return {**_init_moments(p, h), "mu_product": scalar_state(1.0, p)}


def _nadam_constants(t: Scalar, h: Options) -> Constants:
    mu, next_mu = (h.betas[0] * (1 - 0.5 * 0.96 ** (i * h.momentum_decay)) for i in (t, t + 1))
    return mu, next_mu, 1 - h.betas[1] ** t


def _step_nadam(p: Tensor, g: Tensor, state: State, h: Options, c: Constants) -> Stepped:
    mu, next_mu, correction = c
    p, g = decayed(p, g, h)
    new, mean, square = _moments(g, state, h)
    product = new["mu_product"] = scalar_state(state["mu_product"] * scalar_state(mu, p), p)
    product = product.to(p.device, torch.float64)
    by_gradient, by_mean = (
        -h.lr * (1 - mu) / (1 - product),
        -h.lr * next_mu / (1 - product * next_mu),
    )
    below = sqrt(square / correction) + h.eps
    return torch.addcdiv(torch.addcdiv(p, by_gradient * g, below), by_mean * mean, below), new


def _radam_constants(t: Scalar, h: Options) -> Constants:
    """Return the corrections of both averages, whether the variance is tractable, and by how much."""
    correction = 1 - h.betas[1] ** t
    limit = 2 / (1 - h.betas[1]) - 1
    length = limit - 2 * t * h.betas[1] ** t / correction
    # Where it is not tractable, both are such that the factor is finite, and so is its derivative.
    tractable, length, limit = length > 5, maximum(length, 5), maximum(limit, 5)
    rectification = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
    root, factor = (
        where(tractable, sqrt(correction), 1.0),
        where(tractable, sqrt(rectification), 1.0),
    )
    return 1 - h.betas[0] ** t, root, tractable, factor


def _step_radam(p: Tensor, g: Tensor, state: State, h: Options, c: Constants) -> Stepped:
    correction, root, tractable, factor = c
    p, g = decayed(p, g, h)
    new, mean, square = _moments(g, state, h)
    rate = root / where(tractable, sqrt(square) + h.eps, 1.0)
    return p - mean / correction * h.lr * rate * factor, new


ADAM = UpdateRule(_init_adam, _step_adam, adam_constants)
ADAMAX = UpdateRule(_init_adamax, _step_adamax, _adamax_constants)
NADAM = UpdateRule(_init_nadam, _step_nadam, _nadam_constants)
RADAM = UpdateRule(_init_moments, _step_radam, _radam_constants)
