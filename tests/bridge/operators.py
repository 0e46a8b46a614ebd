"""PyTorch's own samples of its operators, run as programs of XLA: values and first derivatives.

    python -m tests.bridge.operators [--samples N] [--dtypes float32,int64] [name ...]

prints a table of the operators of which a sample differs, and the counts.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import torch
from torch.testing._internal.common_methods_invocations import op_db

from pax_tree import tree_flatten, tree_unflatten
from torch2jax_bridge import ShapeInferenceError, j2t, t2j, torch2jax
from torch2jax_bridge._torch2jax.function import WrongArguments

# The table's module forbids to set PyTorch's flags, for the whole process.
torch.backends.disable_global_flags.__globals__["__allow_nonbracketed_mutation_flag"] = True

# Their results are random, or arbitrary: eigenvectors, say, have any sign.
DIFFERENT = {
    *("bernoulli", "cauchy", "empty", "empty_like", "empty_permuted", "empty_strided"),
    *("exponential", "geometric", "log_normal", "multinomial", "native_dropout_backward"),
    *("new_empty", "new_empty_strided", "normal", "rand_like", "randint", "randint_like", "randn"),
    *("randn_like", "uniform", "pca_lowrank", "svd_lowrank", "resize_", "resize_as_"),
    *("nn.functional.dropout", "nn.functional.dropout2d", "nn.functional.dropout3d"),
    *("nn.functional.alpha_dropout", "nn.functional.feature_alpha_dropout"),
    *("nn.functional.rrelu", "nn.functional.fractional_max_pool2d"),
    "nn.functional.fractional_max_pool3d",
    # PyTorch's own derivative for the first argument is wrong where all of it is written over.
    "as_strided_scatter",
    # Two places that go to one: its derivative for both is that of the one.
    # Its derivative in float32 is off by 2e-3 for numbers of 10,000, by 2e-7 here.
    "logcumsumexp",
    # Eigenvectors have any phase.
    *("linalg.eig", "linalg.eigh", "symeig"),
    # JAX has no half complex numbers, and these are for GPUs alone.
    *("chalf", "jiterator_unary", "jiterator_binary", "jiterator_4inputs_with_extra_args"),
    *("jiterator_binary_return_by_ref", "jiterator_2inputs_2outputs"),
    *("nn.functional.max_unpool1d", "nn.functional.max_unpool2d", "nn.functional.max_unpool3d"),
}
# Of equal numbers they return the place of any; floating samples have none.
ANY_OF_EQUAL = {"argsort", "kthvalue", "median", "mode", "msort", "nanmedian", "sort", "topk"}
# PyTorch rounds each of their sums to half precision.
LESS_EXACT = {"addbmm", "kron", "matrix_exp"}
TOLERANCES = {
    torch.float16: 1e-2,
    torch.bfloat16: 4e-2,
    torch.float32: 2e-4,
    torch.complex64: 5e-4,
}


LITTLE_TIME: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
HALVES = {torch.float16, torch.bfloat16}


class Sample(NamedTuple):
    """A function of tensors, and tensors for it."""

    function: Callable[..., list[torch.Tensor]]
    tensors: list[torch.Tensor]


@dataclass
class Outcome:
    """What became of the samples of one operator.

    Attributes:
        samples: how many there were.
        refused: how many were refused in a sentence.
        called: the operators that were called in PyTorch.
        wrong: what differed.
    """

    samples: int
    refused: int
    called: set[str]
    wrong: list[str]


def name_of(operator: Any) -> str:
    """Return the name of an entry of PyTorch's table, with that of its variant."""
    variant = operator.variant_test_name
    return f"{operator.name}.{variant}" if variant else operator.name


def operators() -> list[Any]:
    """Return the entries of PyTorch's table that give the same result in every run."""
    return [op for op in op_db if op.name not in DIFFERENT and op.supported_dtypes("cpu")]


