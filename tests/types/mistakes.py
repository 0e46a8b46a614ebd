# pyright: basic, reportUnnecessaryTypeIgnoreComment=true
# mypy: warn-unused-ignores
"""What type checkers must refuse in the program beside: a line in which they find nothing is an error.

It is only read, by the command `types:check`, never run.
"""

from __future__ import annotations

import jax.numpy as jnp
from test_typed_program import Net, Point, loss_fn

import opax
import pax_jax as pax
import pax_tree
from pax_jax.nets import Transformer


def mistakes(net: Net, point: Point) -> None:
    print(net.norn)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    print(net.norm.scael)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    net.layers[0].weigth = net.bias  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    net.train().paramters()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    print(point.y)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    point.y = 1.0  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    Point("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Net("4", jnp.tanh)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Net(4)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    pax.Linear(2, 3, use_bias=False)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Transformer(8, 2, 2, droput_rate=0.1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    loss_fn(net.layers[0], net.bias)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pax_tree.tree_scale({"x": 1.5})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    opax.adamm(1e-3)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
