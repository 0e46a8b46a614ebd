"""Write the bill of materials of a release (CycloneDX): each file and its hash, and what each package needs."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path

import distributions

# What is compiled into a package from elsewhere.
COMPILED_IN = {"torch2jax-bridge": ("pybind11", "jaxlib")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dist", type=Path, default=distributions.ROOT / "dist", help="the files")
    parser.add_argument("--out", type=Path, default=Path("sbom.cdx.json"), help="what to write")
    options = parser.parse_args()
    document = bill(options.dist)
    options.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"sbom.py: {options.out} names {len(document['components'])} components.")
    return 0


def bill(dist: Path) -> dict:
    """Return the document for the files in `dist`; every package must have some."""
    packages = [package(name, dist) for name in distributions.NAMES]
    others = sorted({library for name in distributions.NAMES for library in libraries(name)})
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "name": "pax", "version": distributions.version()}
        },
        "components": [*packages, *map(library_component, others)],
        "dependencies": [
            {"ref": reference(name), "dependsOn": sorted(depends_on(name))}
            for name in distributions.NAMES
        ],
    }


def package(name: str, dist: Path) -> dict:
    """Return a package's component, with its files inside."""
    files = sorted(
        [
            *dist.glob(f"{distributions.file_stem(name)}-*.whl"),
            *dist.glob(f"{distributions.file_stem(name)}.tar.gz"),
        ]
    )
    if not files:
        sys.exit(
            f"sbom.py: {dist} holds no file of {name} {distributions.version()}; build it first."
        )
    return {
        "type": "library",
        "bom-ref": reference(name),
        "name": distributions.registry_name(name),
        "version": distributions.version(),
        "licenses": [{"license": {"id": distributions.project(name)["license"]}}],
        "purl": reference(name),
        "components": [file_component(file) for file in files],
    }


def file_component(file: Path) -> dict:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    hashes = [{"alg": "SHA-256", "content": digest}]
    return {"type": "file", "name": file.name, "bom-ref": file.name, "hashes": hashes}


def library_component(library: str) -> dict:
    """Return the component of a library whose version the user's environment decides."""
    return {"type": "library", "bom-ref": f"pkg:pypi/{library}", "name": library}


def reference(name: str) -> str:
    return f"pkg:pypi/{distributions.registry_name(name)}@{distributions.version()}"


def depends_on(name: str) -> set[str]:
    ours = {reference(sibling) for sibling in siblings(name)}
    return ours | {f"pkg:pypi/{library}" for library in libraries(name)}


def required(name: str) -> list[str]:
    """Return the names of what a package requires."""
    return [
        re.split(r"[^\w-]", demand)[0] for demand in distributions.project(name)["dependencies"]
    ]


def siblings(name: str) -> list[str]:
    return [other for other in required(name) if other in distributions.NAMES]


def libraries(name: str) -> list[str]:
    others = [other for other in required(name) if other not in distributions.NAMES]
    return [*others, *(lib for lib in COMPILED_IN.get(name, ()) if lib not in others)]


if __name__ == "__main__":
    sys.exit(main())
