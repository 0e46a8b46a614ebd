import jax
import pytest


@pytest.fixture(autouse=True)
def strict_promotion():
    """No dtype or rank is promoted behind the user's back."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield
