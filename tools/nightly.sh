#!/usr/bin/env bash
# Tests the packages on nightly builds: `nightly.sh torch|jax|both`; TORCH_INDEX and JAX_INDEX say where these are.
set -euo pipefail
cd "$(dirname "$0")/.."

library="${1:?expected torch, jax or both}"
torch=(torch)
jax=(jax jaxlib)
if [ "$library" != jax ]; then
  torch=(torch --pre --index-url "${TORCH_INDEX:?set it to the index with the nightly builds of PyTorch}")
fi
if [ "$library" != torch ]; then
  jax=(jax jaxlib --pre --extra-index-url "${JAX_INDEX:?set it to the index with the nightly builds of JAX}")
fi
python -m pip install --upgrade "${torch[@]}"
python -m pip install --upgrade "${jax[@]}"
python -m pip install numpy optax pytest pytest-xdist hypothesis hatchling "scikit-build-core[hatchling]" pybind11
# The packages name the versions that they support; these here are later.
for package in pax-tree pax-torch pax-jax opax torch2jax-bridge; do
  python -m pip install --no-deps --no-build-isolation --editable "packages/$package"
done
python -c 'import jax, torch; print("PyTorch", torch.__version__, "JAX", jax.__version__)'
failed=()
for package in pax-tree pax-torch pax-jax opax torch2jax-bridge; do
  python -m pytest --numprocesses auto -q "packages/$package/tests" || failed+=("$package")
done
if [ "${#failed[@]}" -gt 0 ]; then
  echo "nightly.sh: the tests of ${failed[*]} fail on the nightly builds; their output is above."
  exit 1
fi
