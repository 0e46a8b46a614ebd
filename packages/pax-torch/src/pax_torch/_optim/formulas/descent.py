"""SGD, and the optimizers that scale its step by past gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from pax_torch._optim.formulas.adam import decayed
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
)


def _init_sgd(p: Tensor, h: Options) -> State:
    return {}


def _step_sgd(p: Tensor, g: Tensor, state: State, h: Options, c: Constants) -> Stepped:
    _, g = decayed(p, g, h)
    if not given(h.momentum):
        return descended(p, h.lr, g), state
    last = state.get("momentum_buffer")
    buffer = g.clone() if last is None else _momentum(last, g, h)
    direction = g + h.momentum * buffer if h.nesterov else buffer
    return descended(p, h.lr, direction), {**state, "momentum_buffer": buffer}


def _momentum(last: Tensor, g: Tensor, h: Options) -> Tensor:
    return h.momentum * last + ((1 - h.dampening) * g if given(h.dampening) else g)


def descended(p: Tensor, lr: Scalar, direction: Tensor) -> Tensor:
    """`p - lr * direction`."""
    if isinstance(lr, Tensor):
        return p - lr * direction
    return torch.add(p, direction, alpha=-lr)


def _init_adagrad(p: Tensor, h: Options) -> State:
    start = h.initial_accumulator_value
    return {**counted(p), "sum": torch.zeros_like(p) + _alike(start, p)}


def _step_adagrad(p: Tensor, g: Tensor, state: State, h: Options, c: Constants) -> Stepped:
    _, g = decayed(p, g, h)
    total = torch.addcmul(state["sum"], g, g)
    return torch.addcdiv(p, c[0] * g, sqrt(total) + h.eps), {**state, "sum": total}


def _adagrad_constants(t: Scalar, h: Options) -> Constants:
    return (-h.lr / (1 + (t - 1) * h.lr_decay),)


def _init_adadelta(p: Tensor, h: Options) -> State:
    return counted(p, "square_avg", "acc_delta")


def _step_adadelta(p: Tensor, g: Tensor, state: State, h: Options, c: Constants) -> Stepped:
    _, g = decayed(p, g, h)
    square = average_square(state["square_avg"], g, h.rho)
    delta = sqrt(state["acc_delta"] + h.eps) / sqrt(square + h.eps) * g
    new = {
        **state,
        "square_avg": square,
        "acc_delta": average_square(state["acc_delta"], delta, h.rho),
    }
    return descended(p, h.lr, delta), new


def _init_rmsprop(p: Tensor, h: Options) -> State:
    options = {"momentum_buffer": given(h.momentum), "grad_avg": h.centered}
    return counted(p, "square_avg", *(name for name, is_kept in options.items() if is_kept))


def _step_rmsprop(p: Tensor, g: Tensor, state: State, h: Options, c: Constants) -> Stepped:
    _, g = decayed(p, g, h)
    square = average_square(state["square_avg"], g, h.alpha)
    new = {**state, "square_avg": square}
    if h.centered:
        mean = new["grad_avg"] = lerp(state["grad_avg"], g, 1 - h.alpha)
        square = torch.addcmul(square, mean, mean, value=-1)
    below = sqrt(square) + h.eps
    if not given(h.momentum):
        return torch.addcdiv(p, -h.lr * g, below), new
    buffer = torch.addcdiv(h.momentum * state["momentum_buffer"], g, below)
    return descended(p, h.lr, buffer), {**new, "momentum_buffer": buffer}


def _init_rprop(p: Tensor, h: Options) -> State:
    return {**counted(p, "prev"), "step_size": torch.zeros_like(p) + _alike(h.lr, p)}


def _step_rprop(p: Tensor, g: Tensor, state: State, h: Options, c: Constants) -> Stepped:
    (smaller, larger), (least, most) = h.etas, h.step_sizes
    agreement = (g * state["prev"]).sign()
    turned = agreement < 0
    factor = torch.where(turned, smaller, torch.ones_like(p))
    factor = torch.where(agreement > 0, larger, factor)
    size = torch.clamp(state["step_size"] * factor, least, most)
    g = torch.where(turned, 0, g)
    return p - g.sign() * size, {**state, "prev": g, "step_size": size}


def _init_asgd(p: Tensor, h: Options) -> State:
    eta, mu = scalar_state(h.lr, p), scalar_state(1.0, p)
    return {**counted(p), "eta": eta, "mu": mu, "ax": torch.zeros_like(p)}


def _step_asgd(p: Tensor, g: Tensor, state: State, h: Options, c: Constants) -> Stepped:
    _, g = decayed(p, g, h)
    eta, mu = (state[name].to(p.device, torch.float64) for name in ("eta", "mu"))
    p = descended(p * (1 - h.lambd * eta), eta, g)
    next_eta, next_mu = (scalar_state(constant, p) for constant in c)
    average = torch.where(mu == 1, p, state["ax"] + (p - state["ax"]) * mu)
    return p, {**state, "ax": average, "eta": next_eta, "mu": next_mu}


def _asgd_constants(t: Scalar, h: Options) -> Constants:
    """Return the step size and the weight in the average, both of the next step."""
    return h.lr / (1 + h.lambd * h.lr * t) ** h.alpha, 1 / maximum(t - h.t0, 1)


def _alike(value: float | Tensor, p: Tensor) -> complex | float | Tensor:
    """Return a number that an optimizer adds to the real and the imaginary part of its state."""
    return value * (1 + 1j) if p.is_complex() else value


SGD = UpdateRule(_init_sgd, _step_sgd)
ADAGRAD = UpdateRule(_init_adagrad, _step_adagrad, _adagrad_constants)
ADADELTA = UpdateRule(_init_adadelta, _step_adadelta)
RMSPROP = UpdateRule(_init_rmsprop, _step_rmsprop)
RPROP = UpdateRule(_init_rprop, _step_rprop)
ASGD = UpdateRule(_init_asgd, _step_asgd, _asgd_constants)
