"""A second name for what stands elsewhere in a module: tied weights."""

from __future__ import annotations

from typing import Any

from pax_tree import Record


class Shared:
    """Declare, in a class of modules, an attribute that is the array or module at another place.

    Both names read and write one object: it is held once, so that its gradients add up, it is updated
    once and can be donated.

    Args:
        path: where it is held, from the module: names of attributes, indices of lists and keys of dicts
            with dots between them, such as "embed.weight" or "layers.0".

    Raises:
        TypeError: `path` is not a string.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> class Tied(pax.Module):
        ...     decode = pax.Shared("encode.weight")
        ...
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.encode = pax.Linear(3, 2, with_bias=False)
        ...
        ...     def __call__(self, x):
        ...         return self.encode(x) @ self.decode.T
        >>> net = Tied()
        >>> net.decode is net.encode.weight, len(net.state_dict())
        (True, 1)
        >>> grads = pax.grad(lambda net, x: jnp.sum(net(x)))(net, jnp.ones((1, 3)))
        >>> grads.decode is grads.encode.weight
        True
    """

    def __init__(self, path: str) -> None:
        if not isinstance(path, str) or not path:
            raise TypeError(
                f'Shared expects the path of an attribute, such as "embed.weight", got {path!r} of '
                f"type {type(path).__name__}. Declare it in the class body: "
                '`head = pax_jax.Shared("embed.weight")`.'
            )
        self.path = path
        self.name = "shared"

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, module: Any, owner: Any = None) -> Any:
        """Return what stands at the path, or this declaration when the class is asked."""
        if module is None:
            return self
        *_, found = self._follow(module, self.path.split("."))
        return found

    def __set__(self, module: Any, value: Any) -> None:
        """Put `value` at the path; both places then hold it."""
        if value is self:  # the default of a dataclass's field
            return
        *above, last = self.path.split(".")
        *_, parent = self._follow(module, above)
        if isinstance(parent, Record):
            setattr(parent, last, value)
        else:
            parent[_key(parent, last)] = value

    def _follow(self, module: Any, parts: list[str]) -> list[Any]:
        """Return the module and what stands at each part of the path."""
        found = [module]
        for part in parts:
            try:
                found.append(_child(found[-1], part))
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                raise AttributeError(
                    f"{type(module).__name__}.{self.name} is shared with {self.path!r}, and there is "
                    f"no {part!r} in the {type(found[-1]).__name__}. Assign what is shared first."
                ) from error
        return found


def _child(parent: Any, part: str) -> Any:
    if isinstance(parent, Record):
        return getattr(parent, part)
    return parent[_key(parent, part)]


def _key(parent: Any, part: str) -> Any:
    return part if isinstance(parent, dict) else int(part)
