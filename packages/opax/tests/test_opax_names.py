"""Every public name of optax: its counterpart here, or why there is none."""

import contextlib
import importlib
import inspect
import pickle

import jax
import optax
import optax.contrib
import optax.schedules
import optax.transforms
import pytest

import opax

# Names that are no transformation, optimizer or schedule, by the reason.
NO_COUNTERPART = {
    "modules, whose functions are of no parameters and no state: use optax's": (
        "assignment contrib experimental losses microbatching perturbations projections schedules "
        "second_order transforms tree tree_utils"
    ),
    "losses": (
        "convex_kl_divergence cosine_distance cosine_similarity ctc_loss "
        "ctc_loss_with_forward_probs generalized_kl_divergence hinge_loss huber_loss kl_divergence "
        "l2_loss log_cosh multi_normal ntxent sigmoid_binary_cross_entropy sigmoid_focal_loss "
        "smooth_labels softmax_cross_entropy softmax_cross_entropy_with_integer_labels squared_error "
        "safe_softmax_cross_entropy"
    ),
    "numerical functions": (
        "bias_correction global_norm matrix_inverse_pth_root microbatch nnls power_iteration "
        "per_example_global_norm_clip per_example_layer_norm_clip safe_increment "
        "safe_int32_increment safe_norm safe_root_mean_squares scale_gradient update_infinity_moment "
        "update_moment update_moment_per_elem_norm unitwise_clip unitwise_norm incremental_update "
        "periodic_update"
    ),
    "functions of optax's own states, which are attributes here": (
        "init_empty_state tree_map_params value_and_grad_from_state"
    ),
    "types": (
        "ApplyEvery ConditionFn EmptyState GaLoreDimensionNumbers GradientTransformation "
        "GradientTransformationExtraArgs LookaheadParams MaskOrFn MaskedNode MuonDimensionNumbers "
        "OptState Params ScalarOrSchedule Schedule ShouldSkipUpdateFunction StatefulSchedule "
        "TransformInitFn TransformUpdateExtraArgsFn TransformUpdateFn Updates WrappedSchedule "
        "ZoomLinesearchInfo"
    ),
}
WITHOUT = {name for names in NO_COUNTERPART.values() for name in names.split()}
MODULES = {"": opax, ".contrib": opax.contrib, ".schedules": opax.schedule, ".transforms": opax}
RENAMED = {"exponential_decay": "exponential_decay_schedule"}
OWN = {"flattened", "params_ema"}


def public(module):
    return [name for name in dir(module) if not name.startswith("_")]


def counterpart(where, name):
    module = MODULES[where]
    if "schedule" in name or name in RENAMED:
        module = opax.schedule if hasattr(opax.schedule, RENAMED.get(name, name)) else module
    return getattr(module, RENAMED.get(name, name), None) or getattr(opax, name, None)


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("where", MODULES)
def test_every_public_name_of_optax_has_a_counterpart_or_a_reason(where):
    names = public(importlib.import_module(f"optax{where}"))
    unexplained = [
        name
        for name in names
        if not name.endswith("State")
        and name not in WITHOUT
        and not callable(counterpart(where, name))
    ]
    assert unexplained == []


def test_how_many_there_are(record_property):
    aliases = {
        name for name in {**opax._generated, **opax.contrib._generated} if is_optimizer(name)
    }
    counts = {
        "optimizers": len(aliases),
        "other transformations": len(opax._generated) + len(opax.contrib._generated) - len(aliases),
        "schedules": len(opax.schedule._generated),
    }
    for what, count in counts.items():
        record_property(what, count)
    print(f"opax for optax {optax.__version__}: {counts}")
    assert counts["optimizers"] >= 49
    assert counts["other transformations"] >= 75
    assert counts["schedules"] >= 13


def is_optimizer(name):
    function = opax._generated.get(name) or opax.contrib._generated[name]
    return "learning_rate" in inspect.signature(function).parameters and "scale_by" not in name


def test_every_function_of_optax_that_makes_a_transformation_has_a_counterpart():
    """Found by calling: whatever can be called with a learning rate, or with nothing."""
    for module, found in [(optax, opax._generated), (optax.contrib, opax.contrib._generated)]:
        for name in public(module):
            function = getattr(module, name)
            for arguments in [(), (0.1,)] if callable(function) else []:
                with contextlib.suppress(Exception):
                    is_made = isinstance(function(*arguments), optax.GradientTransformation)
                    assert not is_made or name in found or "Gradient" in name, name
                    break


