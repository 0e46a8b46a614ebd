"""Modules and optimizers of other libraries as modules."""
