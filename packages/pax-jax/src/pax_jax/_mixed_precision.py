"""Modules that compute in another dtype than that of their parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

import jax

import pax_tree
from pax_jax._extras import extra
from pax_jax._module import Module
from pax_jax._variants import derive, with_class
from pax_tree import record_flatten, record_spec

M = TypeVar("M", bound=Module)

_LETTERS = {"float64": "D", "float32": "F", "float16": "H", "bfloat16": "H"}


def apply_mp_policy(module: M, mp_policy: Any) -> M:
    """Return a copy of a module that computes by a mixed-precision policy of jmp.

    Its parameters and states are kept in the policy's parameter dtype. Its own methods (`__call__` and
    those that not every module has) run on a copy in the compute dtype, with their arguments in
    that dtype too; what they return is in the output dtype, and states that they change are kept.

    Args:
        module: any module; the modules inside it compute in the same dtype.
        mp_policy: a `jmp.Policy` (extra `jmp`).

    Returns:
        A module of a subclass of the same name.

    Raises:
        ValueError: `module` has a policy already.
        TypeError: `mp_policy` is no policy.
        ImportError: jmp is not installed.

    Example:
        >>> import jmp
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> policy = jmp.get_policy("params=float32,compute=bfloat16,output=float32")
        >>> layer = pax.apply_mp_policy(pax.Linear(3, 3), policy)
        >>> layer, layer(jnp.ones((1, 3))).dtype
        (Linear(in_dim=3, out_dim=3, with_bias=True, mp_policy=FHF), dtype('float32'))
    """
    jmp = extra("jmp", "apply_mp_policy")
    if not isinstance(mp_policy, jmp.Policy):
        raise TypeError(
            f"apply_mp_policy expects a jmp.Policy, such as `jmp.get_policy('half')`, "
            f"got {mp_policy!r} of type {type(mp_policy).__name__}."
        )
    if hasattr(module, "mp_policy"):
        raise ValueError(
            f"{module!r} has a mixed-precision policy already. Take it off first: "
            "`pax_jax.unwrap_mp_policy(module)`."
        )
    cast = mp_policy.cast_to_param(module)
    return with_class(cast, _mixed(type(module)), mp_policy=mp_policy)


def unwrap_mp_policy(module: M) -> M:
    """Return a copy of a module without its mixed-precision policy; its arrays keep their dtypes.

    Example:
        >>> import jmp
        >>> import pax_jax as pax
        >>> layer = pax.apply_mp_policy(pax.Linear(3, 3), jmp.get_policy("float32"))
        >>> pax.unwrap_mp_policy(layer)
        Linear(in_dim=3, out_dim=3, with_bias=True)
    """
    base = _plain(type(module))
    return module.copy() if base is None else with_class(module.copy(), base, mp_policy=None)


def _mixed(base: type) -> type:
    """Return the subclass of `base` whose methods follow a policy."""
    return derive(_mixed, base, methods=lambda: _methods(base))


def _plain(cls: Any) -> Any:
    """Return the class of which `cls` is the mixed-precision form, or `None`."""
    make, args = vars(cls).get("_recipe", (None, ()))
    return args[0] if make is _mixed else None


def _methods(base: type) -> dict[str, Any]:
    own = {name: getattr(base, name) for name in dir(base) if name not in dir(Module)}
    functions = {
        name: _in_policy(value)
        for name, value in own.items()
        if isinstance(value, FunctionType)
        and not isinstance(_descriptor(base, name), staticmethod)
        and (name == "__call__" or not name.startswith("_"))
    }
    return functions | {"__repr__": _repr}


def _descriptor(cls: type, name: str) -> Any:
    return next(vars(c)[name] for c in cls.__mro__ if name in vars(c))


def _in_policy(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        policy = self.mp_policy
        plain, args, kwargs = policy.cast_to_compute((unwrap_mp_policy(self), args, kwargs))
        before = plain.copy()
        output = method(plain, *args, **kwargs)
        _keep_changes(self, before, plain)
        return policy.cast_to_output(output)

    return call


def _keep_changes(module: Any, before: Any, after: Any) -> None:
    """Assign to `module` what a call has changed: attributes whose leaves are other objects."""
    old, _ = record_flatten(before)
    children, spec = record_flatten(after)
    known = dict(zip(record_spec(before).names, old, strict=True))
    for name, child in zip(spec.names, children, strict=True):
        if name not in known or not _same_leaves(known[name], child):
            setattr(module, name, _in_param_dtype(module, name, known.get(name), child))
    for name, value in spec.statics.items():
        if record_spec(before).statics.get(name, _in_policy) != value:
            setattr(module, name, value)


def _same_leaves(a: Any, b: Any) -> bool:
    mine, structure = pax_tree.tree_flatten(a)
    theirs, other = pax_tree.tree_flatten(b)
    return structure == other and all(x is y for x, y in zip(mine, theirs, strict=True))


def _in_param_dtype(module: Any, name: str, before: Any, after: Any) -> Any:
    """Return `after` in the dtype of parameters, with the module's own arrays where none changed."""
    cast = module.mp_policy.cast_to_param
    own = getattr(module, name, None)
    if pax_tree.tree_structure(after) != pax_tree.tree_structure(own):
        return cast(after)
    return jax.tree.map(lambda o, x, y: o if x is y else cast(y), own, before, after)


def _repr(self: Any) -> str:
    policy = self.mp_policy
    dtypes = (policy.param_dtype, policy.compute_dtype, policy.output_dtype)
    names = [jax.numpy.dtype(dtype).name for dtype in dtypes]
    letters = "".join(_LETTERS.get(name, f"[{name}]") for name in names)
    head, bracket, rest = _plain(type(self)).__repr__(self).partition("(")
    inside = f"{rest[:-1]}, " if bracket and rest != ")" else ""
    return f"{head}({inside}mp_policy={letters})"
