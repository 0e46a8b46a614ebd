"""Linear layers of a net in other forms: with low-rank adapters, and with weights of eight bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp

import pax_tree
from pax_jax._module.kinds import FROZEN, PARAMETER, STATE
from pax_jax._module.meta import derive
from pax_jax._module.module import Module
from pax_jax._module.tied import Shared
from pax_jax._module.trees import outermost_modules, submodules
from pax_jax._rng import split_key
from pax_jax.nn._attention import FromHeads
from pax_jax.nn._linear import Linear
from pax_tree import record_flatten, record_unflatten

M = TypeVar("M", bound=Module)
Parts = Mapping[str, tuple[int, Any]]

_ADAPTERS = ("lora_a", "lora_b")
_EIGHT_BITS = ("weight_int8", "weight_scale")
_init = jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def lora(
    net: M,
    rank: int,
    pattern: Any = "**",
    *,
    alpha: float | None = None,
    rng_key: jax.Array | None = None,
) -> M:
    """Return a copy of a net whose linear layers have low-rank adapters, the only parameters.

    A chosen `Linear` computes `x @ weight + bias + (alpha / rank) * (x @ lora_a) @ lora_b`
    (https://arxiv.org/abs/2106.09685); `lora_b` is zero at first. So do the projections of attention and
    the layers of a `Stack`, which have an adapter each. Everything else is frozen.

    Args:
        net: any module.
        rank: number of columns of `lora_a` and of rows of `lora_b`.
        pattern: which linear layers, by their paths: a glob such as `"**/attention/query"`, a compiled
            regular expression or a function, as for `pax_tree.tree_select`; all by default.
        alpha: the scale of the adapters times `rank`; `rank` by default.
        rng_key: key of the adapters; `next_rng_key()` by default.

    Raises:
        ValueError: the rank is less than 1, the net has no linear layers, the pattern matches none of
            them (the message names the nearest paths), or a layer has an adapter already, computes in
            a way of its own, or shares its weight with another place.

    Example:
        >>> import jax
        >>> import pax_jax as pax
        >>> net = pax.nets.Transformer(8, 2, num_layers=2)
        >>> tuned = pax.lora(net, 4, "**/attention/*")
        >>> [leaf.shape for leaf in jax.tree.leaves(tuned.parameters())][:2]
        [(8, 4), (4, 8)]
        >>> len(jax.tree.leaves(tuned.parameters()))  # two layers of four projections
        16
    """
    if rank < 1:
        raise ValueError(f"lora expects a rank of at least 1, got {rank}.")
    scale = 1.0 if alpha is None else alpha / rank
    keys = iter(split_key(rng_key, max(1, len(_linear_layers(net)))))
    frozen = net.freeze()
    users = _users_of_weights(frozen)

    def adapt(path: str, layer: Linear) -> Any:
        if _recipe(layer) is _with_adapter:
            raise ValueError(f"{path} has an adapter already. Merge it first: `merge_lora(net)`.")
        _check_can_adapt(path, layer, [user for user, owner in users if owner is layer])
        weight = layer.weight
        lead, dtype = weight.shape[:-2], weight.dtype
        first = _init(next(keys), (*lead, layer.in_dim, rank), jnp.float32).astype(dtype)
        last = jnp.zeros((*lead, rank, layer.out_dim), dtype)
        parts = {**_parts(layer), "lora_a": (PARAMETER, first), "lora_b": (PARAMETER, last)}
        statics = {**_statics(layer), "lora_scale": scale}
        return _remade(_with_adapter(type(layer)), parts, statics)

    return _changed(frozen, "lora", pattern, adapt)


def merge_lora(net: M) -> M:
    """Return a copy of a net of `lora` with the adapters added to the weights, frozen as it is.

    Args:
        net: a module with layers to which `lora` has given adapters.

    Raises:
        ValueError: no layer has an adapter.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> net = pax.Sequential(pax.Linear(2, 3))
        >>> pax.merge_lora(pax.lora(net, 1)).unfreeze() == net
        True
    """

    def merge(_: str, layer: Any) -> Any:
        base = _base(layer)
        weight = layer.weight + layer.lora_scale * (layer.lora_a @ layer.lora_b)
        parts, statics = _parts(layer), _statics(layer)
        kind = FROZEN if _is_int8(base) else parts["weight"][0]
        base = vars(base)["_recipe"][1][0] if _is_int8(base) else base
        kept = {n: part for n, part in parts.items() if n not in (*_ADAPTERS, *_EIGHT_BITS)}
        statics = {n: v for n, v in statics.items() if n not in ("lora_scale", "weight_dtype")}
        return _remade(base, {"weight": (kind, weight), **_without(kept, "weight")}, statics)

    return _all_of(net, "merge_lora", "an adapter", _with_adapter, merge)


def quantize_int8(net: M, pattern: Any = "**") -> M:
    """Return a copy of a net whose linear layers keep their weights in eight bits.

    Each column of a weight is `weight_int8` times one number, `weight_scale`; a call computes with the
    product, so that no weight is off by more than half of that number. The weights are not trained;
    `lora` adds adapters that are.

    Args:
        net: any module.
        pattern: which linear layers, as in `lora`.

    Raises:
        ValueError: as in `lora`; or a layer is quantized already or has an adapter.

    Example:
        >>> import pax_jax as pax
        >>> net = pax.quantize_int8(pax.nets.Transformer(8, 2, num_layers=2), "**/dense_*")
        >>> net.layers[0].dense_in.weight_int8.dtype, net.layers[0].dense_in.weight.dtype
        (dtype('int8'), dtype('float32'))
    """

    def quantize(path: str, layer: Linear) -> Any:
        if _recipe(layer) in (_in_eight_bits, _with_adapter):
            has = "an adapter" if _recipe(layer) is _with_adapter else "a weight of eight bits"
            raise ValueError(f"{path} has {has} already.")
        weight = layer.weight.astype(jnp.float32)
        scale = jnp.max(jnp.abs(weight), axis=-2, keepdims=True) / 127.0
        scale = jnp.where(scale == 0.0, 1.0, scale)
        numbers = jnp.round(weight / scale).astype(jnp.int8)
        parts = {"weight_int8": (STATE, numbers), "weight_scale": (STATE, scale)}
        parts |= _without(_parts(layer), "weight")
        statics = {**_statics(layer), "weight_dtype": str(layer.weight.dtype)}
        return _remade(_in_eight_bits(type(layer)), parts, statics)

    return _changed(net, "quantize_int8", pattern, quantize)


def _with_adapter(base: type) -> type:
    """Return the subclass of a class of linear layers that adds what an adapter computes."""
    by_heads = issubclass(base, FromHeads)

    def call(self: Any, x: jax.Array) -> jax.Array:
        y = base.__call__(self, x)  # type: ignore[operator]
        rows = x.reshape(*x.shape[:-2], self.in_dim) if by_heads else x
        low = jnp.dot(jnp.dot(rows, self.lora_a), self.lora_b)
        return y + self.lora_scale * low.reshape(y.shape)

    return derive(_with_adapter, base, methods=lambda: {"__call__": call})


def _in_eight_bits(base: type) -> type:
    """Return the subclass of a class of linear layers that computes its weight of eight bits."""

    def weight(self: Any) -> jax.Array:
        numbers = self.weight_int8.astype(self.weight_scale.dtype)
        return (numbers * self.weight_scale).astype(self.weight_dtype)

    return derive(_in_eight_bits, base, methods=lambda: {"weight": property(weight)})


def _users_of_weights(net: Any) -> list[tuple[str, Any]]:
    """Return the attributes of a net that are declared `Shared` with a weight, and what has the weight."""
    found, stack = [], outermost_modules(net)
    while stack:
        module = stack.pop()
        stack += submodules(module)
        shared = [x for base in type(module).__mro__ for x in vars(base).values()]
        found += [
            (f"{type(module).__name__}.{x.name}", x.owner(module))
            for x in shared
            if isinstance(x, Shared) and x.path.rpartition(".")[2] == "weight"
        ]
    return found


def _check_can_adapt(path: str, layer: Linear, users: list[str]) -> None:
    """Raise if what a layer computes with an adapter is not what it would with the merged weight."""
    cls = type(layer)
    if hasattr(layer, "mp_policy"):
        raise ValueError(
            f"{path} has a mixed-precision policy, which its adapter would not follow. Adapt the net "
            "first, and give the policy to the adapted net as a whole."
        )
    if not cls.__call__.__module__.startswith("pax_jax."):
        raise ValueError(
            f"{path} is a {cls.__name__}, whose own __call__ may do more than multiply by the weight: an "
            "adapter would be added behind it. Leave it out by the pattern, or give the class a Linear "
            "as an attribute."
        )
    if users:
        raise ValueError(
            f"The weight of {path} is used by {users[0]} too, which would not have the adapter, and with "
            "`merge_lora` would. Leave the layer out by the pattern."
        )


def _recipe(layer: Any) -> Any:
    return vars(type(layer)).get("_recipe", (None, ()))[0]


def _base(layer: Any) -> Any:
    return vars(type(layer))["_recipe"][1][0]


def _is_int8(cls: Any) -> bool:
    return vars(cls).get("_recipe", (None, ()))[0] is _in_eight_bits


def _parts(layer: Any) -> dict[str, tuple[int, Any]]:
    children, spec = record_flatten(layer)
    pairs = zip(spec.kinds, children, strict=True)
    return dict(zip(spec.names, pairs, strict=True))


def _without(parts: Parts, name: str) -> dict[str, tuple[int, Any]]:
    return {key: part for key, part in parts.items() if key != name}


def _statics(layer: Any) -> dict[str, Any]:
    return dict(record_flatten(layer)[1].statics)


def _remade(cls: Any, parts: Parts, statics: Mapping[str, Any]) -> Any:
    """Return a layer of a class with these arrays, each with its kind, and static attributes."""
    make, _ = cast(Any, record_flatten(cls.__new__(cls))[1].__reduce__())
    kinds = tuple(kind for kind, _ in parts.values())
    spec = make(cls, tuple(parts), kinds, dict(statics))
    return record_unflatten(spec, [child for _, child in parts.values()])


def _is_linear(node: Any) -> bool:
    return isinstance(node, Linear)


def _linear_layers(net: Any) -> list[tuple[Any, Any]]:
    pairs = pax_tree.tree_leaves_with_path(net, is_leaf=_is_linear)
    return [(path, node) for path, node in pairs if _is_linear(node)]


def _changed(net: Any, name: str, pattern: Any, change: Callable[[str, Any], Any]) -> Any:
    """Return a copy of a net with the linear layers changed whose paths a pattern matches."""
    layers = _linear_layers(net)
    if not layers:
        raise ValueError(f"{name}: {type(net).__name__} has no linear layers.")
    names = {path: pax_tree.keystr(path, simple=True, separator="/") for path, _ in layers}
    tree: Any = {}
    for path, layer in layers:
        _put(tree, names[path].split("/"), layer)
    tree = layers[0][1] if _is_linear(net) else tree
    chosen = {
        pax_tree.keystr(path, simple=True, separator="/")
        for path, is_chosen in pax_tree.tree_leaves_with_path(
            pax_tree.tree_mask(tree, pattern, is_leaf=_is_linear)
        )
        if is_chosen
    }
    return _replaced(net, lambda path, layer: change(path, layer) if path in chosen else layer)


def _put(tree: dict[str, Any], path: list[str], layer: Any) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = layer


def _all_of(net: Any, name: str, what: str, recipe: Any, change: Callable[[str, Any], Any]) -> Any:
    """Return a copy of a net with the linear layers changed that a recipe has made."""
    if not any(_recipe(layer) is recipe for _, layer in _linear_layers(net)):
        raise ValueError(f"{name}: no layer of {type(net).__name__} has {what}.")
    return _replaced(
        net, lambda path, layer: change(path, layer) if _recipe(layer) is recipe else layer
    )


def _replaced(net: Any, change: Callable[[str, Any], Any]) -> Any:
    pairs, structure = pax_tree.tree_flatten_with_path(net, is_leaf=_is_linear)
    return structure.unflatten(
        [
            change(pax_tree.keystr(path, simple=True, separator="/"), node)
            if _is_linear(node)
            else node
            for path, node in pairs
        ]
    )
