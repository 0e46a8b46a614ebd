"""Stubs for the names that are generated from optax, by which editors and type checkers know them.

`python tools/opax_stubs.py` writes them anew for the installed optax; a test compares.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import opax
from opax import contrib, schedule

HEADER = """# Written by `python tools/opax_stubs.py` for optax {version}.

{imports}
from jax import Array
from jax.typing import ArrayLike
"""
OWN = """from optax import skip_large_updates as skip_large_updates
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

"""
CONTRIB = """
from ._read import schedule_free_eval_params as schedule_free_eval_params
from ._transformation import Transformation

_generated: dict[str, Callable[..., Any]]

"""
SCHEDULE = '''
from ._plot import PNG

_generated: dict[str, Callable[..., Schedule]]

class Schedule:
    """A function from the step count to a value."""

    def __call__(self, count: ArrayLike) -> Array: ...
    def plot(self, steps: int) -> PNG: ...

'''


def stubs() -> dict[str, str]:
    """Return the text of every stub file by name."""
    imports = "from collections.abc import Callable\nfrom typing import Any\n"
    header = HEADER.format(version=optax.__version__, imports=imports)
    own = {name: getattr(opax, name) for name in ("flattened", "monitor_norms", "params_ema")}
    generated = {**opax._generated, **own}
    schedules = {**schedule._generated, "exponential_decay": schedule.exponential_decay}
    return {
        "__init__.pyi": header + OWN + _functions(generated, "Transformation"),
        "contrib.pyi": header + CONTRIB + _functions(contrib._generated, "Transformation"),
        "schedule.pyi": header + SCHEDULE + _functions(schedules, "Schedule"),
    }


def _functions(functions: dict[str, Callable[..., Any]], made: str) -> str:
    return "".join(_function(name, functions[name], made) for name in sorted(functions))


def _function(name: str, function: Callable[..., Any], made: str) -> str:
    signature = inspect.signature(function)
    if "Callable" in str(signature.return_annotation):
        made = f"Callable[..., {made}]"
    parameters = "".join(f"    {line},\n" for line in _parameters(signature))
    parameters = f"\n{parameters}" if parameters else ""
    summary = (inspect.getdoc(function) or "").partition("\n")[0].rstrip(".")
    return f'def {name}({parameters}) -> {made}:\n    """{summary}."""\n\n'


def _parameters(signature: inspect.Signature) -> Iterable[str]:
    keyword_only = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            yield "*"
        keyword_only = keyword_only or parameter.kind is parameter.VAR_POSITIONAL
        yield _parameter(parameter)


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = f"{stars}{parameter.name}: {_type(parameter.annotation)}"
    if parameter.default is parameter.empty:
        return text
    is_plain = isinstance(parameter.default, (bool, int, float, str, types.NoneType))
    default = repr(parameter.default).replace("'", '"') if is_plain else "..."
    if default == "None" and "Any" not in text and "None" not in text:
        text += " | None"
    return f"{text} = {default}"


def _type(annotation: Any) -> str:
    """Write a type as far as the standard library and JAX have names for it."""
    if annotation in (bool, int, float, str):
        return annotation.__name__
    if annotation in (None, types.NoneType):
        return "None"
    if annotation is jax.Array:
        return "Array"
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return _union(typing.get_args(annotation))
    if "Callable" in str(typing.get_origin(annotation)):
        return "Callable[..., Any]"
    return "Any"


def _union(members: tuple[Any, ...]) -> str:
    if np.ndarray in members:  # an array or a number of any kind
        members = tuple(x for x in members if not _is_array_like(x))
        return " | ".join(["ArrayLike", *dict.fromkeys(map(_type, members))])
    names = list(dict.fromkeys(map(_type, members)))
    return "Any" if "Any" in names else " | ".join(names)


def _is_array_like(member: Any) -> bool:
    numbers = (bool, int, float, complex, np.generic, np.ndarray, jax.Array)
    return isinstance(member, type) and issubclass(member, numbers)


if __name__ == "__main__":
    for name, text in stubs().items():
        Path(opax.__file__).with_name(name).write_text(text.rstrip() + "\n", encoding="utf-8")
