"""Deep stacks of layers of one structure, as one layer with stacked arrays."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

import pax_tree
from pax_jax._module.module import Module
from pax_jax._rng import split_key
from pax_jax._show.titles import title
from pax_jax._transforms.loops import scan
from pax_jax._transforms.remat import remat as make_remat


class Stack(Module):
    """Layers of one structure called one after the other, by a scan over their stacked arrays.

    The program does not grow with the number of layers, and is compiled as fast for two hundred of them
    as for two. It computes what a loop over the layers computes; random keys, averages and counters are
    those of each layer.

    Args:
        make: makes a layer from a random key; each layer takes and returns arrays of the same shapes.
        n: the number of layers.
        remat: whether to compute each layer again in the backward pass; or a policy that says what is
            kept, such as one of `jax.checkpoint_policies`.
        unroll: how many layers the program has in one iteration.
        rng_key: split into the keys of the layers; `next_rng_key()` by default.
        name: shown when the module is printed.

    Raises:
        ValueError: `n` is less than 1.
        TypeError: `make` takes no key, or returns no module that can be called.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> stack = pax.Stack(lambda key: pax.Linear(8, 8, rng_key=key), 12)
        >>> stack(jnp.ones((2, 8))).shape, stack.layers.weight.shape
        ((2, 8), (12, 8, 8))
        >>> stack[3].weight.shape, len(stack[2:5])
        ((8, 8), 3)
    """

    _shown = ("n",)

    layers: Any

    def __init__(
        self,
        make: Callable[[jax.Array], Any],
        n: int,
        *,
        remat: bool | Callable[..., bool] = False,
        unroll: int | bool = 1,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if n < 1:
            raise ValueError(f"A Stack has at least one layer, got n={n}.")
        self.n = n
        self.remat = remat
        self.unroll = unroll
        layers = _made_of_keys(make, split_key(rng_key, n))
        if not (isinstance(layers, Module) and callable(layers)):
            raise TypeError(
                "Stack expects a function that makes a module that can be called, and it made a "
                f"{type(layers).__name__}."
            )
        self.layers = layers

    @staticmethod
    def of(
        layers: Sequence[Module],
        *,
        remat: bool | Callable[..., bool] = False,
        unroll: int | bool = 1,
        name: str | None = None,
    ) -> Stack:
        """Stack layers that are there, such as those of a trained net.

        Args:
            layers: modules of one structure, whose arrays have the same shapes and dtypes.
            remat: as for the class, like the rest.
            unroll: as for the class.
            name: as for the class.

        Raises:
            ValueError: there are no layers, or two of them differ in more than the values of arrays.

        Example:
            >>> import pax_jax as pax
            >>> layers = [pax.Linear(2, 2) for _ in range(3)]
            >>> pax.Stack.of(layers).unstack() == layers
            True
        """
        _check_alike(layers)
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
        return _made(stacked, len(layers), (remat, unroll, name))

    def unstack(self) -> list[Any]:
        """Return the layers, each a module of its own."""
        return list(self)

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the layers in order, each with the output of the one before.

        Args:
            x: what the first layer takes; arrays or a pytree of them.
            *args: what each layer takes besides.
            **kwargs: the same by name.
        """
        return self.scan(lambda layer, x, _: (layer(x, *args, **kwargs), None), x)[0]

    def scan(
        self, f: Callable[[Any, Any, Any], tuple[Any, Any]], init: Any, xs: Any = None
    ) -> tuple[Any, Any]:
        """Call a function for each layer in order; as `pax_jax.scan`.

        Args:
            f: from a layer, the carry and a slice of `xs` to the new carry and an output. What it changes
                in the layer is kept.
            init: the first carry.
            xs: a pytree of arrays with an item for each layer.

        Returns:
            The last carry, and the outputs, stacked.

        Raises:
            RuntimeError: a layer changes, and the stack was not made in the current scope.

        Example:
            >>> import jax.numpy as jnp
            >>> import pax_jax as pax
            >>> stack = pax.Stack(lambda key: pax.Linear(8, 8, rng_key=key), 3)
            >>> def step(layer, x, _):
            ...     x = layer(x)
            ...     return x, x
            >>> last, all_outputs = stack.scan(step, jnp.ones(8))
            >>> all_outputs.shape
            (3, 8)
        """
        if self.remat:
            policy: Any = self.remat if callable(self.remat) else None
            f = make_remat(f, prevent_cse=False, policy=policy)
        step = lambda carry, x: f(x[0], carry, x[1])  # noqa: E731
        return scan(step, init, (self.layers, xs), self.n, unroll=self.unroll)

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(self.n))

    def __getitem__(self, index: Any) -> Any:
        """Return a layer of its own, or for a slice a `Stack`; to change a layer, assign it again."""
        if isinstance(index, slice):
            numbers = range(self.n)[index]
            part = jax.tree.map(lambda leaf: leaf[index], self.layers)
            if not numbers:
                raise ValueError(f"A Stack has at least one layer, and {index} leaves none.")
            return _made(part, len(numbers), (self.remat, self.unroll, self.name))
        place = self._place(index)
        return jax.tree.map(lambda leaf: leaf[place], self.layers)

    def __setitem__(self, index: int, layer: Any) -> None:
        """Put a layer of the same structure in the place of another.

        Raises:
            IndexError: there is no such layer.
            ValueError: the layer differs in more than the values of arrays.
            RuntimeError: the stack was not made in the current scope.
        """
        place = self._place(index)
        _check_alike([self[place], layer])
        self.layers = jax.tree.map(lambda a, new: a.at[place].set(new), self.layers, layer)

    def set(self, index: int, layer: Any) -> Stack:
        """Return a copy with another layer; errors as for an assignment.

        Example:
            >>> import pax_jax as pax
            >>> stack = pax.Stack(lambda key: pax.Linear(2, 2, rng_key=key), 3)
            >>> layer = pax.Linear(2, 2)
            >>> stack.set(1, layer)[1] == layer
            True
        """
        copy = self.copy()
        copy[index] = layer
        return copy

    def _place(self, index: Any) -> int:
        try:
            return range(self.n)[operator.index(index)]
        except IndexError:
            raise IndexError(f"A Stack of {self.n} layers has no layer {index}.") from None


