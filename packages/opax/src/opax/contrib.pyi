# Written by `python tools/opax_stubs.py` for optax 0.2.8.

from collections.abc import Callable
from typing import Any

from jax import Array
from jax.typing import ArrayLike

from ._read import schedule_free_eval_params as schedule_free_eval_params
from ._transformation import Transformation

_generated: dict[str, Callable[..., Any]]

def acprop(
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-16,
    eps_root: ArrayLike = 1e-16,
    weight_decay: ArrayLike = 0.0,
    mask: Any = None,
) -> Transformation:
    """The ACProp optimizer."""

def ademamix(
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    b3: float | Array | Callable[..., Any] = 0.9999,
    alpha: float | Array | Callable[..., Any] = 5.0,
    eps: ArrayLike = 1e-08,
    eps_root: ArrayLike = 0.0,
    mu_dtype: Any = None,
    weight_decay: ArrayLike = 0.0,
    mask: Any = None,
) -> Transformation:
    """AdEMAMix."""

def adopt(
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.9999,
    eps: ArrayLike = 1e-06,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[..., Any] = ...,
) -> Transformation:
    """ADOPT (Adaptive Optimization with Provable Theoretical guarantees)."""

def cocob(
    learning_rate: float | Array | Callable[..., Any] = 1.0,
    alpha: ArrayLike = 100.0,
    eps: ArrayLike = 1e-08,
    weight_decay: ArrayLike = 0.0,
    mask: Any = None,
) -> Transformation:
    """Rescale updates according to the COntinuous COin Betting algorithm."""

def dadapt_adamw(
    learning_rate: float | Array | Callable[..., Any] = 1.0,
    betas: Any = ...,
    eps: ArrayLike = 1e-08,
    estim_lr0: ArrayLike = 1e-06,
    weight_decay: ArrayLike = 0.0,
) -> Transformation:
    """Learning rate free AdamW by D-Adaptation."""

def differentially_private_aggregate(
    l2_norm_clip: ArrayLike,
    noise_multiplier: ArrayLike,
    key: Array | int | None = None,
    *,
    seed: int | None = None,
) -> Transformation:
    """Aggregates gradients based on the DPSGD algorithm."""

def dog(
    learning_rate: float | Array | Callable[..., Any] = 1.0,
    init_step: Any = ...,
    eps: ArrayLike = 1e-08,
    weight_decay: ArrayLike | None = None,
    mask: Any = None,
) -> Transformation:
    """Distance over Gradients (DoG) optimizer."""

def dowg(
    learning_rate: float | Array | Callable[..., Any] = 1.0,
    init_estim_sq_dist: ArrayLike | None = None,
    eps: ArrayLike = 0.0001,
    weight_decay: ArrayLike | None = None,
    mask: Any = None,
) -> Transformation:
    """Distance over weighted Gradients optimizer."""

def dpsgd(
    learning_rate: float | Array | Callable[..., Any],
    l2_norm_clip: ArrayLike,
    noise_multiplier: ArrayLike,
    seed: int,
    momentum: ArrayLike | None = None,
    nesterov: bool = False,
) -> Transformation:
    """The DPSGD optimizer."""

def galore(
    learning_rate: float | Array | Callable[..., Any],
    rank: int = 128,
    update_proj_gap: int = 200,
    scale: float = 1.0,
    base_optimizer: Any = None,
    weight_decay: ArrayLike = 0.0,
    mask: Any = None,
    weight_dimension_numbers: ArrayLike | Any | Callable[..., Any] | None = None,
) -> Transformation:
    """GaLore: Memory-efficient training via gradient lowrank projection."""

def hutchinson_estimator_diag_hessian(
    random_seed: Array | None = None,
) -> Transformation:
    """Returns a GradientTransformationExtraArgs computing the Hessian diagonal."""

def madgrad(
    learning_rate: float | Array | Callable[..., Any],
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    eps: float = 1e-06,
) -> Transformation:
    """The MADGRAD optimizer."""

def mechanize(
    base_optimizer: Any,
    weight_decay: ArrayLike = 0.01,
    eps: ArrayLike = 1e-08,
    s_init: ArrayLike = 1e-06,
    num_betas: int = 6,
) -> Transformation:
    """Mechanic - a black box learning rate tuner/optimizer."""

def momo(
    learning_rate: float | Array | Callable[..., Any] = 1.0,
    beta: ArrayLike = 0.9,
    lower_bound: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
    adapt_lower_bound: bool = False,
) -> Transformation:
    """Adaptive Learning Rates for SGD with momentum."""

def momo_adam(
    learning_rate: float | Array | Callable[..., Any] = 0.01,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-08,
    lower_bound: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
    adapt_lower_bound: bool = False,
) -> Transformation:
    """Adaptive Learning Rates for Adam(W)."""

def muon(
    learning_rate: float | Array | Callable[..., Any],
    ns_coeffs: Any = ...,
    ns_steps: ArrayLike = 5,
    beta: ArrayLike = 0.95,
    eps: ArrayLike = 1e-08,
    weight_decay: ArrayLike = 0.0,
    weight_decay_mask: Any = None,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: Any = "frobenius",
    adam_b1: ArrayLike = 0.9,
    adam_b2: ArrayLike = 0.999,
    adam_eps_root: ArrayLike = 0.0,
    adam_weight_decay: ArrayLike = 0.0,
    adam_learning_rate: float | Array | Callable[..., Any] | None = None,
    muon_weight_dimension_numbers: ArrayLike | Any | Callable[..., Any] | None = None,
    consistent_rms: ArrayLike | None = None,
) -> Transformation:
    """Muon: Momentum Orthogonalized by Newton-schulz."""

