"""What is looked for in a module on request: mistakes that only show later."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

import pax_tree
from pax_jax._kinds import MODULE, PARAMETER, check_modules, classify, is_array
from pax_jax._sharing import check_unshared
from pax_jax._trees import submodules
from pax_tree import record_flatten


def scan_bugs(module: Any) -> None:
    """Raise what is wrong with `module` or with a module below it; see `Module.scan_bugs`."""
    check_unshared(module)
    _scan(module)


def _scan(module: Any) -> None:
    children, spec = record_flatten(module)
    for name, value in spec.statics.items():
        classify(module, name, value)
    for name, kind, child in zip(spec.names, spec.kinds, children, strict=True):
        if kind == PARAMETER:
            _check_differentiable(module, name, child)
        if kind == MODULE:
            check_modules(module, name, child)
    for child in submodules(module):
        _scan(child)


def _check_differentiable(module: Any, name: str, value: Any) -> None:
    for path, leaf in pax_tree.tree_leaves_with_path(value):
        dtype = leaf.dtype if is_array(leaf) else jax.dtypes.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise ValueError(
                f"{type(module).__name__}.{name}{pax_tree.keystr(path)} is a parameter of dtype "
                f"{dtype}, which has no gradient. Register it with register_state."
            )