_MAKE = (
    "Stack calls `make` with a random key for the layer: `Stack(lambda key: Block(rng_key=key), n)`"
)


def _made_of_keys(make: Callable[[jax.Array], Any], keys: jax.Array) -> Any:
    try:
        inspect.signature(make).bind(keys[0])
    except TypeError as error:
        raise TypeError(f"{_MAKE}; {make!r} cannot be called so: {error}.") from None
    except ValueError:  # it has no signature
        pass
    try:
        return jax.vmap(make)(keys)
    except Exception as error:
        error.add_note(f"{_MAKE}.")
        raise


def _made(layers: Any, n: int, options: tuple[Any, Any, Any]) -> Stack:
    """Make a stack of stacked layers."""
    remat, unroll, name = options
    stack = Stack.__new__(Stack)
    Module.__init__(stack, name)
    stack.n, stack.remat, stack.unroll = n, remat, unroll
    stack.layers = layers
    return stack


def _check_alike(layers: Sequence[Any]) -> None:
    if not layers:
        raise ValueError("A Stack has at least one layer, got none.")
    leaves, structure = pax_tree.tree_flatten(layers[0])
    for number, layer in enumerate(layers):
        others, other = pax_tree.tree_flatten(layer)
        if other != structure:
            raise ValueError(
                f"The layers of a Stack have one structure; layer {number} is {title(layer)}, and layer 0 is "
                f"{title(layers[0])}. `pax_jax.assert_structure_equal` says where they differ."
            )
        for place, (leaf, new) in enumerate(zip(leaves, others, strict=True)):
            if jnp.shape(leaf) != jnp.shape(new) or leaf.dtype != new.dtype:
                path, _ = pax_tree.tree_leaves_with_path(layer)[place]
                raise ValueError(
                    f"The layers of a Stack have arrays of the same shapes and dtypes; layer {number}"
                    f"{pax_tree.keystr(path)} is {new.dtype}{jnp.shape(new)}, and in layer 0 it is "
                    f"{leaf.dtype}{jnp.shape(leaf)}."
                )
