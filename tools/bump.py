"""Set the one version: in version.py, in each package, in the pins between siblings, and in the changelog."""

from __future__ import annotations

import argparse
import datetime
import re
import sys
from pathlib import Path

import distributions

VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?(\.dev\d+)?")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", help="the new version, such as 1.2.0 or 1.2.0.dev0")
    new = parser.parse_args().version
    if not VERSION.fullmatch(new):
        sys.exit(
            f"bump: {new!r} was given as the version; expected one such as 1.2.0, 1.2.0rc1 or 1.2.0.dev0."
        )
    bump(distributions.ROOT, new)
    print(f"bump: version.py, the packages, their pins and CHANGELOG.md now say {new}.")
    return 0


def bump(root: Path, new: str) -> None:
    """Write `new` everywhere under `root`; every text is made before the first is written."""
    texts = {root / "version.py": rewrite_version, root / "CHANGELOG.md": release_heading}
    texts |= {root / "CITATION.cff": rewrite_field, root / "conda" / "recipe.yaml": rewrite_field}
    for name in distributions.NAMES:
        folder = root / "packages" / name
        texts[folder / "pyproject.toml"] = rewrite_pins
        texts[folder / "src" / distributions.import_name(name) / "__init__.py"] = rewrite_version
    changed = {file: change(file.read_text(), new) for file, change in texts.items()}
    for file, text in changed.items():
        file.write_text(text)


def rewrite_version(text: str, new: str) -> str:
    return re.sub(r'(__version__ = )"[^"]+"', rf'\1"{new}"', text)


def rewrite_field(text: str, new: str) -> str:
    """Write the version into YAML; the lines that name it by a variable stay."""
    return re.sub(r'^( *version: "?)\d[^"\n]*', rf"\g<1>{new}", text, flags=re.MULTILINE)


def rewrite_pins(text: str, new: str) -> str:
    siblings = "|".join(distributions.NAMES)
    return re.sub(rf'"({siblings})==[^"]+"', rf'"\1=={new}"', text)


def release_heading(text: str, new: str) -> str:
    """Give a release its own heading under `Unreleased`; a development version leaves the changelog alone."""
    if ".dev" in new or f"## [{new}]" in text:
        return text
    today = datetime.date.today().isoformat()
    return text.replace("## [Unreleased]\n", f"## [Unreleased]\n\n## [{new}] - {today}\n", 1)


if __name__ == "__main__":
    sys.exit(main())
