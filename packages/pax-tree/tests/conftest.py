import gc
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for what several tests share


@pytest.fixture(scope="module")
def quick_collections():
    """Collections look only at what the module's tests made, not at the libraries loaded before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
