"""Modules of dm-haiku as modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from pax_jax._extras import extra
from pax_jax._interop.converted import Converted, StaticTree


class HaikuModule(Converted):
    """A module of dm-haiku; `from_haiku` makes it.

    `params` and `state` are what haiku's `init` returns, each a dict of dicts of arrays; both are
    `None` until the first call, or `hk_init`, makes them.
    """

    def __init__(
        self,
        recipe: StaticTree,
        use_rng: bool,
        pass_is_training: bool,
        rng_key: jax.Array | None,
        name: str | None,
    ) -> None:
        super().__init__(rng_key, name)
        self.recipe = recipe
        self.use_rng = use_rng
        self.pass_is_training = pass_is_training

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the haiku module; its state, where it has changed, is kept."""
        if self.pass_is_training:
            kwargs.setdefault("is_training", self.training)
        if self.params is None:
            self._initialize(args, kwargs)
        key = self._next_key() if self.use_rng else None
        out, state = self._transformed("__call__").apply(
            self._tree("params"), self._tree("state"), key, *args, **kwargs
        )
        self._keep_state(state)
        return out

    def initial_state(self, batch_size: int | None) -> Any:
        """Return the state from which a recurrent core starts, as haiku's method of this name."""
        out, _ = self._transformed("initial_state").apply({}, {}, None, batch_size)
        return out

    def _initialize(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        key = self._initial_key()
        params, state = self._transformed("__call__").init(key, *args, **kwargs)
        self.register_parameter_subtree("params", params)
        self.register_state_subtree("state", state)

    def _transformed(self, method: str) -> Any:
        haiku = extra("haiku", "from_haiku")
        cls, args, kwargs = self.recipe.value

        def forward(*inputs: Any, **options: Any) -> Any:
            return getattr(cls(*args, **kwargs), method)(*inputs, **options)

        return haiku.transform_with_state(forward)

    @property
    def _title(self) -> str:
        cls, args, kwargs = self.recipe.value
        shown = [repr(arg) for arg in args]
        shown += [f"{name}={value!r}" for name, value in kwargs.items() if value is not None]
        return f"from_haiku({cls.__name__})({', '.join(shown)})"


def from_haiku(
    cls: Any,
    use_rng: bool = False,
    delay: bool = True,
    pass_is_training: bool = False,
    *,
    rng_key: jax.Array | None = None,
) -> Callable[..., Any]:
    """Make a module of a class of dm-haiku, such as `haiku.LSTM`.

    Args:
        cls: a class of haiku modules, or any function that makes something to call from them.
        use_rng: whether each call needs a random key, as dropout does.
        delay: whether the module is made without an input, and its parameters at its first call or
            by `hk_init`.
        pass_is_training: whether each call is told the mode by `is_training=`, as `haiku.BatchNorm`
            needs it.
        rng_key: key of the initial parameters and of all calls; `next_rng_key()` by default.

    Returns:
        A function of the arguments of `cls`, which returns the module; with `delay=False` it returns
        a function of an example of the module's inputs that returns the module.

    Raises:
        ImportError: dm-haiku is not installed.

    Example:
        >>> import jax.numpy as jnp, haiku as hk
        >>> import pax_jax as pax
        >>> layer = pax.from_haiku(hk.Linear)(3)
        >>> layer = layer.hk_init(jnp.ones((1, 2)))
        >>> layer.params["linear"]["w"].shape
        (2, 3)
    """
    extra("haiku", "from_haiku")

    def build(*args: Any, **kwargs: Any) -> Any:
        def make() -> HaikuModule:
            recipe = StaticTree((cls, args, kwargs))
            return HaikuModule(recipe, use_rng, pass_is_training, rng_key, kwargs.get("name"))

        if delay:
            return make()
        return lambda *inputs, **options: make().hk_init(*inputs, **options)

    return build
