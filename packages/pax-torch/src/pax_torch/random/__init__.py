"""Random numbers as pure functions of a key: those of `jax.random`, in PyTorch.

A key is a tensor of two 32-bit words. The same key gives the same numbers as in JAX with its default
generator, threefry, on every device, inside `vmap` and `jit`, and whatever else was drawn before.
"""

from pax_torch.random._choices import categorical, choice, permutation
from pax_torch.random._counts import binomial, multinomial, poisson
from pax_torch.random._floats import bernoulli, normal, truncated_normal, uniform
from pax_torch.random._gamma import (
    ball,
    beta,
    chisquare,
    dirichlet,
    f,
    gamma,
    generalized_normal,
    loggamma,
    t,
)
from pax_torch.random._integers import bits, randint
from pax_torch.random._keys import fold_in, key, split
from pax_torch.random._normals import (
    double_sided_maxwell,
    lognormal,
    maxwell,
    multivariate_normal,
    orthogonal,
    wald,
)
from pax_torch.random._transformed import (
    cauchy,
    exponential,
    geometric,
    gumbel,
    laplace,
    logistic,
    pareto,
    rademacher,
    rayleigh,
    triangular,
    weibull_min,
)

__all__ = [
    "ball",
    "bernoulli",
    "beta",
    "binomial",
    "bits",
    "categorical",
    "cauchy",
    "chisquare",
    "choice",
    "dirichlet",
    "double_sided_maxwell",
    "exponential",
    "f",
    "fold_in",
    "gamma",
    "generalized_normal",
    "geometric",
    "gumbel",
    "key",
    "laplace",
    "loggamma",
    "logistic",
    "lognormal",
    "maxwell",
    "multinomial",
    "multivariate_normal",
    "normal",
    "orthogonal",
    "pareto",
    "permutation",
    "poisson",
    "rademacher",
    "randint",
    "rayleigh",
    "split",
    "t",
    "triangular",
    "truncated_normal",
    "uniform",
    "wald",
    "weibull_min",
]