@pytest.mark.parametrize("name", [*opax._generated, *opax.contrib._generated])
def test_signature_and_docstring_are_those_of_optax(name):
    source, module = (optax, opax) if name in opax._generated else (optax.contrib, opax.contrib)
    ours, theirs = getattr(module, name), getattr(source, name)
    assert ours.__name__ == name
    assert ours.__doc__ == getattr(theirs, "func", theirs).__doc__
    assert inspect.signature(ours).parameters == inspect.signature(theirs).parameters


@pytest.mark.parametrize("name", ["GradientTransformation", "transform"])
def test_names_of_an_older_package(name):
    with pytest.raises(
        AttributeError, match=r"`opax\.from_optax` takes.* `opax\.scale\(-learning_rate"
    ):
        getattr(opax, name)
    with pytest.raises(AttributeError, match="module 'opax' has no attribute 'adan2'"):
        _ = opax.adan2


def test_all_names_are_there():
    for module in (opax, opax.contrib, opax.schedule):
        assert [name for name in module.__all__ if not hasattr(module, name)] == []
        assert len(set(module.__all__)) == len(module.__all__)


SCHEDULES = {
    "constant_schedule": (0.1,),
    "cosine_decay_schedule": (0.1, 10),
    "cosine_onecycle_schedule": (10, 0.1),
    "exponential_decay_schedule": (0.1, 10, 0.5),
    "linear_onecycle_schedule": (10, 0.1),
    "linear_schedule": (0.1, 0.0, 10),
    "piecewise_constant_schedule": (0.1, {3: 0.5}),
    "piecewise_interpolate_schedule": ("linear", 0.1, {3: 0.5}),
    "polynomial_schedule": (0.1, 0.0, 2, 10),
    "sgdr_schedule": (
        [{"init_value": 0.0, "peak_value": 0.1, "decay_steps": 9, "warmup_steps": 3}],
    ),
    "warmup_constant_schedule": (0.0, 0.1, 5),
    "warmup_cosine_decay_schedule": (0.0, 0.1, 3, 10),
    "warmup_exponential_decay_schedule": (0.0, 0.1, 3, 5, 0.5),
}


def test_every_schedule_is_tested():
    assert {*SCHEDULES, "join_schedules"} == set(opax.schedule._generated)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_those_of_optax(name):
    theirs = getattr(optax.schedules, name.removesuffix("_schedule"), None)
    theirs = theirs if name.startswith("exponential") else getattr(optax.schedules, name)
    made = getattr(opax.schedule, name)(*SCHEDULES[name])
    with jax.numpy_dtype_promotion("standard"):
        expected = [float(theirs(*SCHEDULES[name])(step)) for step in (0, 1, 4, 11)]
    assert [float(made(step)) for step in (0, 1, 4, 11)] == expected
    assert made == getattr(opax.schedule, name)(*SCHEDULES[name])
    assert pickle.loads(pickle.dumps(made)) == made
    assert hash(pickle.loads(pickle.dumps(made))) == hash(made)
    assert repr(made).startswith(f"{name.removesuffix('_schedule')}")


def test_joined_schedules():
    first, then = opax.schedule.linear_schedule(0.0, 1.0, 4), opax.schedule.constant_schedule(2.0)
    joined = opax.schedule.join_schedules([first, then], [4])
    assert [float(joined(step)) for step in (0, 2, 4)] == [0.0, 0.5, 2.0]
    assert pickle.loads(pickle.dumps(joined)) == joined


@pytest.mark.parametrize("reduce_factor", [2.0, 10.0])
@pytest.mark.parametrize("min_value", [None, 0.05])
def test_exponential_decay_divides_by_the_factor_in_every_step_size(reduce_factor, min_value):
    schedule = opax.schedule.exponential_decay(0.8, 5, reduce_factor, min_value)
    for step in range(0, 26, 5):
        expected = 0.8 * reduce_factor ** (-step / 5)
        assert float(schedule(step)) == pytest.approx(max(expected, min_value or 0.0), rel=1e-5)
    assert pickle.loads(pickle.dumps(schedule)) == schedule
