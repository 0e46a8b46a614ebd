"""Where loaded arrays go: to the devices, in the sharding and of the weak type that they should have."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from pax_jax._storage.keys import is_key


def placed(value: Any, like: Any, weak_type: bool | None = None) -> Any:
    """Return a copy of a loaded leaf, as a leaf of the kind of another and at the place of it.

    Args:
        value: an array of JAX or NumPy, or a number; of the dtype and shape of `like`.
        like: the leaf whose place it takes.
        weak_type: whether its type is weak; as that of `value`, or of `like` where that cannot say.
    """
    if isinstance(like, np.generic):
        return like.dtype.type(np.asarray(value)[()])
    if isinstance(like, np.ndarray):
        return np.array(value, like.dtype)  # in its byte order too
    if not hasattr(like, "shape"):
        return value
    if weak_type is None:
        weak_type = getattr(value if isinstance(value, jax.Array) else like, "weak_type", False)
    if isinstance(value, Tracer) or isinstance(like, Tracer):
        return jnp.asarray(value)
    if is_key(like):
        return _placed_key(value, like)
    return weakened(_moved(value, sharding_of(like)), bool(weak_type))


def sharding_of(like: Any) -> Any:
    """Return the sharding of an array; None where JAX is free to move it, as it is a new array."""
    if isinstance(like, jax.Array) and not getattr(like, "committed", True):
        return None
    return getattr(like, "sharding", None)


def weakened(array: jax.Array, weak_type: bool) -> jax.Array:
    """Return an array whose type is weak, or not."""
    if bool(getattr(array, "weak_type", False)) == weak_type:
        return array
    from jax.extend.core import primitives  # slow to import

    convert = primitives.convert_element_type_p.bind
    with wide(array.dtype):
        new = convert(array, new_dtype=array.dtype, weak_type=weak_type, sharding=None)
    return new if sharding_of(array) is None else jax.device_put(new, array.sharding)


def on_shards(function: Callable[[np.ndarray], np.ndarray], array: jax.Array) -> jax.Array:
    """Return the array of what a function returns for the part of an array on each of its devices.

    It never shares memory with the array if the function returns copies.
    """
    memory = array.sharding.memory_kind
    blocks = [
        _put(
            function(np.asarray(shard.data)),
            jax.sharding.SingleDeviceSharding(shard.device, memory_kind=memory),
        )
        for shard in array.addressable_shards
    ]
    if sharding_of(array) is None:
        return _put(np.asarray(blocks[0]), None)
    return jax.make_array_from_single_device_arrays(
        array.shape, array.sharding, blocks, dtype=blocks[0].dtype
    )


@contextlib.contextmanager
def wide(dtype: Any) -> Any:
    """Keep 64 bits of what is put on devices within this, if a dtype has them."""
    if jax.dtypes.canonicalize_dtype(dtype) == dtype:
        yield
    else:
        with jax.enable_x64(True):
            yield


def _placed_key(key: Any, like: Any) -> Any:
    data = _moved(jax.random.key_data(key), sharding_of(like))
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(key))


def _moved(value: Any, sharding: Any) -> jax.Array:
    """Return a copy on the devices of a sharding, and of no memory that someone else can reach."""
    if isinstance(value, jax.Array) and sharding is not None and value.sharding == sharding:
        return on_shards(np.array, value)
    host = np.asarray(value).copy()
    if sharding is None or sharding.is_fully_addressable:
        return _put(host, sharding)
    with wide(host.dtype):
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def _put(host: np.ndarray, sharding: Any) -> jax.Array:
    with wide(host.dtype):
        return jax.device_put(host, sharding)
