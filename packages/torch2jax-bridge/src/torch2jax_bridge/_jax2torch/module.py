"""JAX functions with parameters as PyTorch modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce, update_wrapper
from typing import Any

import jax
import jax.numpy as jnp
import torch

from pax_tree import PyTreeDef, keystr, tree_flatten_with_path, tree_unflatten
from torch2jax_bridge._convert import j2t, t2j
from torch2jax_bridge._jax2torch.api import jax2torch
from torch2jax_bridge._jax2torch.specialize import ARRAYS
from torch2jax_bridge._runtime.named import from_pickle, to_pickle

Path = tuple[str, ...]


class JaxModule(torch.nn.Module):
    """A JAX function and its parameters as a PyTorch module.

    The floating and complex arrays of `params` become parameters, the other arrays buffers, all of
    them copies; what is no array (activation functions, numbers) is constant. Names follow the
    tree: `params["layer"]["w"]` is called `params.layer.w`. A module of a JAX library that is a
    pytree serves as `params` too.

    Args:
        fn: `fn(params, *args, **kwargs)`, as `jax2torch` takes it.
        params: any pytree of arrays.
        static_argnums: positions of static arguments of `fn`, `params` being 0.
        static_argnames: names of static arguments of `fn`.

    Raises:
        TypeError: a leaf is a tensor.
        ValueError: two leaves have one name, or a name that every `torch.nn.Module` has already.

    Example:
        >>> params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
        >>> layer = JaxModule(lambda p, x: x @ p["w"] + p["b"], params)
        >>> sorted(name for name, _ in layer.named_parameters())
        ['params.b', 'params.w']
        >>> layer(torch.ones(3)).sum().backward()
        >>> layer.params.b.grad
        tensor([1., 1.])
    """

    __static_by_identity__ = True

    def __init__(
        self,
        fn: Callable[..., Any],
        params: Any,
        *,
        static_argnums: int | Sequence[int] = (),
        static_argnames: str | Sequence[str] = (),
    ) -> None:
        super().__init__()
        pairs, treedef = tree_flatten_with_path(params)
        _refuse_tensors(pairs)
        constants = [None if isinstance(leaf, ARRAYS) else (leaf,) for _, leaf in pairs]
        self._paths = [_parts(path) for path, leaf in pairs if isinstance(leaf, ARRAYS)]
        arrays = [leaf for _, leaf in pairs if isinstance(leaf, ARRAYS)]
        for path, array in zip(self._paths, arrays, strict=True):
            self._add(path, jnp.asarray(array))
        self._flat = _Flat(fn, treedef, constants)
        self._call = jax2torch(
            self._flat, static_argnums=static_argnums, static_argnames=static_argnames
        )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """`fn` of the present parameters and of the arguments."""
        return self._call(self._tensors(), *args, **kwargs)

    def jax_params(self) -> Any:
        """Return the present parameters and buffers as JAX arrays, copied, in the tree they came in."""
        return self._flat.rebuilt([t2j(tensor, copy=True) for tensor in self._tensors()])

    def extra_repr(self) -> str:
        return repr(self._call)

    def _tensors(self) -> list[torch.Tensor]:
        return [reduce(getattr, path, self) for path in self._paths]

    def _add(self, path: Path, array: jax.Array) -> None:
        owner: torch.nn.Module = self
        tensor = _owned(path, array)
        try:
            for part in path[:-1]:
                if part not in dict(owner.named_children()):
                    owner.add_module(part, torch.nn.Module())
                owner = owner.get_submodule(part)
            _register(owner, path[-1], tensor)
        except (KeyError, AttributeError, TypeError) as error:
            raise ValueError(
                f"JaxModule cannot name a parameter {'.'.join(path)}, because there is another "
                "of that name, or every torch.nn.Module has such an attribute; rename it."
            ) from error


class _Flat:
    """A function of params as a function of their arrays in a list. It pickles if `fn` does."""

    def __init__(
        self, fn: Callable[..., Any], treedef: PyTreeDef, constants: list[tuple[Any] | None]
    ) -> None:
        self._parts = fn, treedef, constants
        update_wrapper(self, fn, updated=())

    def __reduce__(self) -> tuple:
        fn, *rest = self._parts
        return _flat_again, (to_pickle(fn), *rest)

    def __call__(self, arrays: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        return self._parts[0](self.rebuilt(arrays), *args, **kwargs)

    def rebuilt(self, arrays: Sequence[Any]) -> Any:
        """Return the params with these arrays in the place of theirs."""
        _, treedef, constants = self._parts
        given = iter(arrays)
        return tree_unflatten(treedef, [next(given) if c is None else c[0] for c in constants])


def _refuse_tensors(pairs: Sequence[tuple[Any, Any]]) -> None:
    """Raise if a leaf is a tensor, which as a constant no optimizer would change."""
    for path, leaf in pairs:
        if isinstance(leaf, torch.Tensor):
            raise TypeError(
                f"JaxModule takes params of JAX or NumPy arrays, but params{keystr(path)} is a tensor, "
                f"{tuple(leaf.shape)} of {leaf.dtype}; convert it by t2j."
            )


def _flat_again(fn: Any, treedef: PyTreeDef, constants: list[tuple[Any] | None]) -> _Flat:
    return _Flat(from_pickle(fn), treedef, constants)


def _owned(path: Path, array: jax.Array) -> torch.Tensor:
    try:
        return j2t(array, copy=True)
    except TypeError as error:
        raise TypeError(f"The array {'.'.join(path)} cannot be a tensor: {error}") from None


def _register(owner: torch.nn.Module, name: str, tensor: torch.Tensor) -> None:
    if any(name in dict(f(recurse=False)) for f in (owner.named_parameters, owner.named_buffers)):
        raise KeyError(name)
    if tensor.is_floating_point() or tensor.is_complex():
        owner.register_parameter(name, torch.nn.Parameter(tensor))
    else:
        owner.register_buffer(name, tensor)


def _parts(path: Any) -> Path:
    """Return the name of a leaf: a dot in a key makes two parts of it."""
    name = keystr(path, simple=True, separator=".")
    return ("params", *(part for part in name.split(".") if part))
