"""Masks and labels by path: what optax takes as trees or as functions of the parameters."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pax_tree

MASKS = {"mask", "freeze_mask", "weight_decay_mask", "trust_ratio_mask"}
LABELS = "param_labels"


def for_optax(name: str, value: Any) -> Any:
    """Return the argument called `name` as optax takes it."""
    if name in MASKS and _is_pattern(value):
        return PathMask(value)
    if name == LABELS and (_is_predicate(value) or _is_labels(value)):
        return PathLabels(value)
    return value


@dataclass(frozen=True)
class PathMask:
    """The mask that a pattern gives for parameters."""

    pattern: Any

    def __call__(self, params: Any) -> Any:
        return mask_of(params, self.pattern)


@dataclass(frozen=True)
class PathLabels:
    """The labels that patterns, or a function of path and leaf, give for parameters."""

    labels: Any

    def __call__(self, params: Any) -> Any:
        if _is_tree_of(self.labels, params):
            return self.labels
        if not isinstance(self.labels, dict):
            return _map_with_path(self.labels, params)
        masks = [mask_of(params, pattern) for pattern in self.labels]
        return _map_with_path(self._first, params, *masks)

    def _first(self, path: str, leaf: Any, *matched: bool) -> Any:
        for label, found in zip(self.labels.values(), matched, strict=True):
            if found:
                return label
        raise ValueError(
            f"The parameter at {path} has no label: it matches none of the patterns "
            f"{', '.join(map(repr, self.labels))}. A last pattern '**' takes the rest."
        )


def mask_of(params: Any, pattern: Any) -> Any:
    """Return a tree of bools that are true for the leaves of `params` that a pattern matches.

    Args:
        params: a pytree.
        pattern: a glob for the end of the path (`"*.bias"`, `"layers.*.weight"`, `"bias"`), a compiled
            regular expression, a function of path and leaf, or a list of these, of which one must match.

    Returns:
        The tree of bools, in the structure of `params`.
    """
    if isinstance(pattern, list):
        masks = [mask_of(params, each) for each in pattern]
        return pax_tree.tree_map(lambda *found: any(found), *masks)
    if _is_predicate(pattern):
        return _map_with_path(lambda path, leaf: bool(pattern(path, leaf)), params)
    return pax_tree.tree_mask(params, _anywhere(pattern) if isinstance(pattern, str) else pattern)


def _anywhere(glob: str) -> str:
    """Let a glob match the end of a path; a leading `*.` stands for any names, or none."""
    if glob.startswith("**"):
        return glob
    separator = "." if "." in glob and "/" not in glob else "/"
    return f"**{separator}{glob.removeprefix('*' + separator)}"


def _map_with_path(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    return pax_tree.tree_map_with_path(
        lambda path, *leaves: function(pax_tree.keystr(path, simple=True, separator="."), *leaves),
        tree,
        *rest,
    )


def _is_pattern(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_is_pattern, value))
    return isinstance(value, (str, re.Pattern)) or _is_predicate(value)


def _is_predicate(value: Any) -> bool:
    """Say whether `value` is a function of path and leaf; optax's functions take the tree alone."""
    if not callable(value) or isinstance(value, type):
        return False
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return False
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters) == 2


def _is_labels(value: Any) -> bool:
    """Say whether `value` is a dict from patterns to labels."""
    return type(value) is dict and all(
        isinstance(key, (str, re.Pattern)) and not isinstance(label, (dict, list, tuple))
        for key, label in value.items()
    )


def _is_tree_of(labels: Any, params: Any) -> bool:
    return isinstance(labels, dict) and isinstance(params, dict) and labels.keys() == params.keys()
