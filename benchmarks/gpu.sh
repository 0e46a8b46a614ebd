#!/bin/sh
# The tests and benchmarks that need a CUDA device, on a machine that has one. Builds the extensions
# beside their sources and installs nothing: python3 (or $PYTHON) must find torch and jax for CUDA,
# pybind11, cmake, ninja, pytest and rich; what is missing may stand on PYTHONPATH.
#
#     benchmarks/gpu.sh            the tests and the whole table
#     benchmarks/gpu.sh --quick    fewer and shorter rounds of the benchmarks
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
cd "$root"

"$python" - <<'CHECK'
import importlib.util as util
import sys

wanted = ("torch", "jax", "jaxlib", "pybind11", "pytest", "rich", "numpy")
missing = [name for name in wanted if util.find_spec(name) is None]
sys.exit(f"gpu.sh: python3 finds no {', '.join(missing)}; put them on PYTHONPATH" if missing else 0)
CHECK

mkdir -p out/gpu
for package in pax-tree torch2jax-bridge; do
    name=$(echo $package | tr - _)
    build=$root/out/gpu/$package
    cmake -S "packages/$package" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
        -DPython_EXECUTABLE="$("$python" -c 'import sys; print(sys.executable)')" \
        -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" >"$build.log"
    cmake --build "$build" | tail -n 3
    cp "$build"/_C*.so "packages/$package/src/$name/"
done

export PYTHONPATH="packages/pax-tree/src:packages/torch2jax-bridge/src:$root${PYTHONPATH:+:$PYTHONPATH}"
export XLA_PYTHON_CLIENT_PREALLOCATE=false
status=0
"$python" -m pytest -o addopts= --import-mode=importlib -m gpu -q packages/torch2jax-bridge/tests ||
    status=$?
"$python" -m benchmarks.run bridge --device cuda "$@" || status=$?
exit $status
