"""Adam and its relatives."""

from types import SimpleNamespace

import torch
from torch import Tensor

from pax_torch._rules._arithmetic import (
    Scalar,
    average_square,
    count,
    given,
    lerp,
    maximum,
    scalar_state,
    sqrt,
    where,
    zero_steps,
)
from pax_torch._rules._rule import Rule, State


def decayed(p: Tensor, g: Tensor, h: SimpleNamespace) -> tuple[Tensor, Tensor]:
    """Parameter and gradient after weight decay, which goes into one or the other."""
    if not given(h.weight_decay):
        return p, g
    if getattr(h, "decoupled_weight_decay", False):
        return p * (1 - h.lr * h.weight_decay), g
    return p, g + h.weight_decay * p


def _init_moments(p: Tensor, h: SimpleNamespace) -> State:
    return {
        "step": zero_steps(),
        "exp_avg": torch.zeros_like(p),
        "exp_avg_sq": torch.zeros_like(p),
    }


def _init_adam(p: Tensor, h: SimpleNamespace) -> State:
    state = _init_moments(p, h)
    return {**state, "max_exp_avg_sq": torch.zeros_like(p)} if h.amsgrad else state


def _moments(g: Tensor, state: State, h: SimpleNamespace) -> tuple[State, Tensor, Tensor]:
    """The next state, and its two running averages."""
    mean = lerp(state["exp_avg"], g, 1 - h.betas[0])
    square = average_square(state["exp_avg_sq"], g, h.betas[1])
    new = {**state, "step": state["step"] + 1, "exp_avg": mean, "exp_avg_sq": square}
    return new, mean, square


def _corrections(state: State, p: Tensor, h: SimpleNamespace) -> tuple[Scalar, Scalar, Scalar]:
    """The number of this step, and the bias corrections of both averages."""
    t = count(state["step"], p)
    return t, 1 - h.betas[0] ** t, 1 - h.betas[1] ** t


def _step_adam(p: Tensor, g: Tensor, state: State, h: SimpleNamespace) -> tuple[Tensor, State]:
    p, g = decayed(p, g, h)
    new, mean, square = _moments(g, state, h)
    _, correction1, correction2 = _corrections(new, p, h)
    if h.amsgrad:
        square = new["max_exp_avg_sq"] = torch.maximum(state["max_exp_avg_sq"], square)
    denominator = sqrt(square) / sqrt(correction2) + h.eps
    return p - h.lr / correction1 * mean / denominator, new


def _init_adamax(p: Tensor, h: SimpleNamespace) -> State:
    return {
        "step": zero_steps(),
        "exp_avg": torch.zeros_like(p),
        "exp_inf": torch.zeros_like(p),
    }


def _step_adamax(p: Tensor, g: Tensor, state: State, h: SimpleNamespace) -> tuple[Tensor, State]:
    p, g = decayed(p, g, h)
    mean = lerp(state["exp_avg"], g, 1 - h.betas[0])
    norm = torch.maximum(state["exp_inf"] * h.betas[1], g.abs() + h.eps)
    new = {"step": state["step"] + 1, "exp_avg": mean, "exp_inf": norm}
    correction = 1 - h.betas[0] ** count(new["step"], p)
    return p - h.lr / correction * mean / norm, new


def _init_nadam(p: Tensor, h: SimpleNamespace) -> State:
    return {**_init_moments(p, h), "mu_product": scalar_state(1.0, p)}


def _step_nadam(p: Tensor, g: Tensor, state: State, h: SimpleNamespace) -> tuple[Tensor, State]:
    p, g = decayed(p, g, h)
    new, mean, square = _moments(g, state, h)
    t, _, correction = _corrections(new, p, h)
    mu, next_mu = (h.betas[0] * (1 - 0.5 * 0.96 ** (i * h.momentum_decay)) for i in (t, t + 1))
    product = new["mu_product"] = scalar_state(state["mu_product"] * mu, p)
    product = product.to(p.device)
    denominator = sqrt(square / correction) + h.eps
    by_gradient = h.lr * (1 - mu) / (1 - product) * g
    by_mean = h.lr * next_mu / (1 - product * next_mu) * mean
    return p - (by_gradient + by_mean) / denominator, new


def _step_radam(p: Tensor, g: Tensor, state: State, h: SimpleNamespace) -> tuple[Tensor, State]:
    p, g = decayed(p, g, h)
    new, mean, square = _moments(g, state, h)
    t, correction1, correction2 = _corrections(new, p, h)
    limit = 2 / (1 - h.betas[1]) - 1
    length = limit - 2 * t * h.betas[1] ** t / correction2
    tractable = length > 5
    length = maximum(length, 5)
    rectification = sqrt((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length))
    adaptive = rectification * sqrt(correction2) / (sqrt(square) + h.eps)
    return p - h.lr * (mean / correction1) * where(tractable, adaptive, 1.0), new


ADAM = Rule(_init_adam, _step_adam)
ADAMAX = Rule(_init_adamax, _step_adamax)
NADAM = Rule(_init_nadam, _step_nadam)
RADAM = Rule(_init_moments, _step_radam)
