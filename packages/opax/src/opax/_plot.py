"""Line plots as PNG files, by matplotlib."""

from __future__ import annotations

import importlib
import io
from typing import Any


class PNG(bytes):
    """The bytes of a PNG file; a notebook shows the picture.

    Example:
        >>> import opax
        >>> opax.schedule.constant_schedule(0.1).plot(3)
        <PNG, ... bytes>
    """

    __slots__ = ()

    def _repr_png_(self) -> bytes:
        return bytes(self)

    def __repr__(self) -> str:
        return f"<PNG, {len(self)} bytes>"

    __str__ = __repr__


def line(xs: Any, ys: Any, needed_by: str, **axes: Any) -> PNG:
    """Draw a line.

    Args:
        xs: numbers, in a sequence or an array.
        ys: as many numbers.
        needed_by: the function that draws, for the message.
        **axes: properties of the axes, such as `xlabel` and `yscale`.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = _figure(needed_by)
    plot: Any = figure.subplots()
    plot.plot(xs, ys)
    plot.set(**axes)
    plot.grid(alpha=0.3)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return PNG(file.getvalue())


def _figure(needed_by: str) -> Any:
    try:
        figures = importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise ImportError(
            f"{needed_by} needs matplotlib, which is not installed. Install it with "
            "`pip install opax[matplotlib]`."
        ) from error
    return figures.Figure(figsize=(6, 3), layout="constrained")
