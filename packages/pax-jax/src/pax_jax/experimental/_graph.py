"""Modules written down as graphs: `build_graph_module` makes a module from operations on nodes."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from pax_jax._module.calls import pure, purecall
from pax_jax._module.kinds import is_module
from pax_jax._module.module import Module
from pax_jax._show.titles import title
from pax_jax.nn import Lambda


def identity(x: Any) -> Any:
    """Return `x`."""
    return x


class Node:
    """A value in a graph: what it is made from, by what, and what it is for the example inputs.

    `x >> f` applies a function or a module, `x & y` makes a tuple, `x | y` makes several arguments;
    `+ - * / // % ** @`, `-x` and `abs(x)` work as on arrays. Two nodes are equal if they are one, and
    `TypeError` if they are copied.

    Args:
        parents: the nodes that it is made from.
        fx: a function or a module; of several parents it takes the tuple.
        value: what `fx` returns for the values of `parents`.

    Example:
        >>> import jax.numpy as jnp
        >>> from pax_jax.experimental.graph import InputNode
        >>> x = InputNode(jnp.array(1.0))
        >>> (2.0 * x >> jnp.negative).value
        Array(-2., dtype=float32, weak_type=True)
    """

    __static_by_identity__ = True

    def __init__(self, parents: Sequence[Node], fx: Callable[..., Any], value: Any) -> None:
        self._inputs = tuple(parents)
        self.fx = fx if is_module(fx) else Lambda(fx)
        self.value = value

    @property
    def parents(self) -> tuple[Node, ...]:
        """The nodes that it is made from: those of `x | y`, where that stands before a function."""
        is_call = len(self._inputs) == 1 and type(self._inputs[0]) is _Arguments
        return self._inputs[0]._inputs if is_call else self._inputs

    def __copy__(self) -> Node:
        raise TypeError(
            f"{type(self).__name__.strip('_')} cannot be copied: a copy would be another node, and no input "
            "of the graph. Use the node itself as often as it is needed."
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Node:
        return self.__copy__()

    def __rshift__(self, fn: Callable[..., Any]) -> Node:
        """Make the node of `fn` of this node's value."""
        return Node((self,), fn, _called(fn, self.value))

    def __and__(self, other: Node) -> Node:
        """Make the node of the tuple of both values; `x & y & z` is one tuple."""
        return _joined(_Tuple, self, other)

    def __or__(self, other: Node) -> Node:
        """Make a node whose values are several arguments of the function that follows."""
        return _joined(_Arguments, self, other)

    def binary_ops(self, fn: Callable[[Any, Any], Any], other: Any) -> Node:
        """Make the node of `fn(x, y)` of this value and that of another node, or a constant."""
        if isinstance(other, Node):
            return (self | other) >> fn
        return self >> _second(fn, other)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value."""
        return self.value.shape

    @property
    def dtype(self) -> Any:
        """The dtype of the value."""
        return self.value.dtype

    def __repr__(self) -> str:
        return f"{type(self).__name__.strip('_')}({self.fx!r}, {self.value!r})"


def _unary(fn: Callable[[Any], Any]) -> Callable[[Node], Node]:
    return lambda self: self >> fn


def _binary(fn: Callable[[Any, Any], Any]) -> Callable[[Node, Any], Node]:
    return lambda self, other: self.binary_ops(fn, other)


def _reflected(fn: Callable[[Any, Any], Any]) -> Callable[[Node, Any], Node]:
    return lambda self, other: self >> _first(fn, other)


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"):
    setattr(Node, f"__{_name}__", _binary(getattr(operator, _name)))
    setattr(Node, f"__r{_name}__", _reflected(getattr(operator, _name)))
for _name in ("neg", "pos", "abs"):
    setattr(Node, f"__{_name}__", _unary(getattr(operator, _name)))


class InputNode(Node):
    """A node for an argument of a `GraphModule`.

    Args:
        value: an example.
        fx: a function that is applied to the argument first.

    Example:
        >>> import jax.numpy as jnp
        >>> from pax_jax.experimental.graph import InputNode
        >>> InputNode(jnp.empty((3, 4))).shape
        (3, 4)
    """

    __static_by_identity__ = True

    def __init__(self, value: Any, fx: Callable[..., Any] = identity) -> None:
        super().__init__((), fx, value)


class _Tuple(Node):
    """The tuple of some nodes."""

    __static_by_identity__ = True


class _Arguments(Node):
    """Some nodes as the arguments of the function that follows."""

    __static_by_identity__ = True

    def __rshift__(self, fn: Callable[..., Any]) -> Node:
        return Node((self,), _spread(fn), _called(fn, *self.value))


def _joined(cls: type[Node], left: Node, right: Node) -> Node:
    parts = [node._inputs if type(node) is cls else (node,) for node in (left, right)]
    parents = (*parts[0], *parts[1])
    return cls(parents, identity, tuple(node.value for node in parents))


def _called(fn: Callable[..., Any], *args: Any) -> Any:
    """Call a copy: making a graph changes no module."""
    return purecall(fn, *args)[1] if is_module(fn) else pure(fn)(*args)


def _spread(fn: Callable[..., Any]) -> Callable[..., Any]:
    return _Spread(fn) if is_module(fn) else _named(fn, lambda xs: fn(*xs))


def _first(fn: Callable[..., Any], constant: Any) -> Callable[..., Any]:
    return _named(fn, lambda x: fn(constant, x))


def _second(fn: Callable[..., Any], constant: Any) -> Callable[..., Any]:
    return _named(fn, lambda x: fn(x, constant))


def _named(fn: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    inner = fn.func if isinstance(fn, functools.partial) else fn
    call.__name__ = getattr(inner, "__name__", type(inner).__name__)
    return call


class _Spread(Module):
    """A module called with the items of a tuple."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def __call__(self, xs: tuple[Any, ...]) -> Any:
        return self.module(*xs)

    @property
    def _summary_line(self) -> str:
        return "*xs"


