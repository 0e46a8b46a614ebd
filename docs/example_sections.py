"""Shows the `Example:` sections of docstrings as code.

The Google style that mkdocstrings reads knows `Examples:` only, and takes `Example:` for prose, in
which `>>>` means a quotation.
"""

import re
from typing import Any

from griffe import Extension, Object

SECTION = re.compile(r"^( *)Example:$", re.MULTILINE)


class ExampleSections(Extension):
    """Renames the sections when an object with a docstring has been read."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rename the sections of one object."""
        if obj.docstring is not None:
            obj.docstring.value = SECTION.sub(r"\1Examples:", obj.docstring.value)
