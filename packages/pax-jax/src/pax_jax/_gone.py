"""Names of earlier generations of Pax that are gone, and what takes their place."""

from __future__ import annotations

_PLACES = {
    "EmptyNode": "`None` stands for what `parameters()` and gradients leave out",
    "PaxFieldKind": "`register_parameter` and `register_state` say the kind of an attribute",
    "PaxKind": "`register_parameter` and `register_state` say the kind of an attribute",
    "apply_grads": "use `opax.apply_gradients`",
    "assertStructureEqual": "use `pax_jax.assert_structure_equal`",
    "ctx": "use `pax_jax.mutable` for a copy to change, and `pax_jax.pure` for a function of copies",
    "flatten_module": "use `pax_jax.experimental.Flattener`",
    "grad_": "use `pax_jax.grad`, which assigns changes to the caller's modules",
    "grads_with_aux": "use `pax_jax.grad` with `has_aux=True`",
    "jit_": "use `pax_jax.jit`, which assigns changes to the caller's modules",
    "pmap": "use `pax_jax.jit` with `in_shardings`, or `jax.pmap`",
    "tree": "a list, tuple or dict of arrays is assigned with `register_parameter_subtree`",
    "value_and_grad_": "use `pax_jax.value_and_grad`, which assigns changes to the caller's modules",
}


def missing(name: str) -> AttributeError:
    """Return the error for a name that `pax_jax` does not have."""
    said = f"module 'pax_jax' has no attribute {name!r}"
    if name in _PLACES:
        said = f"pax_jax has no {name!r}, which older releases of Pax had: {_PLACES[name]}."
    return AttributeError(said, name=name)
