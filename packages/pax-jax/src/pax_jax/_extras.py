"""Optional dependencies, imported when they are needed."""

from __future__ import annotations

import importlib
from typing import Any


def extra(module: str, needed_by: str, name: str | None = None) -> Any:
    """Import a module that an extra of this package brings.

    Args:
        module: what to import.
        needed_by: the function that needs it, for the message.
        name: the extra; that of the module by default.

    Raises:
        ImportError: it is not installed; the message says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{needed_by} needs {module}, which is not installed. "
            f"Install it with `pip install pax-jax[{name or module}]`."
        ) from error
