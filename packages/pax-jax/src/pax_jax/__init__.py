"""Stateful modules that are pytrees, for JAX."""
