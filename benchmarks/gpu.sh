#!/bin/sh
# The plan of fifteen minutes with a CUDA device: everything that needs one, each part in a process of its own.
# Installs nothing: python3 (or $PYTHON) must find torch and jax for CUDA, pytest and rich; what is missing may
# stand on PYTHONPATH. Builds the extensions beside their sources, for which it needs pybind11, cmake and a
# compiler; with PREBUILT=1 it takes those that are there.
#
#     benchmarks/gpu.sh                    tests, checks and quick benchmarks, in less than ten minutes
#     benchmarks/gpu.sh --minutes 14       with more time; --help says what else there is
#
# The table comes first. It, the logs, the JSON file and the plots go to $OUT, or to out/gpu: six files at most.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
cd "$root"

"$python" - <<'CHECK'
import importlib.util as util
import os
import sys

wanted = ["torch", "jax", "jaxlib", "pytest", "rich", "numpy"]
wanted += [] if os.environ.get("PREBUILT") else ["pybind11"]
missing = [name for name in wanted if util.find_spec(name) is None]
sys.exit(f"gpu.sh: python3 finds no {', '.join(missing)}; put them on PYTHONPATH" if missing else 0)
CHECK

builds=$root/out/gpu-build
mkdir -p "$builds"
generator=
if command -v ninja >/dev/null; then generator="-G Ninja"; fi
packages="pax-tree torch2jax-bridge"
if [ -n "${PREBUILT:-}" ]; then packages=; fi
for package in $packages; do
    name=$(echo $package | tr - _)
    build=$builds/$package
    {
        cmake -S "packages/$package" -B "$build" $generator -DCMAKE_BUILD_TYPE=Release \
            -DPython_EXECUTABLE="$("$python" -c 'import sys; print(sys.executable)')" \
            -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" &&
            cmake --build "$build" --parallel
    } >"$build.log" 2>&1 || { tail -n 30 "$build.log"; exit 1; }
    cp "$build"/_C*.so "packages/$package/src/$name/"
done

sources=$root/packages/pax-tree/src:$root/packages/torch2jax-bridge/src:$root/packages/pax-torch/src
export PYTHONPATH="$sources:$root${PYTHONPATH:+:$PYTHONPATH}"
export XLA_PYTHON_CLIENT_PREALLOCATE=false
exec "$python" -m benchmarks.gpu --out "${OUT:-$root/out/gpu}" "$@"
