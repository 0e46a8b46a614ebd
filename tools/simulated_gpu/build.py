"""Build the simulated driver, runtime and management library of CUDA.

    python tools/simulated_gpu/build.py [folder]

Needs g++ and the headers of CUDA: those of the packages nvidia-cuda-runtime and nvidia-cuda-crt,
or those in $CUDA_HOME/include.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
DRIVER = "libcuda.so.1"
RUNTIME = "libcudart.so.13"
MANAGEMENT = "libnvidia-ml.so.1"
HEADERS = ("cuda.h", "cuda_runtime_api.h", "crt/host_defines.h")
FLAGS = ["-std=c++17", "-O1", "-g", "-fPIC", "-shared", "-Wall", "-Wextra", "-pthread"]


def build(folder: Path) -> list[Path]:
    """Build what is older than its sources; return the libraries in the order of their loading."""
    folder.mkdir(parents=True, exist_ok=True)
    driver, runtime, management = (folder / name for name in (DRIVER, RUNTIME, MANAGEMENT))
    compile_library(driver, ["core", "driver"], [version_script("driver.map"), "-ldl"])
    linked = [version_script("runtime.map"), str(driver), "-Wl,-rpath,$ORIGIN"]
    compile_library(runtime, ["runtime"], linked)
    compile_library(management, ["nvml"], [])
    return [driver, runtime, management]


def compile_library(library: Path, folders: list[str], options: list[str]) -> None:
    """Compile the sources in some folders of this one into a library."""
    sources = [file for folder in folders for file in sorted((HERE / folder).glob("*.cc"))]
    watched = [*HERE.glob("*/*"), *HERE.glob("*.map"), Path(__file__)]
    if library.exists() and all(file.stat().st_mtime < library.stat().st_mtime for file in watched):
        return
    include = [f"-I{HERE}", "-isystem", str(headers())]
    command = ["g++", *FLAGS, *include, f"-Wl,-soname,{library.name}", *map(str, sources), *options]
    subprocess.run([*command, "-o", str(library)], check=True)


def version_script(name: str) -> str:
    """Return the option that says which symbols a library has."""
    return f"-Wl,--version-script={HERE / name}"


def headers() -> Path:
    """Return the folder with the headers."""
    home = os.environ.get("CUDA_HOME")
    candidates = [Path(home) / "include"] if home else []
    spec = importlib.util.find_spec("nvidia")
    for root in (spec.submodule_search_locations or []) if spec else []:
        candidates += sorted(Path(root).glob("*/include"))
    candidates.append(Path("/usr/local/cuda/include"))
    for folder in candidates:
        if all((folder / name).exists() for name in HEADERS):
            return folder
    sys.exit(
        f"build.py: no {HEADERS} were found in {', '.join(map(str, candidates))}; set CUDA_HOME."
    )


if __name__ == "__main__":
    print(*build(Path(sys.argv[1] if len(sys.argv) > 1 else "out/simulated_gpu")), sep="\n")
