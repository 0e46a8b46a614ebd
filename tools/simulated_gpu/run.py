"""Run a program on simulated GPUs.

    python tools/simulated_gpu/run.py [--devices 2] [--delay-us 1000] [--seed 0] [--log 0] program ...

The program is an executable with its arguments; `python`, and a file that ends in .py, mean this Python. It
needs a CUDA build of PyTorch and JAX's CUDA plugin. SIMULATED_GPU_BUILD names the folder of the libraries.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from build import build

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Run a program on simulated GPUs.")
    parser.add_argument("--devices", type=int, default=2, help="how many")
    parser.add_argument(
        "--delay-us", type=int, default=1000, help="the most that an operation waits"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the delays")
    parser.add_argument("--log", type=int, default=0, help="0 misuse, 1 kernels, 2 memory, 3 all")
    parser.add_argument("program", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    if not given.program:
        parser.error("no program was given; name one after the options")
    program = given.program
    if program[0] == "python" or program[0].endswith(".py"):
        program = [sys.executable, *program[program[0] == "python" :]]
    os.execvpe(program[0], program, os.environ | settings(given))


def settings(given: argparse.Namespace) -> dict[str, str]:
    """Return the variables of the environment."""
    folder = Path(os.environ.get("SIMULATED_GPU_BUILD", ROOT / "out" / "simulated_gpu"))
    return {
        "LD_PRELOAD": ":".join(map(str, build(folder))),
        "SIMULATED_GPU_DEVICES": str(given.devices),
        "SIMULATED_GPU_DELAY_US": str(given.delay_us),
        "SIMULATED_GPU_SEED": str(given.seed),
        "SIMULATED_GPU_LOG": str(given.log),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")])),
        "JAX_PLATFORMS": "cuda,cpu",
        # It asks the real libraries for numbers of versions, which they get from a driver.
        "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
        "OMP_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        # Graphs are not simulated.
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_enable_command_buffer=".strip(),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
