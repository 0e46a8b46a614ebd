"""Weights of modules as PyTorch's state dicts and as safetensors files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

import pax_tree
from pax_jax import nn
from pax_jax._extras import extra
from pax_jax._interop.torch import TorchModule
from pax_jax._interop.torch_layout import LAYOUTS, TorchLayout
from pax_jax._module.kinds import MODULE, is_array, is_module
from pax_jax._module.module import Module
from pax_jax._module.partial import LoadReport, cast_to
from pax_jax._module.resuming import dotted
from pax_jax._module.state_dict import check_fit, misfits, with_part_of, with_state_dict
from pax_jax._storage import tensors
from pax_jax._storage.codes import check_plain, check_readable, native
from pax_jax._storage.keys import is_key, loaded_leaf, stored_leaf, stored_shape
from pax_jax._storage.placement import placed
from pax_tree import record_flatten, record_unflatten
from pax_tree._describe import dtype_and_shape

M = TypeVar("M", bound=Module)
Rename = Callable[[str], str]


def to_torch(module: Module, rename: Rename = str) -> dict[str, Any]:
    """Return the arrays of a module as a state dict of PyTorch.

    The layers of `pax_jax.nn` have the names and the layout of the same layers of `torch.nn`, the
    items of a `Sequential` and the layers of a `Stack` are numbers, and a module of `from_torch` has
    the names it came with. Random keys, and numbers that are no arrays, are left out.

    Args:
        module: any module.
        rename: changes the names.

    Returns:
        Tensors, copies, by name: what `load_state_dict` of the same net in PyTorch takes.

    Raises:
        ValueError: two arrays have one name, or an array is of a dtype that PyTorch does not have.
        ImportError: torch2jax-bridge, the extra `torch`, is not installed.

    Example:
        >>> import jax, torch
        >>> import pax_jax as pax
        >>> net = pax.Sequential(pax.Linear(2, 8), jax.nn.relu, pax.Linear(8, 1))
        >>> tensors = pax.weights.to_torch(net)
        >>> {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        {'0.weight': (8, 2), '0.bias': (8,), '2.weight': (1, 8), '2.bias': (1,)}
        >>> there = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
        >>> there.load_state_dict(tensors)
        <All keys matched successfully>
    """
    _check_module("to_torch", module)
    bridge = extra("torch2jax_bridge", "pax_jax.weights.to_torch", "torch")
    torch = extra("torch", "pax_jax.weights.to_torch")
    arrays = _renamed(module, rename).items()
    return {name: _as_tensor(name, array, torch, bridge) for name, array in arrays}


def _as_tensor(name: str, array: Any, torch: Any, bridge: Any) -> Any:
    try:
        if isinstance(array, np.ndarray):
            return torch.from_numpy(np.array(array))
        return bridge.j2t(array, copy=True)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{name} is {dtype_and_shape(array)}, which cannot be a tensor of PyTorch: {error}"
        ) from error


def load_torch(
    module: M, state_dict: Mapping[str, Any], rename: Rename = str, *, cast: bool = False
) -> M:
    """Return a copy of a module with the weights of a state dict of PyTorch.

    Args:
        module: any module.
        state_dict: tensors, or arrays of JAX or NumPy, by the names that `to_torch` gives them.
        rename: changes these names to those of `state_dict`, as in `to_torch`.
        cast: as in `Module.load_state_dict`.

    Returns:
        A new module. What `to_torch` leaves out is as in `module`.

    Raises:
        ValueError: a name is missing or unknown, or an array has another shape or dtype; the message
            names every one. Or two arrays have one name.
        ImportError: it has tensors, and torch2jax-bridge, the extra `torch`, is not installed.

    Example:
        >>> import jax.numpy as jnp, torch
        >>> import pax_jax as pax
        >>> there = torch.nn.Sequential(torch.nn.Linear(2, 3))
        >>> net = pax.weights.load_torch(pax.Sequential(pax.Linear(2, 3)), there.state_dict())
        >>> bool(jnp.allclose(net(jnp.ones((1, 2))), there(torch.ones(1, 2)).detach().numpy()))
        True
    """
    _check_module("load_torch", module)
    mine = _renamed(module, rename)
    if cast:
        state_dict = cast_to(mine, {name: _as_array(x) for name, x in state_dict.items()})
    source = _Source(state_dict, rename)
    check_fit(module, source.problems(mine))
    loaded, given = pax_tree.tree_leaves(_loaded(module, "", source)), pax_tree.tree_leaves(module)
    leaves = [
        old if new is old else placed(new, old, getattr(old, "weak_type", None))
        for new, old in zip(loaded, given, strict=True)
    ]
    return pax_tree.tree_structure(module).unflatten(leaves)


def _renamed(module: Module, rename: Rename) -> dict[str, Any]:
    """Return the arrays of a module by the names that they have in PyTorch, renamed.

    Raises:
        ValueError: two of them have one name.
    """
    tensors: dict[str, Any] = {}
    for name, array in _tensors_of(module, ""):
        new = rename(name)
        if new in tensors:
            raise ValueError(
                f"Two arrays of {type(module).__name__} have the name {new!r} in PyTorch: the second is "
                f"{name!r}. Use keys without dots in dicts of arrays, and a `rename` that gives each "
                "array a name of its own."
            )
        tensors[new] = array
    return tensors


class _Source:
    """A state dict that is read by the names of a module."""

    def __init__(self, state_dict: Mapping[str, Any], rename: Rename) -> None:
        self._arrays = state_dict
        self._rename = rename

    def get(self, name: str, like: Any) -> Any:
        """Return the array of this name, or `like` where there is no such array."""
        value = self._arrays.get(self._rename(name))
        if value is None or dtype_and_shape(value) != dtype_and_shape(like):
            return like
        return np.asarray(value).copy() if isinstance(like, np.ndarray) else _as_array(value)

    def problems(self, expected: Mapping[str, Any]) -> list[str]:
        optional = {name for name in expected if name.endswith("num_batches_tracked")}
        return misfits(expected, self._arrays, optional)


def _as_array(value: Any) -> jax.Array:
    if type(value).__module__.partition(".")[0] == "torch":
        bridge = extra("torch2jax_bridge", "pax_jax.weights.load_torch", "torch")
        return bridge.t2j(value.detach().cpu(), copy=True)
    return jnp.asarray(value)


def _is_weight(leaf: Any) -> bool:
    return is_array(leaf) and not is_key(leaf)


def _layout(module: Any) -> TorchLayout | None:
    if isinstance(module, nn.MultiHeadAttention) and not _is_square(module):
        return None
    return next((layout for cls, layout in LAYOUTS if isinstance(module, cls)), None)


def _is_square(attention: nn.MultiHeadAttention) -> bool:
    projections = (attention.query, attention.key, attention.value, attention.output)
    return len({size for part in projections for size in (part.in_dim, part.out_dim)}) == 1


def _tensors_of(module: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the arrays of a module in the layout of PyTorch, with their names there."""
    layout = _layout(module)
    if layout is not None:
        yield from ((prefix + name, array) for name, array in layout.to(module).items())
        return
    if isinstance(module, nn.Stack):
        for i, layer in enumerate(module):
            yield from _tensors_of(layer, f"{prefix}{i}.")
        return
    children, spec = record_flatten(module)
    for name, kind, child in zip(spec.names, spec.kinds, children, strict=True):
        for path, leaf in pax_tree.tree_leaves_with_path(child, is_leaf=is_module):
            where = prefix + _name_there(module, name, path)
            if kind == MODULE:
                yield from _tensors_of(leaf, where + ".")
            elif _is_weight(leaf):
                yield where, leaf


def _name_there(module: Any, attribute: str, path: Any) -> str:
    hidden = isinstance(module, nn.Sequential) or (
        isinstance(module, TorchModule) and attribute != "rng_key"
    )
    return dotted(path) if hidden else ".".join(filter(None, [attribute, dotted(path)]))


def _loaded(module: Any, prefix: str, source: _Source) -> Any:
    if isinstance(module, nn.Stack):
        layers = [_loaded(layer, f"{prefix}{i}.", source) for i, layer in enumerate(module)]
        return module.replace(layers=nn.Stack.of(layers).layers)
    children, spec = record_flatten(module)
    new = dict(zip(spec.names, children, strict=True))
    layout = _layout(module)
    if layout is not None:
        here = layout.to(module)
        new |= layout.back(module, lambda name: source.get(prefix + name, here.get(name)))
        return record_unflatten(spec, new.values())
    for name, kind in zip(spec.names, spec.kinds, strict=True):

        def load(path: Any, leaf: Any, name: str = name, kind: int = kind) -> Any:
            where = prefix + _name_there(module, name, path)
            if kind == MODULE:
                return _loaded(leaf, where + ".", source)
            return source.get(where, leaf) if _is_weight(leaf) else leaf

        new[name] = pax_tree.tree_map_with_path(load, new[name], is_leaf=is_module)
    return record_unflatten(spec, new.values())


def save_safetensors(
    module: Module, path: str | os.PathLike[str], *, checksums: bool = True
) -> None:
    """Write the arrays of a module to a safetensors file.

    Args:
        module: any module; its arrays get the names of `state_dict()`. Random keys are written as
            their numbers, and numbers of dtypes that the format lacks as their bits.
        path: the file; it is replaced, when the new one is complete.
        checksums: whether one for each array is written, into the file's metadata.

    Raises:
        ValueError: an array has elements that are not numbers; the message names it.
        ImportError: safetensors is not installed.

    Example:
        >>> import os, tempfile
        >>> import pax_jax as pax
        >>> path = os.path.join(tempfile.mkdtemp(), "net.safetensors")
        >>> net = pax.Linear(2, 3)
        >>> pax.weights.save_safetensors(net, path)
        >>> pax.weights.load_safetensors(pax.Linear(2, 3), path) == net
        True
    """
    _check_module("save_safetensors", module)
    leaves = module.state_dict()
    arrays = {name: _host_array(name, leaf) for name, leaf in leaves.items()}
    weak_types = [name for name, leaf in leaves.items() if getattr(leaf, "weak_type", False)]
    tensors.write(path, arrays, weak_types, checksums)


def load_safetensors(
    module: M, path: str | os.PathLike[str], *, cast: bool = False, checksums: bool = True
) -> M:
    """Return a copy of a module with the arrays that `save_safetensors` wrote.

    Args:
        module: any module; its arrays say on which devices, and in which shardings, the new ones are.
        path: the file, which may be one of another program.
        cast: as in `Module.load_state_dict`.
        checksums: whether those that the file has are compared with its arrays.

    Raises:
        ValueError: the file is damaged, or an array is missing or unknown, or has another shape or
            dtype; the message names every one. `load_partial` takes a part of them.
        ImportError: safetensors is not installed.

    Example:
        >>> import os, tempfile
        >>> import pax_jax as pax
        >>> path = os.path.join(tempfile.mkdtemp(), "net.safetensors")
        >>> net = pax.Sequential(pax.Linear(2, 3))
        >>> pax.weights.save_safetensors(net, path)
        >>> fresh = pax.Sequential(pax.Linear(2, 3))
        >>> pax.weights.load_safetensors(fresh, path) == net
        True
    """
    _check_module("load_safetensors", module)
    found, weak_types = tensors.read(path, "load_safetensors", checksums)
    arrays = _as_leaves(module, found)
    return with_state_dict(module, arrays, cast, os.fspath(path), weak_types)


def load_partial(
    module: M,
    source: Mapping[str, Any] | str | os.PathLike[str],
    *,
    cast: bool = False,
    checksums: bool = True,
) -> tuple[M, LoadReport]:
    """Return a copy of a module with those saved arrays that fit it, and a report of what was taken.

    Args:
        module: any module; where nothing fits its own arrays stay.
        source: what `state_dict()` of another module returned, or a file that `save_safetensors` wrote.
        cast: as in `Module.load_state_dict`; an array of another dtype does not fit without it.
        checksums: as in `load_safetensors`.

    Returns:
        The new module, and what was taken, missing, unknown and unfit.

    Raises:
        ValueError: nothing fits; the message names every path. Or the file is damaged.
        ImportError: `source` is a file, and safetensors is not installed.

    Example:
        >>> import pax_jax as pax
        >>> trained = pax.Sequential(pax.Linear(2, 8), pax.Linear(8, 10))
        >>> net = pax.Sequential(pax.Linear(2, 8), pax.Linear(8, 3))  # another head
        >>> net, report = pax.weights.load_partial(net, trained.state_dict())
        >>> report.taken
        ('modules.0.weight', 'modules.0.bias')
        >>> report.unfit["modules.1.bias"]
        'is float32[10], expected float32[3]'
    """
    _check_module("load_partial", module)
    if isinstance(source, Mapping):
        return with_part_of(module, source, cast)
    found, weak_types = tensors.read(source, "load_partial", checksums)
    return with_part_of(module, _as_leaves(module, found), cast, os.fspath(source), weak_types)


def _check_module(function: str, module: Any) -> None:
    if not isinstance(module, Module):
        raise TypeError(
            f"{function} takes a module of pax_jax, got {module!r} of type {type(module).__name__}; "
            "`pax_jax.checkpoint` saves any pytree."
        )


def _host_array(name: str, leaf: Any) -> np.ndarray:
    if isinstance(leaf, np.ndarray):
        check_plain(name, leaf)
    elif isinstance(leaf, jax.Array):
        check_readable(name, leaf)
    return native(np.asarray(stored_leaf(leaf), order="C"))


def _as_leaves(module: Module, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return arrays as the leaves that a module has there: keys, and numbers that are no arrays."""
    mine = module.state_dict()
    return {
        name: _as_leaf(array, mine[name]) if name in mine else array
        for name, array in arrays.items()
    }


def _as_leaf(array: np.ndarray, like: Any) -> Any:
    if is_key(like):
        is_data = array.dtype == np.uint32 and array.shape == stored_shape(like)
        return loaded_leaf(like, array) if is_data else array
    if hasattr(like, "shape") or array.shape or array.dtype != np.asarray(like).dtype:
        return array
    return type(like)(array.item())
