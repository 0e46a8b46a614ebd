"""Optimizers that go on with a state from elsewhere, and say which hyperparameters are used then."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Collection, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from opax._hyperparameters import arguments, call_in_use, injected, plain_call

_START = "hyperparams."


def as_saved(optimizer: Any, paths: list[str]) -> Any:
    """Return an optimizer with the hyperparameters that were saved, and no others.

    Args:
        optimizer: what is to be loaded.
        paths: those of the saved hyperparameters.
    """
    saved = [path.removeprefix(_START) for path in paths]
    known = dict(arguments(plain_call(optimizer)))
    form = optimizer
    for name in saved:
        if name not in optimizer.hyperparams and isinstance(known.get(name), float):
            form = form.replace(**{name: known[name]})
    held = {k: x for k, x in form.hyperparams.items() if k in saved or not isinstance(x, jax.Array)}
    copy = form.copy()
    copy.hyperparams = held
    return copy


def resumed(loaded: Any, given: Any) -> Any:
    """Return a loaded optimizer with the hyperparameters that only the other has, and warn of others.

    The saved hyperparameters are used; of a state that `tx.init` made, those of `tx` are.

    Args:
        loaded: what was loaded.
        given: the optimizer that it was loaded into.
    """
    saved, copy = loaded.hyperparams, loaded.copy()
    copy.state = given.made_for.placed(loaded.state)
    known = {path: _array(x) for path, x in arguments(call_in_use(given)) if path in saved}
    differing = {path: (x, known[path]) for path, x in saved.items() if _differ(x, known[path])}
    is_of_transformation = given.made_for.replaced is not None
    taken = {**saved, **known} if is_of_transformation else saved
    names = loaded.template.names
    copy.hyperparams = {x: taken[x] if x in taken else given.hyperparams[x] for x in names}
    for path, values in differing.items():
        _warn(_of_transformation(path, *values) if is_of_transformation else _saved(path, *values))
    for path, values in _differing_states(given, copy, ()):
        _warn(_saved(path, *values))
    return copy


def _array(value: Any) -> Any:
    return jnp.asarray(value, jnp.result_type(float)) if isinstance(value, float) else value


def _saved(path: str, theirs: Any, mine: Any) -> str:
    return (
        f"{path} is {_text(theirs)} in what was saved and {_text(mine)} in the optimizer that it was "
        f"loaded into: the saved one is used. {_remedy(path, mine)} uses the other."
    )


def _of_transformation(path: str, theirs: Any, mine: Any) -> str:
    return (
        f"{path} is {_text(theirs)} in the state that was saved and {_text(mine)} in the transformation: "
        f"that of the transformation is used. {_remedy(path, theirs, 'state')} uses the other."
    )


def warn_of_other_values(old: Any, new: Any, together: Collection[str]) -> None:
    """Warn where a state that is taken over brings values that differ from those given anew."""
    for path, (theirs, mine) in _differing_states(old, new, together):
        _warn(
            f"{path} is {_text(theirs)} in the state given and {_text(mine)} in the optimizer: the state's "
            f"is used. `optimizer.replace(state=..., {path}={_text(mine)})` uses the other."
        )


def _differing_states(
    old: Any, new: Any, together: Collection[str]
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield the values in states of `inject_hyperparams` that differ: paths, and new and old values."""
    given_anew = {at: state for at, _, state in injected(plain_call(old), old.state)}
    for at, _, state in injected(plain_call(new), new.state):
        for name, value in state.hyperparams.items():
            mine = given_anew[at].hyperparams.get(name) if at in given_anew else None
            path = f"{at}.{name}" if at else name
            is_told = name in together or path in together or name in state.hyperparams_states
            if not is_told and mine is not None and _differ(value, mine):
                yield path, (value, mine)


def _differ(a: Any, b: Any) -> bool:
    """Say whether two values are known, and not the same."""
    if any(isinstance(x, Tracer) or not isinstance(x, _NUMBERS) for x in (a, b)):
        return False
    return not jnp.array_equal(jnp.asarray(a), jnp.asarray(b, jnp.result_type(a)))


_NUMBERS = (jax.Array, np.ndarray, np.generic, int, float)


def _text(value: Any) -> str:
    return f"{value:g}" if jnp.ndim(value) == 0 else str(np.asarray(value).tolist())


def _remedy(path: str, value: Any, of: str = "optimizer") -> str:
    is_name = path.isidentifier()
    given = f"{path}={_text(value)}" if is_name else f"**{{{path!r}: {_text(value)}}}"
    return f"`{of}.replace({given})`"


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=_level())


def _level() -> int:
    """Return how far up the first caller is that is none of the libraries between."""
    frame, level = inspect.currentframe(), 0
    while frame and str(frame.f_globals.get("__name__")).partition(".")[0] in _BETWEEN:
        frame, level = frame.f_back, level + 1
    return level


_BETWEEN = {"opax", "pax_jax", "pax_tree", "flax", "jax"}
