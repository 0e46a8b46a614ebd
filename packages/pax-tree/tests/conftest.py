import gc
import sys
from pathlib import Path

import pytest
from hypothesis import settings

settings.load_profile("ci")  # how busy a machine is says nothing about what is tested
sys.path.insert(0, str(Path(__file__).parent))  # for what several tests share


@pytest.fixture(scope="module")
def quick_collections():
    """Collections look only at what the module's tests made, not at the libraries loaded before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