def samples(operator: Any, dtype: torch.dtype, count: int) -> Iterator[Sample]:
    """Return samples of an operator, spread over all that there are."""
    if operator.name in ANY_OF_EQUAL and dtype != torch.float32:
        return
    if operator.name in LESS_EXACT and dtype != torch.float32:
        return
    found = list(operator.sample_inputs("cpu", dtype))
    step = max(len(found) / count, 1)
    for i in range(min(count, len(found))):
        given = found[int(i * step)]
        leaves, treedef = tree_flatten((given.input, tuple(given.args), dict(given.kwargs)))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        is_dense = all(tensor.layout == torch.strided for tensor in tensors)
        if is_dense and not given.kwargs.get("sparse"):
            yield Sample(_function(operator, leaves, treedef), tensors)


def _function(operator: Any, leaves: list[Any], treedef: Any) -> Callable[..., list[torch.Tensor]]:
    def function(*tensors: torch.Tensor) -> list[torch.Tensor]:
        given = iter(tensors)
        full = [next(given) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        first, args, kwargs = tree_unflatten(treedef, full)
        called = operator.gradcheck_wrapper(operator.op, first, *args, **kwargs)
        results = tree_flatten(called)[0]
        return [result for result in results if isinstance(result, torch.Tensor)]

    return function


def try_operator(operator: Any, dtype: torch.dtype, count: int) -> Outcome:
    """Compare samples of an operator with PyTorch, and their first derivatives where it has them."""
    outcome = Outcome(0, 0, set(), [])
    has_derivative = operator.supports_autograd and dtype in operator.supported_backward_dtypes(
        "cpu"
    )
    for sample in samples(operator, dtype, count):
        try:
            with torch.no_grad():
                expected = sample.function(*(t.clone() for t in sample.tensors))
        except RuntimeError:  # PyTorch cannot do it either
            continue
        if not expected or any(x.layout != torch.strided for x in expected):
            continue
        outcome.samples += 1
        lowered = torch2jax(sample.function, backend="xla")
        try:
            if not (has_derivative and _compare_gradients(lowered, sample, expected, dtype)):
                _compare_values(sample, _compiled(lowered)(*_arrays(sample.tensors)), expected)
        except (ShapeInferenceError, WrongArguments):
            outcome.refused += 1
        except TypeError as error:
            if not any(words in str(error) for words in ("in place", "JAX has no dtype")):
                raise
            outcome.refused += 1
        except AssertionError as error:
            outcome.wrong.append(" ".join(str(error).split()))
        outcome.called |= {c.step.name for p in lowered.programs() for c in p if c.rule is None}
    return outcome


def _arrays(tensors: list[torch.Tensor]) -> list[jax.Array]:
    return [t2j(_plain(t), copy=True) for t in tensors]


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().resolve_conj().resolve_neg().contiguous()


def _compare(found: jax.Array, expected: torch.Tensor, exact: Callable[[], Any]) -> None:
    """Raise if an array is not what PyTorch has, within a tolerance.

    Args:
        found: the array.
        expected: what PyTorch has.
        exact: gives the same in float64. In halves, of which PyTorch rounds each step, what is not
            further from that than PyTorch's is right too: at its place, or at the worst one, since
            what sums cancel may be lost at any.
    """
    tolerance = TOLERANCES.get(expected.dtype, 1e-6)
    ours, theirs = j2t(found, copy=True), _plain(expected)
    assert ours.dtype == theirs.dtype
    if theirs.dtype.is_floating_point and theirs.dtype.itemsize == 1:
        ours, theirs = ours.float(), theirs.float()
    try:
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance, equal_nan=True)
    except AssertionError:
        if expected.dtype not in HALVES:
            raise
        true = exact().double()
        error = (theirs.double() - true).abs().nan_to_num(nan=torch.inf, posinf=torch.inf)
        worst = error[error.isfinite()].max() if error.isfinite().any() else 0.0
        allowed = error.clamp(min=worst) + tolerance * (1 + true.abs())
        same = ours.isnan() & theirs.isnan()
        if not (same | ((ours.double() - true).abs() <= allowed)).all():
            raise


