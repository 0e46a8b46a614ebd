from collections.abc import Callable, Iterable, Sequence
from typing import Any

class CallOptions:
    name: str
    note: str
    narrow: bool
    takes_outputs: bool
    keeps_inputs: bool
    strict: bool
    written: Sequence[bool]
    names: Sequence[str]

class Checks:
    def __init__(
        self,
        getters: Iterable[tuple[Callable[[], Any], Any]],
        native: Iterable[tuple[tuple[int, int, int], int]],
    ) -> None: ...
    def hold(self) -> bool: ...

class Handle:
    def __init__(
        self,
        function: Callable[..., Any],
        settings: Any,
        checks: Checks | None,
        options: CallOptions,
    ) -> None: ...
    @property
    def id(self) -> int: ...

def use_tensor_type(tensor_type: type) -> None: ...
def use_native_grad_mode(is_enabled: int, set_enabled: int) -> None: ...
def use_hooks(
    *,
    is_grad_enabled: Callable[[], bool],
    set_grad_enabled: Callable[[bool], None],
    forbid_execution: Callable[[bool], Any],
    restore_execution: Callable[[Any], None],
    enter_settings: Callable[[Any], Any],
    leave_settings: Callable[[Any], None],
    enter_stream: Callable[[int, int, int], Any],
    leave_stream: Callable[[Any], None],
    report: Callable[[BaseException, str, str], str],
    unusable: Callable[[Any], str | None],
    rescue: Callable[[Any], None],
) -> None: ...
def borrow_array(exported: Any, stream: int) -> Any: ...
def has_hooks_of_graphs() -> int: ...
def current_cpu_run() -> int: ...
def targets() -> dict[str, dict[str, Any]]: ...
def empty_target() -> Any: ...
def state_types() -> dict[str, dict[str, Any]]: ...
def is_forked() -> bool: ...
def watch_interrupts(main_thread: int) -> None: ...
def shutdown(seconds: float) -> bool: ...
