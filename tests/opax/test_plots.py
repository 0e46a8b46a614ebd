"""Schedules and range tests as PNG files, which matplotlib reads."""

import io

import matplotlib.image
import numpy as np

import opax


def test_a_schedule_and_a_range_test_are_drawn():
    falling = opax.schedule.linear_schedule(1.0, 0.0, 10).plot(20)
    found = opax._range_test.RangeTest(np.array([0.1, 0.2]), np.array([1.0, 0.5]))
    for png in (falling, found.plot()):
        assert png._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"
        assert repr(png) == f"<PNG, {len(png)} bytes>"
        image = matplotlib.image.imread(io.BytesIO(png))
        assert image.std() > 0
