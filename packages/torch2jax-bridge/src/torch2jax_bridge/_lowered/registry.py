"""Which operators have a rule: what each computes, in JAX operations."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

Function = Callable[..., Any]


class Rule(NamedTuple):
    """How an operator is computed.

    Attributes:
        function: takes the operator's arguments, with arrays for its tensors.
        takes_result: whether it also takes `result=`.
        takes_key: whether it also takes `key=`.
        unless: says of arguments whether the rule is not for them; None if it is for all.
    """

    function: Function
    takes_result: bool
    takes_key: bool
    unless: Callable[..., bool] | None = None


_RULES: dict[str, Rule] = {}


def lowering(
    *names: str, unless: Callable[..., bool] | None = None
) -> Callable[[Function], Function]:
    """Register a rule for operators: how `torch2jax(..., backend="xla")` computes them in JAX.

    The function takes the operator's arguments, with a JAX array for each tensor, and returns an
    array, or a tuple where the operator does. It may take two arguments more, by name: `result`, a
    `jax.ShapeDtypeStruct` for each result, in a tuple where there are several; and `key`, a key of
    JAX's for operators that draw random numbers. Its results are cast to PyTorch's dtypes, and JAX
    differentiates it.

    Args:
        *names: such as "mylib::op", for all overloads, or "mylib::op.Tensor" for one of them.
        unless: a function of the operator's arguments, without values for its tensors, that says
            whether the operator is to be called nevertheless.

    Returns:
        A decorator that returns the function as it is.

    Raises:
        ValueError: a name is not of this form.

    Example:
        >>> import torch, jax, jax.numpy as jnp, torch2jax_bridge
        >>> @torch.library.custom_op("docs::cube", mutates_args=())
        ... def cube(x: torch.Tensor) -> torch.Tensor:
        ...     return x**3
        >>> _ = cube.register_fake(torch.empty_like)
        >>> @torch2jax_bridge.lowering("docs::cube")
        ... def cube_in_jax(x):
        ...     return x**3
        >>> f = torch2jax_bridge.torch2jax(lambda x: cube(x) + 1, backend="xla", strict=True)
        >>> print(jax.jit(f)(jnp.arange(3.0)))
        [1. 2. 9.]
    """
    for name in names:
        if name.count("::") != 1 or not all(name.split("::")):
            raise ValueError(f'A rule is for {name!r}, expected a name such as "mylib::op".')

    def register(function: Function) -> Function:
        parameters = inspect.signature(function).parameters
        by_name = {n for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
        rule = Rule(function, "result" in by_name, "key" in by_name, unless)
        _RULES.update(dict.fromkeys(names, rule))
        return function

    return register


def rule_for(name: str) -> Rule | None:
    """Return the rule for an operator: of this overload, or of all of them; None if there is none.

    Operators that copy what others view have the same rule: `aten::permute_copy`.
    """
    _load_rules()
    packet, _, _ = name.partition(".")
    for known in (name, packet, packet.removesuffix("_copy")):
        if known in _RULES:
            return _RULES[known]
    return None


def lowered_operators() -> list[str]:
    """Return the names that have a rule."""
    _load_rules()
    return sorted(_RULES)


@cache
def _load_rules() -> None:
    """Register the rules for PyTorch's own operators, once they are needed; users' come before them."""
    users = dict(_RULES)
    importlib.import_module("torch2jax_bridge._lowered.rules")
    _RULES.update(users)