def _in_double(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [t.double() if t.dtype in HALVES else t.clone() for t in tensors]


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function compiled in little time."""
    return jax.jit(function, compiler_options=LITTLE_TIME)


def _compare_values(sample: Sample, results: list[jax.Array], expected: list[torch.Tensor]) -> None:
    for i, (found, wanted) in enumerate(zip(results, expected, strict=True)):
        _compare(found, wanted, lambda i=i: sample.function(*_in_double(sample.tensors))[i])


def _compare_gradients(
    lowered: Any, sample: Sample, expected: list[torch.Tensor], dtype: torch.dtype
) -> bool:
    """Compare values, and the cotangents of all arguments for random ones of all results.

    Returns:
        Whether PyTorch has cotangents for this sample; nothing was compared if not.
    """
    moving = [i for i, t in enumerate(sample.tensors) if t.dtype == dtype]
    tensors = [t.clone() for t in sample.tensors]
    try:
        outs = sample.function(*_tracked(tensors, moving))
        of = [i for i, out in enumerate(outs) if out.requires_grad]
        cotangents = [torch.randn_like(outs[i]) for i in of]
        wanted = _gradients(sample, tensors, moving, dict(zip(of, cotangents, strict=True)))
    except RuntimeError:  # not differentiable for one of them
        return False
    if not of or not moving:
        return False
    arrays = _arrays(sample.tensors)

    def function(*given: jax.Array) -> tuple[list[jax.Array], list[jax.Array]]:
        full = list(arrays)
        for i, array in zip(moving, given, strict=True):
            full[i] = array
        results = lowered(*full)
        return [results[i] for i in of], results

    @_compiled
    def both(given: list[jax.Array], cotangents: list[jax.Array]) -> Any:
        _, pull, results = jax.vjp(function, *given, has_aux=True)
        return results, pull(cotangents)

    given = [arrays[i] for i in moving], _arrays([_conj(c) for c in cotangents])
    results, found = both(*given)
    _compare_values(sample, results, expected)
    in_double = dict(zip(of, _in_double(cotangents), strict=True))

    def exact(place: int) -> torch.Tensor:
        return _gradients(sample, _in_double(sample.tensors), moving, in_double)[place]

    for place, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
        _compare(ours, _conj(theirs), partial(exact, place))
    return True


def _tracked(tensors: list[torch.Tensor], moving: list[int]) -> list[torch.Tensor]:
    return [t.clone().requires_grad_(i in moving) for i, t in enumerate(tensors)]


def _gradients(
    sample: Sample,
    tensors: list[torch.Tensor],
    moving: list[int],
    cotangents: dict[int, torch.Tensor],
) -> list[torch.Tensor]:
    """Return PyTorch's cotangents of some arguments for those of some results."""
    tensors = _tracked(tensors, moving)
    outs = sample.function(*tensors)
    pairs = [(outs[i], cotangent) for i, cotangent in cotangents.items()]
    given = [tensors[i] for i in moving]
    if not pairs or not given:
        return []
    found = torch.autograd.grad(
        [out for out, _ in pairs], given, [c for _, c in pairs], allow_unused=True
    )
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, given, strict=True)]


def _conj(tensor: torch.Tensor) -> torch.Tensor:
    """JAX pairs cotangents with values without conjugation, PyTorch with it."""
    return tensor.conj() if tensor.is_complex() else tensor


def main() -> int:
    """Run the command line; 1 if a sample differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="parts of names of operators; all without")
    parser.add_argument("--samples", type=int, default=1000, help="of each operator and dtype")
    parser.add_argument("--dtypes", default="float32,int64,bool,bfloat16,complex64")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    jax.config.update("jax_enable_x64", True)
    counts: Counter[str] = Counter()
    for operator in operators():
        name = name_of(operator)
        if options.names and not any(part in name for part in options.names):
            continue
        for dtype in (getattr(torch, dtype) for dtype in options.dtypes.split(",")):
            if dtype in operator.supported_dtypes("cpu"):
                outcome = try_operator(operator, dtype, options.samples)
                counts["operators"] += 1
                counts["samples"] += outcome.samples
                counts["refused"] += outcome.refused
                counts["wrong"] += len(outcome.wrong)
                counts["with called operators"] += bool(outcome.called)
                if outcome.wrong:
                    first = outcome.wrong[0][:200]
                    print(f"{name} {dtype}: {len(outcome.wrong)} of {outcome.samples}: {first}")
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    return int(counts["wrong"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
