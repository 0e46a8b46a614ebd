"""Guards against the usual mistakes, for optimizers that are given to `check`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jax.experimental import io_callback

import pax_tree
from opax._hyperparameters import weight_decays
from opax._optimizer import Optimizer
from opax._params import aligned, trainable, where_finite


@dataclass(frozen=True)
class Guards:
    """What `check` was told: see there."""

    idle_steps: int
    allow_repeats: bool
    allow_edits: bool


def check(
    optimizer: Optimizer,
    model: Any,
    *,
    idle_steps: int = 300,
    allow_repeats: bool = False,
    allow_edits: bool = False,
) -> Optimizer:
    """Return an optimizer that looks out for mistakes at every step.

    Looked for now: parameters of another structure, and arrays that are both in `model` and in the
    state, which donation would use twice. At every step, inside of `jax.jit` too: gradients that were
    applied already, parameters that are not those the optimizer updated last, and weight decay of
    parameters that have never had a gradient, being frozen. A step that changes nothing, such as one
    that `all_finite` leaves out, one with a rate of zero, or one of `MultiSteps`, is no mistake. The
    guards compare checksums, which costs a pass over parameters and gradients; an optimizer that is not
    checked has no trace of them.

    Args:
        optimizer: an optimizer made for the parameters of `model`.
        model: a module or any pytree.
        idle_steps: after how many steps without a gradient weight decay of a parameter gives a warning.
        allow_repeats: whether gradients may be the same although the parameters changed, as those of a
            linear loss are.
        allow_edits: whether parameters may be changed between steps, as by a projection; to drop the
            result of a step stays a mistake.

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
    checked.guards = Guards(idle_steps, allow_repeats, allow_edits)
    fast = params.fast if isinstance(params, optax.LookaheadParams) else params
    count = len(pax_tree.tree_leaves(fast))
    now = _fingerprints(params)
    checked.register_state_subtree(
        "watch",
        {
            "grads": jnp.zeros(count, jnp.uint32),
            "taken_at": jnp.copy(now),
            "params": now,
            "is_known": jnp.array(True),
            "idle": jnp.zeros(count, jnp.int32),
        },
    )
    return checked


class CheckedOptimizer(Optimizer):
    """An optimizer that looks out for mistakes; made by `opax.check`.

    Attributes:
        guards: what `check` was told; static.
        watch: checksums of the last gradients, of the parameters at which they were taken and of those
            that the last step returned, whether these are known, and for how many steps since the
            beginning each parameter has had no gradient (-1 when it has had one).
    """

    _own = Optimizer._own | {"watch", "guards"}
    guards: Guards
    watch: dict[str, jax.Array]

    def _transform(self, grads: Any, params: Any, extra_args: dict[str, Any]) -> tuple[Any, Any]:
        updates, state = super()._transform(grads, params, extra_args)
        watch = self._look(grads, params, updates, True)
        self.watch = {**watch, "is_known": jnp.array(False)}
        return updates, state

    def _step(
        self, grads: Any, params: Any, extra_args: dict[str, Any], all_finite: Any
    ) -> tuple[Any, Any]:
        updates, state = super()._transform(grads, params, extra_args)
        watch = self._look(grads, params, updates, True if all_finite is None else all_finite)
        new = self._applied(params, updates), state
        if all_finite is not None:
            new = where_finite(all_finite, new, (params, self.state))
        # The bits of the new parameters are not to be computed twice.
        now = _fingerprints(jax.lax.optimization_barrier(new[0]))
        watch = {**watch, "params": now, "is_known": jnp.array(True)}
        if all_finite is not None:
            watch = where_finite(all_finite, watch, self.watch)
        self.watch = watch
        return new

    def _look(self, grads: Any, params: Any, updates: Any, is_applied: Any) -> dict[str, Any]:
        """Raise what is wrong with a step, and return what is known after it."""
        watch, guards = self.watch, self.guards
        grads = aligned("gradients", grads, self.made_for)
        marks, silent = _fingerprints(grads), ~_per_leaf(jnp.any, grads)
        idle = jnp.where(silent & (watch["idle"] >= 0), watch["idle"] + 1, -1)
        problems: dict[str, Any] = {}
        watch = {**watch, "grads": marks, "idle": idle}
        if params is not None:
            params = aligned("parameters", params, self.made_for)
            _check_aliases(self, params)
            now, last = _fingerprints(params), self.watch
            changed = jnp.any(now != last["taken_at"])
            repeated = jnp.all(marks == last["grads"]) & ~jnp.all(silent) & changed
            problems[_REPEATED] = repeated & ~silent & (not guards.allow_repeats)
            moved = jnp.any(last["params"] != last["taken_at"])
            is_dropped = moved & jnp.all(now == last["taken_at"]) & last["is_known"]
            problems[_DROPPED] = is_dropped & (now != last["params"])
            other = (now != last["params"]) & last["is_known"]
            problems[_FOREIGN] = other & (not guards.allow_edits)
            watch["taken_at"] = now
        decayed = jnp.zeros_like(silent)
        if weight_decays(self.template):
            decayed = (idle == guards.idle_steps) & _per_leaf(jnp.any, updates) & is_applied
        problems = {message: flags & is_applied for message, flags in problems.items()}
        _report(problems, decayed, pax_tree.tree_leaves_with_path(grads), guards.idle_steps)
        return watch


_REPEATED = (
    "The gradients, at {path} for one, are those of the last step: they were applied already. "
    "Compute them anew for the updated parameters. If they do not depend on the parameters, give "
    "`opax.check` allow_repeats=True."
)
_DROPPED = (
    "The parameter at {path} is not the one that the optimizer was made for or updated last, but the one "
    "from before its last step, whose result was dropped: give it the model that its last step returned, "
    "or check it anew with `opax.check`."
)
_FOREIGN = (
    "The parameter at {path} is not the one that the optimizer was made for or updated last: give "
    "the optimizer the model that its last step returned, or check it anew with `opax.check`. If the "
    "parameters are changed between steps, give `opax.check` allow_edits=True."
)
_DECAYED = (
    "The parameter at {path} has had no gradient in {steps} steps, and weight decay changes it all the "
    "same: freeze its module (`module.freeze()`) or leave it out with `mask=`. `opax.check` takes the "
    "number of steps as idle_steps=."
)


def _report(problems: dict[str, Any], decayed: Any, leaves: list[Any], steps: int) -> None:
    """Raise for the first problem that some leaf has, now or when the compiled step runs, or warn."""
    paths = [pax_tree.keystr(path) or "the root" for path, _ in leaves]

    def report_now(decayed: Any, *found: Any) -> None:
        for message, flags in zip(problems, found, strict=True):
            if flags.any():
                raise ValueError(message.format(path=paths[int(flags.argmax()) % len(paths)]))
        if decayed.any():
            path = paths[int(decayed.argmax())]
            warnings.warn(_DECAYED.format(path=path, steps=steps), stacklevel=2)

    flags = list(problems.values())
    if any(isinstance(x, Tracer) for x in [decayed, *flags]):
        io_callback(report_now, None, decayed, *flags)
    else:
        report_now(decayed, *flags)


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
