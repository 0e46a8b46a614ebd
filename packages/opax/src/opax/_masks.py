"""Masks and labels by path: what optax takes as trees or as functions of the parameters."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pax_tree
from pax_tree._describe import nothing_found
from pax_tree._paths import users_path

LABELS = "param_labels"


@dataclass(frozen=True, repr=False)
class Optional:
    """A mask or labels of which `optional` says that they may match no parameter."""

    pattern: Any

    def __repr__(self) -> str:
        return f"optional({self.pattern!r})"


def optional(pattern: Any) -> Any:
    """Let a mask or labels by pattern match no parameter, or labels leave out a transformation.

    Elsewhere a pattern that names no parameter is an error, as it mostly is a mistake in writing, and so
    is a transformation of `multi_transform` whose label no parameter has.

    Args:
        pattern: what a transformation takes for a mask, or for labels.

    Returns:
        What it takes in place of that.

    Example:
        >>> import jax.numpy as jnp
        >>> import opax
        >>> opax.adamw(1e-3, mask=opax.optional("*.weight"))({"scale": jnp.ones(2)})
        adamw(learning_rate=0.001, mask=optional('*.weight'), weight_decay=1e-04)
    """
    return Optional(pattern)


def is_mask(name: str) -> bool:
    """Say whether arguments of this name are masks; all of optax's that are have such names."""
    return name == "mask" or name.endswith("_mask")


def is_by_path(name: str, value: Any) -> bool:
    """Say whether an argument of this name is a mask that has to be found in the parameters."""
    return is_mask(name) and _is_pattern(value)


def for_optax(name: str, value: Any) -> Any:
    """Return the argument called `name` as optax takes it."""
    if is_by_path(name, value):
        return PathMask(value)
    if name == LABELS:
        by_path = _is_predicate(_inside(value)) or _is_labels(_inside(value))
        return PathLabels(value) if by_path else _inside(value)
    return value


def _inside(value: Any) -> Any:
    return value.pattern if isinstance(value, Optional) else value


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
        labels = _inside(self.labels)
        if _is_tree_of(labels, params):
            return labels
        if not isinstance(labels, dict):
            return _map_with_path(labels, params)
        masks = [mask_of(params, Optional(pattern)) for pattern in labels]
        if labels is self.labels:
            _check_each_labels(params, labels, masks)
        return _map_with_path(self._first, params, *masks)

    def _first(self, path: str, leaf: Any, *matched: bool) -> Any:
        labels = _inside(self.labels)
        for label, found in zip(labels.values(), matched, strict=True):
            if found:
                return label
        raise ValueError(
            f"The parameter at {path} has no label: it matches none of the patterns "
            f"{', '.join(map(repr, labels))}. A last pattern '**' takes the rest."
        )


@dataclass(frozen=True)
class UsedLabels:
    """Labels of which each must have a transformation, and each transformation a parameter."""

    labels: Any
    known: tuple[Any, ...]
    may_be_unused: bool

    @classmethod
    def of(cls, value: Any, transforms: Mapping[Any, Any]) -> UsedLabels:
        return cls(for_optax(LABELS, value), tuple(transforms), isinstance(value, Optional))

    def __call__(self, params: Any) -> Any:
        labels = self.labels(params) if callable(self.labels) else self.labels
        found = pax_tree.tree_leaves(labels)
        if pax_tree.tree_leaves(params):  # there are none in `tree_map_params`
            self._check(dict.fromkeys(found))
        return labels

    def _check(self, found: dict[Any, None]) -> None:
        for label in found:
            if label not in self.known:
                raise ValueError(
                    f"The label {label!r} of a parameter has no transformation; there are those of "
                    f"{', '.join(map(repr, self.known))}."
                )
        unused = [label for label in self.known if label not in found]
        if unused and not self.may_be_unused:
            raise ValueError(
                f"No parameter has the label {unused[0]!r}, so its transformation does nothing; the labels "
                f"are {', '.join(map(repr, found))}. opax.optional(...) around the labels allows that."
            )


def _check_each_labels(params: Any, labels: dict[Any, Any], masks: list[Any]) -> None:
    """Check that each pattern gives some parameter its label; that for the rest may have none left."""
    left = [True] * len(pax_tree.tree_leaves(params))
    for pattern, mask in zip(labels, masks, strict=True):
        found = pax_tree.tree_leaves(mask)
        _check_any(params, pattern, found)
        if not all(found) and not any(a and b for a, b in zip(left, found, strict=True)):
            raise ValueError(
                f"The pattern {_text(pattern)!r} gives no parameter its label {labels[pattern]!r}: all "
                "that it matches have the label of a pattern before it. Put it first."
            )
        left = [a and not b for a, b in zip(left, found, strict=True)]


def mask_of(params: Any, pattern: Any) -> Any:
    """Return a tree of bools that are true for the leaves of `params` that a pattern matches.

    Args:
        params: a pytree.
        pattern: a glob for the end of the path (`"*.bias"`, `"layers.*.weight"`, `"bias"`), a compiled
            regular expression, a function of path and leaf, or a list of these, of which one must match.

    Returns:
        The tree of bools, in the structure of `params`.

    Raises:
        ValueError: a glob or an expression matches no parameter.
    """
    if isinstance(_inside(pattern), list):
        masks = [mask_of(params, _like(pattern, each)) for each in _inside(pattern)]
        return pax_tree.tree_map(lambda *found: any(found), *masks)
    if _is_predicate(pattern):
        return _map_with_path(lambda path, leaf: bool(pattern(path, leaf)), params)
    if isinstance(pattern, Optional):
        if _is_predicate(pattern.pattern):
            return mask_of(params, pattern.pattern)
        glob = pattern.pattern
        glob = _anywhere(glob) if isinstance(glob, str) else glob
        return pax_tree.tree_mask(params, glob, allow_empty=True)
    mask = mask_of(params, Optional(pattern))
    _check_any(params, pattern, pax_tree.tree_leaves(mask))
    return mask


def _like(pattern: Any, each: Any) -> Any:
    return Optional(each) if isinstance(pattern, Optional) else each


def _check_any(params: Any, pattern: Any, found: list[bool]) -> None:
    """Raise if none is found; a tree without leaves stands for parameters in `tree_map_params`."""
    if found and not any(found) and not _is_predicate(pattern):
        remedy = f"opax.optional({_text(pattern)!r}) allows that it matches none."
        raise ValueError(nothing_found("The pattern", pattern, _names(params), remedy))


def _text(pattern: Any) -> str:
    return getattr(pattern, "pattern", pattern)


def _names(params: Any) -> list[str]:
    return pax_tree.tree_leaves(_map_with_path(lambda path, _: path, params))


def _anywhere(glob: str) -> str:
    """Let a glob match the end of a path; a leading `*.` stands for any names, or none."""
    if glob.startswith("**"):
        return glob
    separator = "." if "." in glob and "/" not in glob else "/"
    return f"**{separator}{glob.removeprefix('*' + separator)}"


def _map_with_path(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    shortened = users_path(tree)
    return pax_tree.tree_map_with_path(
        lambda path, *leaves: function(
            pax_tree.keystr(shortened(path), simple=True, separator="."), *leaves
        ),
        tree,
        *rest,
    )


def _is_pattern(value: Any) -> bool:
    value = _inside(value)
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
