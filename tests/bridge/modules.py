"""PyTorch's own samples of its modules, run as programs of XLA: values and gradients, train and eval.

    python -m tests.bridge.modules [name ...]

prints the modules of which a sample differs, and the counts.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import torch
from torch.testing._internal.common_modules import module_db

from pax_tree import tree_flatten, tree_map
from tests.bridge.operators import LITTLE_TIME
from torch2jax_bridge import ShapeInferenceError, j2t, t2j, torch2jax
from torch2jax_bridge._torch2jax.function import WrongArguments

# In training their results are random.
RANDOM = ("Dropout", "RReLU", "FractionalMaxPool", "Transformer")
# Without values PyTorch gives its result of one row one dimension, with values none.
DIFFERENT: set[str] = set()
TOLERANCE: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-3, "equal_nan": True}


def try_module(info: Any, training: bool, count: int) -> Counter[str]:
    """Compare samples of a module with PyTorch.

    Args:
        info: the entry of PyTorch's table.
        training: whether the module is in training mode.
        count: how many samples at most.

    Returns:
        The number of samples, of refused ones, and of operators that were called.

    Raises:
        AssertionError: a value or a gradient differs.
    """
    counts: Counter[str] = Counter(samples=0, refused=0, called=0)
    inputs = info.module_inputs_func(
        info, device="cpu", dtype=torch.float32, requires_grad=False, training=training
    )
    for given in [each for each in inputs if each.forward_input is not None][:count]:
        torch.manual_seed(0)
        made, called = given.constructor_input, given.forward_input
        module = info.module_cls(*made.args, **made.kwargs).train(training)
        try:
            expected = _in_pytorch(module, called)
        except (RuntimeError, NotImplementedError):  # PyTorch cannot do it either
            continue
        counts["samples"] += 1
        try:
            counts["called"] += _compare(info.name, module, called, expected)
        except (ShapeInferenceError, WrongArguments):
            counts["refused"] += 1
    return counts


def _compare(name: str, module: torch.nn.Module, called: Any, expected: Any) -> int:
    """Compare one sample; return how many operators are called."""
    apply, params, buffers = torch2jax(module, backend="xla")
    arrays = tree_map(_array, (tuple(called.args), dict(called.kwargs)))
    tensors, given_tree = [leaf for leaf in tree_flatten(arrays)[0] if _is_array(leaf)], arrays

    def loss(params: Any, tensors: list[jax.Array]) -> Any:
        given = iter(tensors)
        args, kwargs = tree_map(lambda x: next(given) if _is_array(x) else x, given_tree)
        key = jax.random.key(0)
        options = {"buffers": buffers, "is_training": module.training, "rng": key}
        out, after = apply(params, *args, **options, **kwargs)
        found = [x for x in tree_flatten(out)[0] if _is_array(x)]
        return sum(jnp.sum(jnp.abs(x) ** 2) for x in found if _moves(x)), (found, after)

    compiled = jax.jit(jax.grad(loss, has_aux=True), compiler_options=LITTLE_TIME)
    grads, (found, after) = compiled(params, tensors)
    is_random = module.training and any(word in name for word in RANDOM)
    outs, wanted, state = expected
    for ours, theirs in zip(found, outs, strict=True):
        assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
        if not is_random:
            torch.testing.assert_close(j2t(ours, copy=True), theirs, **TOLERANCE)
    for path, value in {**grads, **after}.items():
        if not is_random:
            theirs = wanted.get(path, state.get(path))
            torch.testing.assert_close(j2t(value, copy=True), theirs, **TOLERANCE)
    steps = [step for each in (apply._call, apply._keyed) for p in each.programs() for step in p]
    return sum(step.rule is None for step in steps)


def _in_pytorch(module: torch.nn.Module, called: Any) -> tuple[list, dict, dict]:
    """Return the results, the gradients of parameters and the buffers after the call."""
    module = copy.deepcopy(module)
    args, kwargs = tree_map(_copied, (tuple(called.args), dict(called.kwargs)))
    outs = [x for x in tree_flatten(module(*args, **kwargs))[0] if isinstance(x, torch.Tensor)]
    params = dict(module.named_parameters())
    moving = [(x.abs() ** 2).sum() for x in outs if x.requires_grad]
    grads = dict(params)
    if moving and params:
        found = torch.autograd.grad(
            sum(moving), list(params.values()), allow_unused=True, materialize_grads=True
        )
        grads = dict(zip(params, found, strict=True))
    return [x.detach() for x in outs], grads, dict(module.named_buffers())


def _array(leaf: Any) -> Any:
    return t2j(leaf.detach(), copy=True) if isinstance(leaf, torch.Tensor) else leaf


def _copied(leaf: Any) -> Any:
    return leaf.clone() if isinstance(leaf, torch.Tensor) else leaf


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array)


def _moves(array: jax.Array) -> bool:
    return jnp.issubdtype(array.dtype, jnp.inexact)


def main(names: list[str]) -> int:
    """Run all samples; 1 if one differs."""
    warnings.simplefilter("ignore")
    jax.config.update("jax_enable_x64", True)
    total: Counter[str] = Counter()
    for info in module_db:
        if info.name in DIFFERENT or (names and not any(name in info.name for name in names)):
            continue
        for training in (False, True):
            total["modules"] += 1
            try:
                total += try_module(info, training, 1000)
            except AssertionError as error:
                total["different"] += 1
                mode = "training" if training else "evaluation"
                print(f"{info.name} in {mode}: {' '.join(str(error).split())[:300]}", flush=True)
    print(", ".join(f"{count} {what}" for what, count in total.items()))
    return int(total["different"] > 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
