"""Exceptions of wrapped functions: their text for XLA, and the exceptions themselves."""

from __future__ import annotations

import logging
import re
import threading
import traceback
from collections import OrderedDict
from collections.abc import Iterator

import jax

KEPT = 64
_log = logging.getLogger("torch2jax_bridge")
_lock = threading.Lock()
_exceptions: OrderedDict[int, BaseException] = OrderedDict()
_last = 0


CALLS_JAX = (
    "A PyTorch function that is called from JAX may not call JAX, which could wait for ever: give it "
    "arrays as arguments."
)


class ShapeInferenceError(TypeError):
    """The results of a function could not be found out with tensors that have no values."""


def text_of(exception: BaseException) -> str:
    """Return the class and the text of an exception, also of one that cannot be printed."""
    try:
        text = str(exception)
    except Exception as error:
        text = f"its text could not be made, {type(error).__name__}"
    kind = type(exception).__name__
    return printable(f"{kind}: {text}" if text else kind)


def report(exception: BaseException, name: str, note: str) -> str:
    """Keep an exception that a wrapped function raised, and say what happened.

    With several devices it is logged as well: where the others wait for this one in a collective,
    XLA ends the process after a minute, and nobody would see the exception.

    The local variables of its frames are dropped: they refer to memory of XLA's.

    Args:
        exception: the exception, with its traceback.
        name: the function's name.
        note: what may help, if the function itself has failed; may be empty.

    Returns:
        The text for XLA's error: a number that names the exception, its message, its traceback.
    """
    text = printable(_format(exception, note))
    if jax.local_device_count() > 1:
        _log.error("%s, called from JAX on one of several devices, failed: %s", name, text)
    for one in _with_causes(exception):
        traceback.clear_frames(one.__traceback__)
    return (
        f"the PyTorch function {name} called from JAX failed (failure {_keep(exception)}): {text}"
    )


def _with_causes(exception: BaseException) -> Iterator[BaseException]:
    """Return an exception, those that it was raised from or while handling, and members of groups."""
    waiting: list[BaseException | None] = [exception]
    seen = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def printable(text: str) -> str:
    """Return a text as XLA can have it: without what UTF-8 lacks, and without zeros, where it ends."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _format(exception: BaseException, note: str) -> str:
    try:
        head = "".join(traceback.format_exception_only(exception))
        if note and isinstance(exception, RuntimeError | TypeError | IndexError):
            head += note + "\n"
        if "no_execution" in head:
            head += CALLS_JAX + "\n"
        return head + "\n" + "".join(traceback.format_exception(exception))
    except Exception:
        return f"{type(exception).__name__}, whose text could not be made"


def _keep(exception: BaseException) -> int:
    global _last
    with _lock:
        _last += 1
        _exceptions[_last] = exception
        if len(_exceptions) > KEPT:
            _exceptions.popitem(last=False)
        return _last


def original_exception(error: BaseException) -> BaseException | None:
    """Return the exception that a wrapped PyTorch function raised, from the error that JAX raised for it.

    JAX reports failures of programs as `jax.errors.JaxRuntimeError`, at the call or, as it
    dispatches asynchronously, when a result is waited for. The last 64 exceptions are kept.

    Args:
        error: what JAX raised; or the `ShapeInferenceError` of an inference in which it was raised.

    Returns:
        The exception with its traceback, whose frames have lost their local variables; None if
        `error` does not come from a wrapped function, or is too old.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from torch2jax_bridge import torch2jax
        >>> def fails(x):
        ...     raise LookupError("nothing there")
        >>> try:
        ...     print(torch2jax(fails, output_shapes=jnp.ones(2))(jnp.ones(2)))
        ... except jax.errors.JaxRuntimeError as error:
        ...     print(repr(original_exception(error)))
        LookupError('nothing there')
    """
    if isinstance(error, ShapeInferenceError):
        return error.__cause__
    found = re.search(r"called from JAX failed \(failure (\d+)\)", str(error))
    with _lock:
        return _exceptions.get(int(found[1])) if found else None
