"""Every transformation of optax with arguments, and two problems on which to train with it."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib

import opax

MASK = {"a": True, "b": {"c": False}}
LABELS = {"a": "x", "b": {"c": "y"}}


def falling(count):
    return 1.0 - 0.1 * count


def same(updates, params=None):
    return updates


def early(step, **extra_args):
    return step < 3


def norm(updates, *args, **kwargs):
    return optax.tree.norm(updates)


def dimension_numbers(params):
    return jax.tree.map(lambda _: optax.contrib.MuonDimensionNumbers(), params)


# Arguments of the functions that need some, made with opax or with optax.
ARGUMENTS = {
    "adaptive_grad_clip": lambda o: (0.1,),
    "add_noise": lambda o: (0.1, 0.55, 0),
    "apply_if_finite": lambda o: (o.scale_by_adam(), 2),
    "chain": lambda o: (o.clip(0.5), o.chain(o.trace(0.9), o.scale(-0.1))),
    "clip": lambda o: (0.1,),
    "clip_by_block_rms": lambda o: (0.1,),
    "clip_by_global_norm": lambda o: (0.1,),
    "conditionally_mask": lambda o: (o.sgd(0.1), early),
    "conditionally_transform": lambda o: (o.sgd(0.1), early),
    "differentially_private_aggregate": lambda o: (1.0, 0.1, 0),
    "dpsgd": lambda o: (0.1, 1.0, 0.1, 0),
    "ema": lambda o: (0.9,),
    "flatten": lambda o: (o.adam(0.1),),
    "freeze": lambda o: (MASK,),
    "galore": lambda o: (0.1, 1),
    "lookahead": lambda o: (o.adam(0.1), 5, 0.5),
    "masked": lambda o: (o.adam(0.1), MASK),
    "measure_with_ema": lambda o: (same, 0.9),
    "mechanize": lambda o: (o.adam(0.1),),
    "monitor": lambda o: ({"norm": norm},),
    "multi_transform": lambda o: ({"x": o.adam(0.1), "y": o.sgd(0.2)}, LABELS),
    "MultiSteps": lambda o: (o.scale_by_adam(), 3),
    "named_chain": lambda o: (("first", o.clip(0.5)), ("then", o.sgd(0.1))),
    "noisy_sgd": lambda o: (0.1, 0.01, 0.55, 0),
    "partition": lambda o: ({"x": o.adam(0.1), "y": o.sgd(0.2)}, LABELS),
    "scale": lambda o: (-0.1,),
    "scale_by_backtracking_linesearch": lambda o: (5,),
    "scale_by_galore": lambda o: (1,),
    "scale_by_schedule": lambda o: (falling,),
    "scale_by_zoom_linesearch": lambda o: (5,),
    "schedule_free": lambda o: (o.sgd(0.1), 0.1),
    "scale_by_muon": lambda o: {"weight_dimension_numbers": dimension_numbers},
    "selective_transform": lambda o: {"optimizer": o.sgd(0.1), "freeze_mask": MASK},
    "snapshot": lambda o: ("norm", norm),
    "split_real_and_imaginary": lambda o: (o.adam(0.1),),
    "stateless": lambda o: (same,),
    "stateless_with_tree_map": lambda o: (same,),
    "sam": lambda o: (o.sgd(0.1), o.chain(o.contrib.normalize(), o.sgd(0.05))),
    "trace": lambda o: (0.9,),
    "with_extra_args_support": lambda o: (o.adam(0.1),),
}
MAKERS = {"inject_hyperparams", "inject_stateful_hyperparams"}
LINE_SEARCHES = {"lbfgs", "scale_by_backtracking_linesearch", "scale_by_zoom_linesearch"}
LOOPS = {"galore", "novograd", "radam", "reduce_on_plateau", "scale_by_galore", "scale_by_novograd"}
LOOPS |= {
    "scale_by_radam",
    "apply_if_finite",
    "hutchinson_estimator_diag_hessian",
    "MultiSteps",
    "muon",
    "sophia",
}
LOOPS |= {"conditionally_mask", "conditionally_transform", "scale_by_lbfgs", "scale_by_muon"}
NEED_OBJECTIVE = {"hutchinson_estimator_diag_hessian", "sophia"}
NEED_VALUE = {"momo", "momo_adam", "polyak_sgd", "reduce_on_plateau", "scale_by_polyak"}
PER_EXAMPLE = {"differentially_private_aggregate", "dpsgd"}
MATRICES = {"scale_by_muon"}

NAMES = [
    *(f"optax.{name}" for name in sorted(opax._generated)),
    *(f"optax.contrib.{name}" for name in sorted(opax.contrib._generated)),
]


def make(package, path):
    """Make the transformation that is called `path` in optax, with optax or with opax."""
    name = path.split(".")[-1]
    module = package.contrib if ".contrib." in path else package
    function = getattr(module, name)
    if name in MAKERS:
        return function(package.adam)(learning_rate=0.1, b1=0.8)
    if name in ARGUMENTS:
        arguments = ARGUMENTS[name](package)
        return function(**arguments) if isinstance(arguments, dict) else function(*arguments)
    required = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    assert [p.name for p in required] in ([], ["learning_rate"]), f"{path} needs arguments"
    return function(*[0.1] * len(required))


def loss_fn(params, problem):
    """A sum of sines beside a quadratic function, or Rosenbrock's valley."""
    a, c = params["a"], params["b"]["c"]
    smooth = jnp.sum(jnp.sin(a)) + jnp.sum((c - 1.0) ** 2) * jnp.mean(a**2)
    valley = jnp.sum((1.0 - a) ** 2) + jnp.sum((c[:, 1:] - c[:, :-1] ** 2) ** 2)
    return jnp.where(problem == 0, smooth, valley)


evaluate = jax.jit(jax.value_and_grad(loss_fn))


def start(name, seed):
    rng = np.random.default_rng(seed)
    a, c = rng.standard_normal((3, 3) if name in MATRICES else 3), rng.standard_normal((2, 4))
    params = {"a": jnp.asarray(a, jnp.float32), "b": {"c": jnp.asarray(c, jnp.float32)}}
    return optax.LookaheadParams.init_synced(params) if name == "lookahead" else params


def gradients(params, name, problem):
    value, grads = evaluate(params.fast if name == "lookahead" else params, problem)
    objective = functools.partial(loss_fn, problem=problem)
    if name in PER_EXAMPLE:
        grads = jax.tree.map(lambda g: jnp.stack([g, 2 * g]), grads)
    if name in LINE_SEARCHES:
        return grads, {"value": value, "grad": grads, "value_fn": objective}
    if name in NEED_VALUE:
        return grads, {"value": value}
    return grads, {"obj_fn": objective} if name in NEED_OBJECTIVE else {}
