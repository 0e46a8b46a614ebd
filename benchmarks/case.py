"""A case: one thing that is measured, for us, for our peers and for the limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Program = Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison.

    Args:
        suite: the suite's name.
        case: the case's name, unique in its suite.
        ours: the program under test; a call does the work once. `functools.partial` costs less
            than a lambda, which matters below a microsecond.
        peers: other people's programs that do the same, by name.
        limit: name and program of what cannot or need not be beaten (a hand-written loop, a raw dict).
        metric: what is measured.
        unit: of the metric; times are in "us".
        self_measured: each call returns the value of the metric instead of being timed
            (imports in a fresh process, peak memory).
        finish: waits for a call's result, for work that runs asynchronously (`jax.block_until_ready`).
        agree: says whether two first results are equal, so that nobody is compared doing something else.
    """

    suite: str
    case: str
    ours: Program
    peers: Mapping[str, Program] = field(default_factory=dict)
    limit: tuple[str, Program] | None = None
    metric: str = "time"
    unit: str = "us"
    self_measured: bool = False
    finish: Callable[[Any], Any] | None = None
    agree: Callable[[Any, Any], bool] | None = None

    def programs(self) -> dict[str, Program]:
        """All programs by name; ours is called "ours"."""
        limit = {self.limit[0]: self.limit[1]} if self.limit else {}
        return {"ours": self.ours, **self.peers, **limit}