class GraphModule(Module):
    """A module that computes what a graph of nodes says.

    Args:
        inputs: the nodes that stand for the arguments.
        output: the node whose value is returned.
        name: shown when the module is printed.

    Raises:
        ValueError: a module stands at two nodes, or an input of the graph is not in `inputs`.
        TypeError: `output` is no node.

    Example:
        >>> import jax.numpy as jnp
        >>> from pax_jax.experimental.graph import GraphModule, InputNode
        >>> x, y = InputNode(jnp.ones(2)), InputNode(jnp.ones(2))
        >>> GraphModule([x, y], x - y * y)(jnp.array([3.0, 4.0]), jnp.array([1.0, 2.0]))
        Array([2., 0.], dtype=float32)
    """

    def __init__(self, inputs: Sequence[Node], output: Node, name: str | None = None) -> None:
        super().__init__(name=name)
        if not isinstance(output, Node):
            raise TypeError(f"GraphModule expects a node as output, got {type(output).__name__}.")
        nodes = _in_order(output)
        made = [node for node in nodes if node not in inputs]
        _check_nodes(made)
        steps: list[tuple[int, ...]] = []  # for each module the indices of the values it takes
        modules: list[Any] = []

        def add_step(node: Node, taken: tuple[int, ...]) -> int:
            steps.append(taken)
            modules.append(node.fx)
            return len(inputs) + len(modules) - 1

        index = {x: n if _is_plain(x) else add_step(x, (n,)) for n, x in enumerate(inputs)}
        for node in made:
            index[node] = add_step(node, tuple(index[parent] for parent in node._inputs))
        self.inputs = len(inputs)
        self.steps = tuple(steps)
        self.output = index[output]
        self.modules = modules

    def __call__(self, *xs: Any) -> Any:
        """Compute the output from as many arguments as there are inputs; `TypeError` otherwise."""
        if len(xs) != self.inputs:
            raise TypeError(f"{title(self)} takes {self.inputs} arguments, got {len(xs)}.")
        values = list(xs)
        for module, indices in zip(self.modules, self.steps, strict=True):
            taken = [values[i] for i in indices]
            values.append(module(taken[0] if len(taken) == 1 else tuple(taken)))
        return values[self.output]


def _is_plain(node: Node) -> bool:
    """Say whether a node stands for an argument as it comes."""
    return isinstance(node.fx, Lambda) and node.fx.func is identity


def _in_order(output: Node) -> list[Node]:
    """Return the nodes that `output` is made from, each after its parents, without recursion."""
    order: dict[Node, None] = {}
    pending = [(output, False)]
    while pending:
        node, ready = pending.pop()
        if ready:
            order[node] = None
        elif node not in order:
            pending.append((node, True))
            pending.extend((parent, False) for parent in reversed(node._inputs))
    return list(order)


def _check_nodes(nodes: list[Node]) -> None:
    seen: set[int] = set()
    for node in nodes:
        if not node._inputs:
            raise ValueError(f"{node!r} is an input of the graph and not among `inputs`.")
        if id(node.fx) in seen:
            raise ValueError(
                f"{node.fx!r} stands at two nodes of the graph, where each has a module of its own. "
                "Write a class of modules that calls it twice."
            )
        seen.add(id(node.fx))


def build_graph_module(func: Callable[..., Node]) -> Callable[..., GraphModule]:
    """Make a function of example inputs that makes a module.

    Args:
        func: from a node for each input to the node of the output.

    Returns:
        A function that takes examples, arrays of the shapes and dtypes to come, and returns the module.

    Raises:
        TypeError: at a call, `func` returns something else than a node.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> def residual(x):
        ...     return x + (x >> pax.Linear(x.shape[-1], x.shape[-1]) >> jax.nn.relu)
        >>> net = pax.experimental.graph.build_graph_module(residual)(jnp.empty((3, 8)))
        >>> net(jnp.ones((5, 8))).shape
        (5, 8)
    """

    def build(*examples: Any) -> GraphModule:
        inputs = [InputNode(example) for example in examples]
        return GraphModule(inputs, func(*inputs))

    return build