def normalize() -> Transformation:
    """Normalizes the gradient."""

def prodigy(
    learning_rate: float | Array | Callable[..., Any] = 1.0,
    betas: Any = ...,
    beta3: ArrayLike | None = None,
    eps: ArrayLike = 1e-08,
    estim_lr0: ArrayLike = 1e-06,
    estim_lr_coef: ArrayLike = 1.0,
    weight_decay: ArrayLike = 0.0,
    safeguard_warmup: bool = False,
) -> Transformation:
    """Learning rate free AdamW with Prodigy."""

def reduce_on_plateau(
    factor: float = 0.1,
    patience: ArrayLike = 10,
    rtol: float = 0.0001,
    atol: float = 0.0,
    cooldown: ArrayLike = 0,
    accumulation_size: ArrayLike = 1,
    min_scale: ArrayLike = 0.0,
) -> Transformation:
    """Reduce learning rate when a metric has stopped improving."""

def sam(
    optimizer: Any,
    adv_optimizer: Any,
    sync_period: int = 2,
    reset_state: bool = True,
    opaque_mode: bool = False,
    batch_axis_name: str | None = None,
) -> Transformation:
    """Implementation of SAM (Sharpness Aware Minimization)."""

def scale_by_acprop(
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-16,
    eps_root: ArrayLike = 1e-16,
) -> Transformation:
    """Rescale updates according to ACProp (asynchronous version of AdaBelief)."""

def scale_by_ademamix(
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    b3: float | Array | Callable[..., Any] = 0.9999,
    alpha: float | Array | Callable[..., Any] = 6.0,
    eps: ArrayLike = 1e-08,
    eps_root: ArrayLike = 0.0,
    mu_dtype: Any = None,
) -> Transformation:
    """Scale updates according to the Ademamix algorithm."""

def scale_by_adopt(
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.9999,
    eps: ArrayLike = 1e-06,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[..., Any] = ...,
) -> Transformation:
    """Rescale updates according to the ADOPT algorithm."""

def scale_by_cocob(
    alpha: ArrayLike = 100.0,
    eps: ArrayLike = 1e-08,
) -> Transformation:
    """Rescale updates according to the COntinuous COin Betting algorithm."""

def scale_by_galore(
    rank: int = 128,
    update_proj_gap: int = 200,
    scale: float = 1.0,
    base_optimizer: Any = None,
    weight_dimension_numbers: ArrayLike | Any | Callable[..., Any] | None = None,
) -> Transformation:
    """Scale updates using GaLore (Gradient Low-Rank Projection)."""

def scale_by_madgrad(
    learning_rate: float | Array | Callable[..., Any],
    momentum: float = 0.9,
    eps: float = 1e-06,
) -> Transformation:
    """Rescale updates according to the MADGRAD algorithm."""

def scale_by_muon(
    ns_coeffs: Any = ...,
    ns_steps: ArrayLike = 5,
    beta: ArrayLike = 0.95,
    eps: ArrayLike = 1e-08,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: Any = "frobenius",
    weight_dimension_numbers: ArrayLike | Any | Callable[..., Any] | None = None,
) -> Transformation:
    """Rescale updates according to the Muon algorithm."""

def scale_by_simplified_ademamix(
    b1: ArrayLike = 0.99,
    b2: ArrayLike = 0.95,
    alpha: float | Array | Callable[..., Any] = 0.0,
    eps: ArrayLike = 1e-08,
    eps_root: ArrayLike = 0.0,
) -> Transformation:
    """Scale updates according to the Simplified AdEMAMix optimizer."""

def schedule_free(
    base_optimizer: Any,
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.9,
    weight_lr_power: ArrayLike = 2.0,
    state_dtype: Any = None,
) -> Transformation:
    """Turn base_optimizer schedule_free."""

def schedule_free_adamw(
    learning_rate: ArrayLike = 0.0025,
    warmup_steps: int | None = None,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-08,
    weight_decay: ArrayLike = 0.0,
    weight_lr_power: ArrayLike = 2.0,
    state_dtype: Any = None,
) -> Transformation:
    """Schedule-Free wrapper for AdamW."""

def schedule_free_sgd(
    learning_rate: ArrayLike = 1.0,
    warmup_steps: int | None = None,
    b1: ArrayLike = 0.9,
    weight_decay: ArrayLike | None = None,
    weight_lr_power: ArrayLike = 2.0,
    state_dtype: Any = None,
) -> Transformation:
    """Schedule-Free wrapper for SGD."""

def simplified_ademamix(
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.99,
    b2: ArrayLike = 0.95,
    alpha: float | Array | Callable[..., Any] = 0.0,
    eps: ArrayLike = 1e-08,
    eps_root: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
    mask: Any = None,
) -> Transformation:
    """Simplified AdEMAMix."""

def sophia(
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.965,
    b2: ArrayLike = 0.99,
    eps: ArrayLike = 1e-08,
    weight_decay: ArrayLike = 0.0001,
    weight_decay_mask: Any = None,
    gamma: ArrayLike = 0.01,
    clip_threshold: ArrayLike | None = 1.0,
    update_interval: ArrayLike = 10,
    hessian_diagonal_fn: Any = ...,
    mu_dtype: Any = None,
    verbose: bool = False,
    print_win_rate_every_n_steps: ArrayLike = 0,
) -> Transformation:
    """Sophia optimizer."""

def split_real_and_imaginary(
    inner: Any,
) -> Transformation:
    """Splits the real and imaginary components of complex updates into two."""
