import sys
from pathlib import Path

import jax
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for what several tests share


@pytest.fixture(autouse=True)
def strict_promotion():
    """No dtype or rank is promoted behind the user's back."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield
