# Written by `python tools/opax_stubs.py` for optax 0.2.8.

from collections.abc import Callable
from typing import Any

from jax import Array
from jax.typing import ArrayLike
from optax import skip_large_updates as skip_large_updates
from optax import skip_not_finite as skip_not_finite

from . import contrib as contrib
from . import schedule as schedule
from ._check import check as check
from ._masks import optional as optional
from ._optimizer import Optimizer as Optimizer
from ._optimizer import apply_gradients as apply_gradients
from ._optimizer import transform_gradients as transform_gradients
from ._params import apply_updates as apply_updates
from ._range_test import learning_rate_range_test as learning_rate_range_test
from ._read import has_updated as has_updated
from ._sharded import shard_state as shard_state
from ._transformation import Transformation as Transformation
from ._transformation import from_optax as from_optax

_generated: dict[str, Callable[..., Any]]

def MultiSteps(
    opt: Any,
    every_k_schedule: int | Callable[..., Any],
    use_grad_mean: bool = True,
    should_skip_update_fn: Any = None,
    accumulator_dtype: Any = ...,
) -> Transformation:
    """An optimizer wrapper to accumulate gradients over multiple steps."""

def adabelief(
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-16,
    eps_root: ArrayLike = 1e-16,
    *,
    nesterov: bool = False,
) -> Transformation:
    """The AdaBelief optimizer."""

def adadelta(
    learning_rate: float | Array | Callable[..., Any] | None = None,
    rho: ArrayLike = 0.9,
    eps: ArrayLike = 1e-06,
    weight_decay: ArrayLike | Callable[..., Any] = 0.0,
    weight_decay_mask: Any = None,
) -> Transformation:
    """The Adadelta optimizer."""

def adafactor(
    learning_rate: float | Array | Callable[..., Any] | None = None,
    min_dim_size_to_factor: int = 128,
    decay_rate: ArrayLike = 0.8,
    decay_offset: ArrayLike = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: ArrayLike | None = 1.0,
    momentum: ArrayLike | None = None,
    dtype_momentum: Any = ...,
    weight_decay_rate: float | Array | Callable[..., Any] | None = None,
    eps: ArrayLike = 1e-30,
    factored: bool = True,
    weight_decay_mask: Any = None,
) -> Transformation:
    """The Adafactor optimizer."""

def adagrad(
    learning_rate: float | Array | Callable[..., Any],
    initial_accumulator_value: ArrayLike = 0.1,
    eps: ArrayLike = 1e-07,
) -> Transformation:
    """The Adagrad optimizer."""

