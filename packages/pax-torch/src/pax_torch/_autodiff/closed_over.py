"""Closed-over tensors in a function with a rule, whose derivative the rule cannot know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from pax_torch._autodiff.flatten_fun import is_differentiable
from pax_torch._autodiff.grad import inner_variables, is_followed_by_autograd
from pax_torch._compat import (
    current_level,
    differentiates,
    is_batched,
    is_variable,
    level_of,
    running_transforms,
    wrappers,
)
from pax_torch._errors import describe
from pax_tree import tree_leaves, tree_map


class NoDerivativeFromOutside:
    """Refuses results that depend on closed-over tensors that are being differentiated.

    A rule sees arguments only, so that such a derivative would be lost.

    Args:
        name: that of the kind of rule, for the error.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        # Those that a derivative may be lost of.
        self._around = running_transforms() if differentiates() else []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Run the function in this, with a graph and on arguments that have none."""
        watch = _Watch(self._name, self._around) if self._around else nullcontext()
        with inner_variables() as self._own, watch:
            yield

    def without_graph(self, out: Sequence[Tensor]) -> list[Tensor]:
        """Return the results of the function without the graphs of its own derivatives.

        Raises:
            RuntimeError: a graph leads to a tensor from outside of which a derivative may be taken.
        """
        found = [x for x in out if wrappers(x)[-1].requires_grad]
        if not found:
            return list(out)
        own = set(map(id, self._own))
        for variable in _variables_of([wrappers(x)[-1] for x in found]):
            if id(variable) not in own and is_followed_by_autograd(variable):
                raise _error(self._name, variable)
        return [tensor.detach() for tensor in out]


def _variables_of(tensors: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield the variables that a graph leads to."""
    yield from (x for x in tensors if x.grad_fn is None)
    nodes: list[Any] = [x.grad_fn for x in tensors if x.grad_fn is not None]
    seen = set(nodes)
    while nodes:
        node = nodes.pop()
        variable = getattr(node, "variable", None)
        if variable is not None:
            yield variable
        new = {parent for parent, _ in node.next_functions if parent is not None} - seen
        seen |= new
        nodes += new


class _Watch(TorchFunctionMode):
    """Refuses operations on tensors of transforms that are not running now.

    The function runs outside of the transforms around it, which an operation on their tensors would
    pass over, or fail with.
    """

    def __init__(self, name: str, around: Sequence[Any]) -> None:
        super().__init__()
        self._name, self._around = name, around

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Run one operation."""
        kwargs = kwargs or {}
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        stopped = func is Tensor.detach
        foreign = next((x for x in tensors if self._is_foreign(x, stopped)), None)
        if foreign is None:
            if any(_within(x) is not x for x in tensors):
                args, kwargs = tree_map(_within, (tuple(args), kwargs))
            return func(*args, **kwargs)
        try:
            out = func(*args, **kwargs)
        except RuntimeError as error:
            raise _error(self._name, foreign) from error
        if any(map(_is_result, tree_leaves(out))):
            raise _error(self._name, foreign)
        return out

    def _is_foreign(self, tensor: Tensor, stopped: bool) -> bool:
        """Whether a tensor is mapped, or differentiated unless that is `stopped`, outside of what runs."""
        running, count = current_level() or 0, len(self._around)
        return any(
            running < level_of(wrapper) <= count
            and (is_batched(wrapper) if stopped else is_variable(wrapper, self._around))
            for wrapper in wrappers(tensor)[:-1]
        )


@contextmanager
def no_closed_over_examples(name: str, given: Sequence[Tensor | None]) -> Iterator[Any]:
    """Refuse a rule that closes over what the innermost `vmap` maps, though nothing given is mapped.

    The value is one for all examples then, and its derivative would be a wrong sum over them.

    Args:
        name: that of the kind of rule.
        given: what the rule takes.

    Yields:
        A function that returns what the rule has found.

    Raises:
        RuntimeError: some of that is mapped, or PyTorch fails on a tensor of a `vmap` that is over.
    """

    def check(found: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        mapped = next((x for x in found if _is_mapped(x)), None)
        if mapped is not None and not any(map(_is_mapped, given)):
            raise _error(name, mapped, "rule")
        return found

    try:
        yield check
    except RuntimeError as error:
        if "batched == nullptr" not in str(error):
            raise
        raise RuntimeError(f"{name}: the rule closes over a tensor {_REMEDY}") from error


def _is_mapped(tensor: Tensor | None) -> bool:
    return tensor is not None and is_batched(tensor) and level_of(tensor) == current_level()


def _within(value: Any) -> Any:
    """Return a tensor without the wrappers of transforms that are not running now."""
    if not isinstance(value, Tensor):
        return value
    running = current_level() or 0
    return next(x for x in wrappers(value) if _NO_LEVEL <= level_of(x) <= running)


_NO_LEVEL = -1  # that of an ordinary tensor; below are those of transforms that are over


def _is_result(value: Any) -> bool:
    return isinstance(value, Tensor) and is_differentiable(value)


def _error(name: str, tensor: Tensor, what: str = "function") -> RuntimeError:
    return RuntimeError(f"{name}: the {what} closes over {describe(tensor)} {_REMEDY}")


_REMEDY = (
    "that is being differentiated or mapped around it, of whose derivative the rule knows nothing; pass "
    "it as an argument, as closure_convert does, or close over pax_torch.stop_gradient of it."
)
