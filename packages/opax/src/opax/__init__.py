"""Every optax optimizer as a stateful module."""
