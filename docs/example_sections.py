"""Shows the `Example:` sections of docstrings as code.

The Google style that mkdocstrings reads knows `Examples:` only, and takes `Example:` for prose, in
which `>>>` means a quotation.
"""

import re
from typing import Any

from griffe import Extension, Object


class ExampleSections(Extension):
    """Renames the sections when an object with a docstring has been read."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rename the sections of one object."""
        if obj.docstring is not None:
            value = obj.docstring.value
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", value, flags=re.M)
