"""Modules that a call changes, and one that has all of them in a row."""

import jax
import jax.numpy as jnp

import pax_jax as pax

X = jax.random.normal(jax.random.key(0), (4, 3))


class Counter(pax.Module):
    def __init__(self):
        super().__init__()
        self.count = jnp.zeros(())

    def __call__(self, x):
        self.count = self.count + 1.0
        return x


class Tied(pax.Module):
    total = pax.Shared("counter.count")

    def __init__(self):
        super().__init__()
        self.counter = Counter()

    def __call__(self, x):
        self.total = self.total + 1.0
        return x


class Layers(pax.Module):
    def __init__(self):
        super().__init__()
        self.layers = [Counter(), pax.Dropout(0.5)]

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


PARTS = {
    "Dropout": lambda: pax.Dropout(0.5),
    "BatchNorm": lambda: pax.BatchNorm1D(3),
    "counter": Counter,
    "Shared": Tied,
    "list of layers": Layers,
}


class All(pax.Module):
    """One of each part, in a row."""

    def __init__(self, but=()):
        super().__init__()
        self.parts = [make() for name, make in PARTS.items() if name not in but]

    def __call__(self, x):
        for part in self.parts:
            x = part(x)
        return x
