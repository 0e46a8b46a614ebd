"""Weights of modules as PyTorch's state dicts and as safetensors files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
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
from pax_jax._module.state_dict import check_fit, misfits, with_part_of
from pax_jax._rng import is_key, loaded_leaf, stored_leaf
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
    bridge = extra("torch2jax_bridge", "pax_jax.weights.to_torch", "torch")
    arrays = _tensors_of(module, "")
    torch = extra("torch", "pax_jax.weights.to_torch")
    return {
        rename(name): torch.from_numpy(np.array(array))
        if isinstance(array, np.ndarray)
        else bridge.j2t(array, copy=True)
        for name, array in arrays.items()
    }


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
            names every one.
        ImportError: it has tensors, and torch2jax-bridge, the extra `torch`, is not installed.

    Example:
        >>> import jax.numpy as jnp, torch
        >>> import pax_jax as pax
        >>> there = torch.nn.Sequential(torch.nn.Linear(2, 3))
        >>> net = pax.weights.load_torch(pax.Sequential(pax.Linear(2, 3)), there.state_dict())
        >>> bool(jnp.allclose(net(jnp.ones((1, 2))), there(torch.ones(1, 2)).detach().numpy()))
        True
    """
    mine = _tensors_of(module, "")
    if cast:
        arrays = {name: _as_array(value) for name, value in state_dict.items()}
        state_dict = cast_to({rename(name): array for name, array in mine.items()}, arrays)
    source = _Source(state_dict, rename)
    loaded = _loaded(module, "", source)
    check_fit(module, source.problems(mine))
    return loaded


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
        names = {self._rename(name): array for name, array in expected.items()}
        optional = {name for name in names if name.endswith("num_batches_tracked")}
        return misfits(names, self._arrays, optional)


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


def _tensors_of(module: Any, prefix: str) -> dict[str, Any]:
    """Return the arrays of a module in the layout of PyTorch, by their names there."""
    layout = _layout(module)
    if layout is not None:
        return {prefix + name: array for name, array in layout.to(module).items()}
    if isinstance(module, nn.Stack):
        by_layer = [_tensors_of(layer, f"{prefix}{i}.") for i, layer in enumerate(module)]
        return {name: array for tensors in by_layer for name, array in tensors.items()}
    children, spec = record_flatten(module)
    tensors: dict[str, Any] = {}
    for name, kind, child in zip(spec.names, spec.kinds, children, strict=True):
        for path, leaf in pax_tree.tree_leaves_with_path(child, is_leaf=is_module):
            where = prefix + _name_there(module, name, path)
            if kind == MODULE:
                tensors |= _tensors_of(leaf, where + ".")
            elif _is_weight(leaf):
                tensors[where] = leaf
    return tensors


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


def save_safetensors(module: Module, path: str | os.PathLike[str]) -> None:
    """Write the arrays of a module to a safetensors file.

    Args:
        module: any module; its arrays get the names of `state_dict()`. Random keys are written as
            their numbers.
        path: the file; it is replaced, when the new one is complete.

    Raises:
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
    library = extra("safetensors.numpy", "pax_jax.weights.save_safetensors", "safetensors")
    arrays = {
        name: np.asarray(stored_leaf(leaf), order="C") for name, leaf in module.state_dict().items()
    }
    folder = os.path.dirname(os.path.abspath(path))
    descriptor, partial = tempfile.mkstemp(dir=folder, suffix=".partial")
    os.close(descriptor)
    try:
        library.save_file(arrays, partial)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def load_safetensors(module: M, path: str | os.PathLike[str], *, cast: bool = False) -> M:
    """Return a copy of a module with the arrays that `save_safetensors` wrote.

    Args:
        module: any module.
        path: the file.
        cast: as in `Module.load_state_dict`.

    Raises:
        ValueError: an array is missing or unknown, or has another shape or dtype; the message names
            every one. `load_partial` takes a part of them.
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
    return module.load_state_dict(_read(module, path, "load_safetensors"), cast=cast)


def load_partial(
    module: M, source: Mapping[str, Any] | str | os.PathLike[str], *, cast: bool = False
) -> tuple[M, LoadReport]:
    """Return a copy of a module with those saved arrays that fit it, and a report of what was taken.

    Args:
        module: any module; where nothing fits its own arrays stay.
        source: what `state_dict()` of another module returned, or a file that `save_safetensors` wrote.
        cast: as in `Module.load_state_dict`; an array of another dtype does not fit without it.

    Returns:
        The new module, and what was taken, missing, unknown and unfit.

    Raises:
        ValueError: nothing fits; the message names every path.
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
    if not isinstance(source, Mapping):
        source = _read(module, source, "load_partial")
    return with_part_of(module, source, cast)


def _read(module: Module, path: str | os.PathLike[str], function: str) -> dict[str, Any]:
    """Return the arrays of a file by name, those of random keys as keys."""
    library = extra("safetensors.numpy", f"pax_jax.weights.{function}", "safetensors")
    arrays = library.load_file(path)
    mine = module.state_dict()
    return {
        name: loaded_leaf(mine[name], array) if name in mine else array
        for name, array in arrays.items()
    }
