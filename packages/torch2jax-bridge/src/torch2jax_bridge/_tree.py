"""The pytree functions that this package uses, from one place."""

from __future__ import annotations

from typing import Any, TypeAlias

PyTreeDef: TypeAlias = Any  # compiled, without a type stub
