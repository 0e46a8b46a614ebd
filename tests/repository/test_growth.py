"""The programs whose growth `benchmarks.growth` prints run."""

import pytest

from benchmarks.growth import GROUPS


@pytest.mark.parametrize("group", GROUPS)
def test_programs_run(group):
    for program in GROUPS[group](66).values():
        program()
