"""Guards against the usual mistakes, for optimizers that are given to `check`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.experimental import io_callback

import pax_tree
from opax._hyperparameters import weight_decays
from opax._optimizer import Optimizer
from opax._params import aligned, trainable


def check(optimizer: Optimizer, model: Any) -> Optimizer:
    """Return an optimizer that looks out for mistakes at every step.

    Looked for now: parameters of another structure, and arrays that are both in `model` and in the
    state, which donation would use twice. At every step, inside of `jax.jit` too: gradients that were
    applied already, parameters that are not those the optimizer updated last, and weight decay of
    parameters that have had no gradient for two steps, being frozen. The guards compare checksums,
    which costs a pass over parameters and gradients; an optimizer that is not checked has no trace of
    them.

    Args:
        optimizer: an optimizer made for the parameters of `model`.
        model: a module or any pytree.

    Returns:
        A copy of the optimizer, with guards.

    Raises:
        TypeError: `optimizer` is not an optimizer.
        ValueError: one of the mistakes, with the path of the parameter; from a compiled step it is the
            cause of JAX's own error.

    Example:
        >>> import jax.numpy as jnp
        >>> import opax
        >>> params, grads = {"w": jnp.ones(2)}, {"w": jnp.ones(2)}
        >>> optimizer = opax.check(opax.sgd(0.1)(params), params)
        >>> params = optimizer.step(grads, params)
        >>> optimizer.step(grads, params)
        Traceback (most recent call last):
        ...
        ValueError: The gradients, at ['w'] for one, are those of the last step: they were applied already...
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            "check expects an optimizer such as `opax.adam(1e-3)(params)`, "
            f"got {optimizer!r} of type {type(optimizer).__name__}."
        )
    params = aligned("parameters", trainable(model), optimizer.made_for)
    _check_aliases(optimizer, params)
    checked = CheckedOptimizer._of(
        optimizer.template, optimizer.hyperparams, optimizer.made_for, optimizer.state
    )
    count = len(pax_tree.tree_leaves(params))
    checked.register_state_subtree(
        "watch",
        {
            "grads": jnp.zeros(count, jnp.uint32),
            "params": _fingerprints(params),
            "is_known": jnp.array(True),
            "idle": jnp.zeros(count, jnp.int32),
        },
    )
    return checked


class CheckedOptimizer(Optimizer):
    """An optimizer that looks out for mistakes; made by `opax.check`.

    Attributes:
        watch: checksums of the last gradients and parameters, and for how many steps since the
            beginning each parameter has had no gradient (-1 when it has had one).
    """

    _own = Optimizer._own | {"watch"}
    watch: dict[str, jax.Array]

    def _transform(self, grads: Any, params: Any, extra_args: dict[str, Any]) -> tuple[Any, Any]:
        updates, state = super()._transform(grads, params, extra_args)
        grads = aligned("gradients", grads, self.made_for)
        marks = _fingerprints(grads)
        silent = ~_per_leaf(jnp.any, grads)
        idle = jnp.where(silent & (self.watch["idle"] >= 0), self.watch["idle"] + 1, -1)
        repeated = jnp.all(marks == self.watch["grads"]) & ~jnp.all(silent)
        problems = {_REPEATED: repeated & ~silent}
        watch = {**self.watch, "grads": marks, "idle": idle, "is_known": jnp.array(False)}
        if params is not None:
            params = aligned("parameters", params, self.made_for)
            _check_aliases(self, params)
            other = _fingerprints(params) != self.watch["params"]
            problems[_FOREIGN] = other & self.watch["is_known"]
        if weight_decays(self.template):
            problems[_DECAYED] = (idle >= 2) & _per_leaf(jnp.any, updates)
        _raise_if(problems, pax_tree.tree_leaves_with_path(grads))
        self.watch = watch
        return updates, state

    def _step(
        self, grads: Any, params: Any, extra_args: dict[str, Any], all_finite: Any
    ) -> tuple[Any, Any]:
        params, state = super()._step(grads, params, extra_args, all_finite)
        params = jax.lax.optimization_barrier(params)  # its bits are not to be computed twice
        self.watch = {**self.watch, "params": _fingerprints(params), "is_known": jnp.array(True)}
        return params, state


_REPEATED = (
    "The gradients, at {path} for one, are those of the last step: they were applied already. "
    "Compute them anew for the updated parameters."
)
_FOREIGN = (
    "The parameter at {path} is not the one that the optimizer was made for or updated last: give "
    "the optimizer the model that its last step returned, or check it anew with `opax.check`."
)
_DECAYED = (
    "The parameter at {path} has had no gradient in any step, and weight decay changes it all the "
    "same: freeze its module (`module.freeze()`) or leave it out with `mask=`."
)


def _raise_if(problems: dict[str, Any], leaves: list[Any]) -> None:
    """Raise for the first problem that some leaf has, now or when the compiled step runs."""
    paths = [pax_tree.keystr(path) or "the root" for path, _ in leaves]

    def raise_now(*found: Any) -> None:
        for message, flags in zip(problems, found, strict=True):
            if flags.any():
                raise ValueError(message.format(path=paths[int(flags.argmax())]))

    flags = list(problems.values())
    if any(isinstance(x, Tracer) for x in flags):
        io_callback(raise_now, None, *flags)
    else:
        raise_now(*flags)


def _check_aliases(optimizer: Optimizer, params: Any) -> None:
    leaves = pax_tree.tree_leaves_with_path(params)
    seen = {id(leaf): path for path, leaf in leaves if isinstance(leaf, jax.Array)}
    for path, leaf in pax_tree.tree_leaves_with_path(optimizer.state):
        if id(leaf) in seen:
            raise ValueError(
                f"The array at {pax_tree.keystr(path)} of the optimizer's state is the parameter at "
                f"{pax_tree.keystr(seen[id(leaf)]) or 'the root'}: when both are donated it is used "
                "twice. Copy one of them with `jnp.copy`."
            )


def _fingerprints(tree: Any) -> jax.Array:
    """Return a checksum of the bits of every leaf, of shape `(leaves,)` and dtype uint32."""
    return _per_leaf(_fingerprint, tree)


def _per_leaf(function: Callable[[Any], Any], tree: Any) -> jax.Array:
    """Return the results of a function of every leaf in one vector."""
    return jnp.stack([function(jnp.asarray(leaf)) for leaf in pax_tree.tree_leaves(tree)])


def _fingerprint(leaf: jax.Array) -> jax.Array:
    """Sum the words of an array, each times an odd number of its own, modulo 2^32."""
    if jnp.iscomplexobj(leaf):
        leaf = jnp.stack([leaf.real, leaf.imag])
    word = {1: jnp.uint8, 2: jnp.uint16}.get(leaf.dtype.itemsize, jnp.uint32)
    bits = jax.lax.bitcast_convert_type(leaf, word).astype(jnp.uint32).ravel()
    weights = jax.lax.iota(jnp.uint32, bits.size) * jnp.uint32(0x9E3779B2) + jnp.uint32(0x85EBCA6B)
    return jnp.sum(bits * weights, dtype=jnp.uint32)
