"""Which dtypes a derivative takes and gives; the rules and the errors are JAX's."""

from __future__ import annotations

from torch import Tensor

from pax_torch._args import describe
from pax_torch._autodiff.flatten_fun import Selection


def check_inputs(
    selection: Selection,
    transform: str,
    *,
    allow_int: bool = False,
    holomorphic: bool = False,
    real: bool = False,
) -> None:
    """Raise TypeError for a leaf that cannot be differentiated, and for no leaf at all.

    Args:
        selection: the arguments to differentiate.
        transform: its name, for the error.
        allow_int: leaves of other dtypes are no error.
        holomorphic: every leaf must be complex.
        real: no leaf may be complex, unless `holomorphic`.
    """
    if not allow_int and not all(selection.chosen):
        leaf = selection.chosen.index(False)
        raise TypeError(
            f"{transform} requires real- or complex-valued inputs (a floating-point or complex "
            f"dtype), but {_leaf(selection, leaf)}; convert it to a float, or leave the argument "
            "out of argnums."
        )
    if not any(selection.chosen):
        names = ", ".join(f"argument {i}" for i in selection.indices) or "the list of arguments"
        found = "leaves of a floating-point dtype" if selection.tensors else "leaves"
        raise TypeError(
            f"{transform} requires something to differentiate, but {names} has no {found}."
        )
    if holomorphic or real:
        _check_complex(selection, transform, holomorphic)


def _check_complex(selection: Selection, transform: str, holomorphic: bool) -> None:
    for leaf, tensor in enumerate(selection.tensors):
        if selection.chosen[leaf] and tensor.is_complex() != holomorphic:
            needed = "complex inputs" if holomorphic else "real inputs, or holomorphic=True"
            raise TypeError(
                f"{transform} with holomorphic={holomorphic} requires {needed}, "
                f"but {_leaf(selection, leaf)}."
            )


def _leaf(selection: Selection, leaf: int) -> str:
    return f"{selection.place(leaf)} has dtype {selection.tensors[leaf].dtype}"


def check_output(value: Tensor, transform: str, holomorphic: bool) -> None:
    """Raise TypeError unless a result is real, or complex if `holomorphic`."""
    if holomorphic and not value.is_complex():
        raise TypeError(
            f"{transform} with holomorphic=True requires complex outputs, "
            f"but the function returned {describe(value)}."
        )
    if not holomorphic and not value.is_floating_point():
        raise TypeError(
            f"{transform} requires real-valued outputs, "
            f"but the function returned {describe(value)}; for the derivative of a holomorphic "
            "function pass holomorphic=True."
        )
