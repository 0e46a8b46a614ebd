"""Interleaved timing.

pyperf starts a process per program and pytest-benchmark runs one program to its end before the next,
so on a machine that changes speed their ratios compare different minutes. Here every round times every
program once, in an order drawn anew, and a ratio is the median of the ratios within the rounds.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from benchmarks.case import Case, Program
from benchmarks.errors import BenchmarkError

Finish = Callable[[Any], Any] | None
Clock = Callable[[Program, int, Finish], dict[str, float]]


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Args:
        block: seconds that one timed block of calls should last.
        budget: seconds that the rounds of one case may take together.
        rounds: the least and the most rounds.
        warm_up: seconds of calls of each program before its calibration, two calls at least.
    """

    block: float
    budget: float
    rounds: tuple[int, int]
    warm_up: float


# A block begins with a part of its calls untimed: caches are cold and threads asleep from what ran before.
LEAD_IN = 4
FULL = Effort(block=5e-3, budget=4.0, rounds=(7, 60), warm_up=0.2)
QUICK = Effort(block=1e-3, budget=0.5, rounds=(3, 15), warm_up=0.02)


def interleaved(
    case: Case, effort: Effort, device: str = "cpu"
) -> dict[str, list[dict[str, float]]]:
    """Measure every program of a case in every round.

    Returns:
        For each program its samples in the order of the rounds, each a value per metric.

    Raises:
        BenchmarkError: two programs do not agree on the result.
    """
    programs = case.programs()
    check_agreement(case)
    clock = self_measured(case.metric) if case.self_measured else CLOCKS[device]
    calls = {name: calibrated(program, case, effort) for name, program in programs.items()}
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
    order = list(programs)
    draw = random.Random(0)
    least, most = effort.rounds
    start = time.perf_counter()
    for number in range(most):
        if number >= least and time.perf_counter() - start > effort.budget:
            break
        draw.shuffle(order)
        for name in order:
            samples[name].append(clock(programs[name], calls[name], case.finish))
    return samples


def check_agreement(case: Case) -> None:
    """Compare everybody's first result with ours, where the case says how."""
    if case.agree is None:
        return
    programs = case.programs()
    ours = programs.pop("ours")()
    for name, program in programs.items():
        if not case.agree(ours, program()):
            raise BenchmarkError(f"{case.suite}/{case.case}: {name} gives another result than ours")


def calibrated(program: Program, case: Case, effort: Effort) -> int:
    """Warm a program up, and choose how many of its calls make a block."""
    if case.self_measured:
        program()
        return 1
    finish = case.finish or (lambda result: result)
    finish(program())
    start = time.perf_counter()
    count = 0
    while count == 0 or (passed := time.perf_counter() - start) < effort.warm_up:
        finish(program())
        count += 1
        passed = time.perf_counter() - start
    return max(1, round(effort.block * count / passed))


def host_clock(program: Program, calls: int, finish: Finish) -> dict[str, float]:
    """Microseconds per call; each call is waited for."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        block(program, calls // LEAD_IN, finish)
        passed = block(program, calls, finish)
    finally:
        if collecting:
            gc.enable()
    return {"time": passed / calls / 1e3}


def block(program: Program, calls: int, finish: Finish) -> int:
    """Nanoseconds that a number of calls take."""
    start = time.perf_counter_ns()
    if finish is None:
        for _ in repeat(None, calls):
            program()
    else:
        for _ in repeat(None, calls):
            finish(program())
    return time.perf_counter_ns() - start


def cuda_clock(program: Program, calls: int, finish: Finish) -> dict[str, float]:
    """Microseconds per call until the device is done, and until the host may go on."""
    import torch

    torch.cuda.synchronize()
    result = None
    start = time.perf_counter_ns()
    for _ in repeat(None, calls):
        result = program()
    host = time.perf_counter_ns() - start
    if finish is not None:
        finish(result)
    torch.cuda.synchronize()
    passed = time.perf_counter_ns() - start
    return {"time": passed / calls / 1e3, "host time": host / calls / 1e3}


def self_measured(metric: str) -> Clock:
    """A clock for programs that return their own measurement."""
    return lambda program, calls, finish: {metric: float(program())}


CLOCKS: dict[str, Clock] = {"cpu": host_clock, "cuda": cuda_clock}