def adam(
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-08,
    eps_root: ArrayLike = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> Transformation:
    """The Adam optimizer."""

def adamax(
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-08,
) -> Transformation:
    """A variant of the Adam optimizer that uses the infinity norm."""

def adamaxw(
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-08,
    weight_decay: float | Array | Callable[..., Any] = 0.0001,
    mask: Any = None,
) -> Transformation:
    """Adamax with weight decay regularization."""

def adamw(
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-08,
    eps_root: ArrayLike = 0.0,
    mu_dtype: Any = None,
    weight_decay: float | Array | Callable[..., Any] = 0.0001,
    mask: Any = None,
    *,
    nesterov: bool = False,
) -> Transformation:
    """Adam with weight decay regularization."""

def adan(
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.98,
    b2: ArrayLike = 0.92,
    b3: ArrayLike = 0.99,
    eps: ArrayLike = 1e-08,
    eps_root: ArrayLike = 1e-08,
    weight_decay: float | Array | Callable[..., Any] = 0.0,
    mask: Any = None,
) -> Transformation:
    """The ADAptive Nesterov momentum algorithm (Adan)."""

def adaptive_grad_clip(
    clipping: ArrayLike,
    eps: ArrayLike = 0.001,
    axis: Any = None,
) -> Transformation:
    """Clips updates to be at most ``clipping * parameter_norm``, unit-wise."""

def add_decayed_weights(
    weight_decay: float | Array | Callable[..., Any] = 0.0,
    mask: Any = None,
) -> Transformation:
    """Add parameter scaled by `weight_decay`."""

def add_noise(
    eta: ArrayLike,
    gamma: ArrayLike,
    key: Array | int | None = None,
    *,
    seed: int | None = None,
) -> Transformation:
    """Add gradient noise."""

def amsgrad(
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-08,
    eps_root: ArrayLike = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> Transformation:
    """The AMSGrad optimizer."""

def apply_every(
    k: ArrayLike = 1,
) -> Transformation:
    """Accumulate gradients and apply them every k steps."""

def apply_if_finite(
    inner: Any,
    max_consecutive_errors: int,
) -> Transformation:
    """A function that wraps an optimizer to make it robust to a few NaNs or Infs."""

def centralize() -> Transformation:
    """Centralizes gradients by subtracting their mean along leading dimension."""

def chain(
    *args: Any,
) -> Transformation:
    """Applies a list of chainable update transformations."""

def clip(
    max_delta: ArrayLike,
) -> Transformation:
    """Clips updates element-wise, to be in ``[-max_delta, +max_delta]``."""

def clip_by_block_rms(
    threshold: ArrayLike,
) -> Transformation:
    """Clips updates to a max rms for the gradient of each param vector or matrix."""

def clip_by_global_norm(
    max_norm: ArrayLike,
) -> Transformation:
    """Clips updates using their global norm."""

def conditionally_mask(
    inner: Any,
    should_transform_fn: Any,
    forward_extra_args: bool = False,
) -> Transformation:
    """Calls the inner update function only at certain steps."""

def conditionally_transform(
    inner: Any,
    should_transform_fn: Any,
    forward_extra_args: bool = False,
) -> Transformation:
    """Calls the inner update function only at certain steps."""

def ema(
    decay: ArrayLike,
    debias: bool = True,
    accumulator_dtype: Any = None,
) -> Transformation:
    """Compute an exponential moving average of past updates."""

def flatten(
    inner: Any,
) -> Transformation:
    """Flattens parameters and gradients for init and update of inner transform."""

def flattened(
    inner: Any,
) -> Transformation:
    """Run a transformation on one vector per dtype rather than on every leaf."""

def freeze(
    mask: ArrayLike | Any,
) -> Transformation:
    """Create a transformation that zeros out gradient updates for `mask=True`."""

def fromage(
    learning_rate: float | Array | Callable[..., Any],
    min_norm: ArrayLike = 1e-06,
) -> Transformation:
    """The Frobenius matched gradient descent (Fromage) optimizer."""

def identity() -> Transformation:
    """Stateless identity transformation that leaves input gradients untouched."""

def inject_hyperparams(
    inner_factory: Callable[..., Any],
    static_args: Any = ...,
    hyperparam_dtype: Any = None,
) -> Callable[..., Transformation]:
    """Wrapper to injects stateful hyperparameters into GradientTransformations."""

def inject_stateful_hyperparams(
    inner_factory: Callable[..., Any],
    static_args: Any = ...,
    hyperparam_dtype: Any = None,
) -> Callable[..., Transformation]:
    """Wrapper to injects stateful hyperparameters into GradientTransformations."""

def keep_params_nonnegative() -> Transformation:
    """Modifies the updates to keep parameters non-negative, i.e. >= 0."""

def lamb(
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-06,
    eps_root: ArrayLike = 0.0,
    weight_decay: float | Array | Callable[..., Any] = 0.0,
    mask: Any = None,
) -> Transformation:
    """The LAMB optimizer."""

def lars(
    learning_rate: float | Array | Callable[..., Any],
    weight_decay: float | Array | Callable[..., Any] = 0.0,
    weight_decay_mask: Any = True,
    trust_coefficient: ArrayLike = 0.001,
    eps: ArrayLike = 0.0,
    trust_ratio_mask: Any = True,
    momentum: ArrayLike = 0.9,
    nesterov: bool = False,
) -> Transformation:
    """The LARS optimizer."""

def lbfgs(
    learning_rate: float | Array | Callable[..., Any] | None = None,
    memory_size: int = 10,
    scale_init_precond: bool = True,
    linesearch: Any = ...,
) -> Transformation:
    """L-BFGS optimizer."""

def lion(
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.99,
    mu_dtype: Any = None,
    weight_decay: float | Array | Callable[..., Any] = 0.001,
    mask: Any = None,
) -> Transformation:
    """The Lion optimizer."""

def lookahead(
    fast_optimizer: Any,
    sync_period: ArrayLike,
    slow_step_size: ArrayLike,
    reset_state: bool = False,
) -> Transformation:
    """Lookahead optimizer."""

def masked(
    inner: Any,
    mask: Any,
    *,
    mask_compatible_extra_args: bool = False,
) -> Transformation:
    """Mask updates so only some are transformed, the rest are passed through."""

def measure_with_ema(
    measure: Callable[..., Any],
    decay: ArrayLike,
    debias: bool = True,
    accumulator_dtype: Any = None,
) -> Transformation:
    """Take a measurement and record it with exponential moving average."""

def monitor(
    measures: Any,
) -> Transformation:
    """Monitors stateful measurements of updates in a chain."""

def monitor_norms(
    inner: Any,
    param_labels: Any = None,
) -> Transformation:
    """Run a transformation, and keep the norms of gradients, updates and parameters of each group."""

def multi_transform(
    transforms: Any,
    param_labels: Any,
    *,
    mask_compatible_extra_args: bool = False,
) -> Transformation:
    """Partitions params and applies a different transformation to each subset."""

def nadam(
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-08,
    eps_root: ArrayLike = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
) -> Transformation:
    """The Adam optimizer."""

def nadamw(
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-08,
    eps_root: ArrayLike = 0.0,
    mu_dtype: Any = None,
    weight_decay: float | Array | Callable[..., Any] = 0.0001,
    mask: Any = None,
    *,
    nesterov: bool = True,
) -> Transformation:
    """Adam with weight decay regularization."""

def named_chain(
    *args: Any,
) -> Transformation:
    """Applies a list of named chainable update transformations."""

def noisy_sgd(
    learning_rate: float | Array | Callable[..., Any],
    eta: ArrayLike = 0.01,
    gamma: ArrayLike = 0.55,
    key: ArrayLike | None = None,
    *,
    seed: int | None = None,
) -> Transformation:
    """A variant of SGD with added noise."""

def normalize_by_update_norm(
    scale_factor: ArrayLike = 1.0,
    eps: ArrayLike = 1e-06,
) -> Transformation:
    """Scale by the inverse of the update norm."""

def novograd(
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.25,
    eps: ArrayLike = 1e-06,
    eps_root: ArrayLike = 0.0,
    weight_decay: float | Array | Callable[..., Any] = 0.0,
) -> Transformation:
    """NovoGrad optimizer."""

def optimistic_adam(
    learning_rate: ArrayLike,
    optimism: ArrayLike | None = None,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-08,
    eps_root: ArrayLike = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
) -> Transformation:
    """The Optimistic Adam optimizer."""

def optimistic_adam_v2(
    learning_rate: float | Array | Callable[..., Any],
    *,
    alpha: ArrayLike = 1.0,
    beta: ArrayLike = 1.0,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-08,
    eps_root: ArrayLike = 0.0,
    mu_dtype: Any = None,
    nesterov: bool = True,
) -> Transformation:
    """The Optimistic Adam optimizer."""

def optimistic_gradient_descent(
    learning_rate: float | Array | Callable[..., Any],
    alpha: float | Array | Callable[..., Any] = 1.0,
    beta: float | Array | Callable[..., Any] = 1.0,
) -> Transformation:
    """An Optimistic Gradient Descent optimizer."""

def params_ema(
    decay: float,
    accumulator_dtype: Any = None,
) -> Transformation:
    """Keep an exponential moving average of the parameters; updates pass unchanged."""

def partition(
    transforms: Any,
    param_labels: Any,
    *,
    mask_compatible_extra_args: bool = False,
) -> Transformation:
    """Partitions params and applies a different transformation to each subset."""

def polyak_sgd(
    max_learning_rate: ArrayLike = 1.0,
    scaling: float | Array | Callable[..., Any] = 1.0,
    f_min: ArrayLike = 0.0,
    eps: ArrayLike = 0.0,
    variant: str = "sps",
) -> Transformation:
    """SGD with Polyak step-size."""

def radam(
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-08,
    eps_root: ArrayLike = 0.0,
    threshold: ArrayLike = 5.0,
    *,
    nesterov: bool = False,
) -> Transformation:
    """The Rectified Adam optimizer."""

def rmsprop(
    learning_rate: float | Array | Callable[..., Any],
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 1e-08,
    initial_scale: ArrayLike = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: ArrayLike | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> Transformation:
    """A flexible RMSProp optimizer."""

def rprop(
    learning_rate: ArrayLike,
    eta_minus: ArrayLike = 0.5,
    eta_plus: ArrayLike = 1.2,
    min_step_size: ArrayLike = 1e-06,
    max_step_size: ArrayLike = 50.0,
) -> Transformation:
    """The Rprop optimizer."""

def scale(
    step_size: ArrayLike,
) -> Transformation:
    """Scale updates by some fixed scalar `step_size`."""

def scale_by_adadelta(
    rho: ArrayLike = 0.9,
    eps: ArrayLike = 1e-06,
) -> Transformation:
    """Rescale updates according to the Adadelta algorithm."""

def scale_by_adam(
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-08,
    eps_root: ArrayLike = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> Transformation:
    """Rescale updates according to the Adam algorithm."""

def scale_by_adamax(
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-08,
) -> Transformation:
    """Rescale updates according to the Adamax algorithm."""

def scale_by_adan(
    b1: ArrayLike = 0.98,
    b2: ArrayLike = 0.92,
    b3: ArrayLike = 0.99,
    eps: ArrayLike = 1e-08,
    eps_root: ArrayLike = 0.0,
) -> Transformation:
    """Rescale updates according to the Adan algorithm."""

def scale_by_amsgrad(
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-08,
    eps_root: ArrayLike = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> Transformation:
    """Rescale updates according to the AMSGrad algorithm."""

def scale_by_backtracking_linesearch(
    max_backtracking_steps: ArrayLike,
    slope_rtol: ArrayLike = 0.0001,
    decrease_factor: ArrayLike = 0.8,
    increase_factor: ArrayLike = 1.5,
    max_learning_rate: ArrayLike = 1.0,
    atol: ArrayLike = 0.0,
    rtol: ArrayLike = 0.0,
    store_grad: bool = False,
    verbose: bool = False,
) -> Transformation:
    """Backtracking line-search ensuring sufficient decrease (Armijo criterion)."""

def scale_by_belief(
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-16,
    eps_root: ArrayLike = 1e-16,
    *,
    nesterov: bool = False,
) -> Transformation:
    """Rescale updates according to the AdaBelief algorithm."""

def scale_by_distance_over_gradients(
    reps_rel: Any = 1e-06,
    eps: Any = 1e-08,
    param_dtype: Any = ...,
    global_scale: Any = 1.0,
) -> Transformation:
    """Distance-over-gradients learning rate-free optimizer."""

def scale_by_factored_rms(
    factored: bool = True,
    decay_rate: ArrayLike = 0.8,
    step_offset: ArrayLike = 0,
    min_dim_size_to_factor: int = 128,
    epsilon: ArrayLike = 1e-30,
    decay_rate_fn: Callable[..., Any] = ...,
) -> Transformation:
    """Scaling by a factored estimate of the gradient rms (as in Adafactor)."""

def scale_by_lbfgs(
    memory_size: int = 10,
    scale_init_precond: bool = True,
) -> Transformation:
    """Scales updates by L-BFGS."""

def scale_by_learning_rate(
    learning_rate: float | Array | Callable[..., Any] | None = None,
    *,
    flip_sign: bool = True,
) -> Transformation:
    """Scale by the (negative) learning rate (either as scalar or as schedule)."""

def scale_by_lion(
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.99,
    mu_dtype: Any = None,
    *,
    mode: Any = "hard",
    smooth_beta: float = 1.0,
) -> Transformation:
    """Rescale updates according to the Lion algorithm."""

def scale_by_novograd(
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.25,
    eps: ArrayLike = 1e-08,
    eps_root: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
    mu_dtype: Any = None,
) -> Transformation:
    """Computes NovoGrad updates."""

def scale_by_optimistic_gradient(
    alpha: ArrayLike = 1.0,
    beta: ArrayLike = 1.0,
) -> Transformation:
    """Compute generalized optimistic gradients."""

def scale_by_param_block_norm(
    min_scale: ArrayLike = 0.001,
) -> Transformation:
    """Scale updates for each param block by the norm of that block's parameters."""

def scale_by_param_block_rms(
    min_scale: ArrayLike = 0.001,
) -> Transformation:
    """Scale updates by rms of the gradient for each param vector or matrix."""

def scale_by_polyak(
    f_min: ArrayLike = 0.0,
    max_learning_rate: ArrayLike = 1.0,
    eps: ArrayLike = 0.0,
    variant: str = "sps",
) -> Transformation:
    """Scales the update by Polyak's step-size."""

def scale_by_radam(
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-08,
    eps_root: ArrayLike = 0.0,
    threshold: ArrayLike = 5.0,
    *,
    nesterov: bool = False,
) -> Transformation:
    """Rescale updates according to the Rectified Adam algorithm."""

def scale_by_rms(
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 1e-08,
    initial_scale: ArrayLike = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> Transformation:
    """Rescale updates by the root of the exp. moving avg of the square."""

def scale_by_rprop(
    learning_rate: ArrayLike,
    eta_minus: ArrayLike = 0.5,
    eta_plus: ArrayLike = 1.2,
    min_step_size: ArrayLike = 1e-06,
    max_step_size: ArrayLike = 50.0,
) -> Transformation:
    """Scale with the Rprop optimizer."""

def scale_by_rss(
    initial_accumulator_value: ArrayLike = 0.1,
    eps: ArrayLike = 1e-07,
) -> Transformation:
    """Rescale updates by the root of the sum of all squared gradients to date."""

def scale_by_schedule(
    step_size_fn: Callable[..., Any],
) -> Transformation:
    """Scale updates using a custom schedule for the `step_size`."""

def scale_by_sign() -> Transformation:
    """Compute the signs of the gradient elements."""

def scale_by_sm3(
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 1.0,
    eps: ArrayLike = 1e-08,
) -> Transformation:
    """Scale updates by `sm3`."""

def scale_by_stddev(
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 1e-08,
    initial_scale: ArrayLike = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> Transformation:
    """Rescale updates by the root of the centered exp. moving average of squares."""

def scale_by_trust_ratio(
    min_norm: ArrayLike = 0.0,
    trust_coefficient: ArrayLike = 1.0,
    eps: ArrayLike = 0.0,
) -> Transformation:
    """Scale updates by `trust ratio`."""

def scale_by_yogi(
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 0.001,
    eps_root: ArrayLike = 0.0,
    initial_accumulator_value: ArrayLike = 1e-06,
) -> Transformation:
    """Rescale updates according to the Yogi algorithm."""

def scale_by_zoom_linesearch(
    max_linesearch_steps: ArrayLike,
    max_learning_rate: ArrayLike | None = None,
    tol: ArrayLike = 0.0,
    increase_factor: ArrayLike = 2.0,
    slope_rtol: ArrayLike = 0.0001,
    curv_rtol: ArrayLike = 0.9,
    approx_dec_rtol: ArrayLike | None = 1e-06,
    stepsize_precision: ArrayLike = 1e-05,
    initial_guess_strategy: str = "keep",
    verbose: bool = False,
) -> Transformation:
    """Linesearch ensuring sufficient decrease and small curvature."""

def selective_transform(
    optimizer: Any,
    *,
    freeze_mask: ArrayLike | Any,
) -> Transformation:
    """Partition updates so that only un-frozen parameters are optimized."""

def set_to_zero() -> Transformation:
    """Stateless transformation that maps input gradients to zero."""

def sgd(
    learning_rate: float | Array | Callable[..., Any],
    momentum: ArrayLike | None = None,
    nesterov: bool = False,
    accumulator_dtype: Any = None,
) -> Transformation:
    """A canonical Stochastic Gradient Descent optimizer."""

def sign_sgd(
    learning_rate: float | Array | Callable[..., Any],
) -> Transformation:
    """A variant of SGD using only the signs of the gradient components."""

def signum(
    learning_rate: float | Array | Callable[..., Any],
    beta: ArrayLike = 0.9,
    accumulator_dtype: Any = None,
) -> Transformation:
    """A variant of SGD using signs of the components of an EMA of the gradient."""

def sm3(
    learning_rate: ArrayLike,
    momentum: ArrayLike = 0.9,
) -> Transformation:
    """The SM3 optimizer."""

def snapshot(
    measure_name: str,
    measure: Callable[..., Any],
) -> Transformation:
    """Takes a snapshot of updates and stores it in the state."""

def stateless(
    f: Callable[..., Any],
) -> Transformation:
    """Creates a stateless transformation from an update-like function."""

def stateless_with_tree_map(
    f: Callable[..., Any],
) -> Transformation:
    """Creates a stateless transformation from an update-like function for arrays."""

def trace(
    decay: ArrayLike,
    nesterov: bool = False,
    accumulator_dtype: Any = None,
) -> Transformation:
    """Compute a trace of past updates."""

def with_extra_args_support(
    tx: Any,
) -> Transformation:
    """Wraps a gradient transformation, so that it ignores extra args."""

def yogi(
    learning_rate: float | Array | Callable[..., Any],
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 0.001,
) -> Transformation:
    """The Yogi optimizer."""

def zero_nans() -> Transformation:
    """A transformation which replaces NaNs with 0."""
