"""Types of setsid.subprocess: typeshed's for the standard module, and `setup`."""

import subprocess
from subprocess import (
    DEVNULL,
    PIPE,
    STDOUT,
    CalledProcessError,
    CompletedProcess,
    SubprocessError,
    TimeoutExpired,
    getoutput,
    getstatusoutput,
)
from subprocess import list2cmdline as list2cmdline
from typing import Any, AnyStr, overload

from typing_extensions import Buffer, Unpack

from ._ending import EndReport
from ._session import Session
from ._types import (
    BytesPopen,
    Command,
    EitherPopen,
    EncodingPopen,
    ErrorsPopen,
    NewlinesPopen,
    Stream,
    StrOrBytesPath,
    TextPopen,
)

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "CalledProcessError",
    "CompletedProcess",
    "Popen",
    "SubprocessError",
    "TimeoutExpired",
    "call",
    "check_call",
    "check_output",
    "getoutput",
    "getstatusoutput",
    "run",
]

class Popen(subprocess.Popen[AnyStr]):
    @overload
    def __init__(
        self: Popen[str],
        args: Command,
        bufsize: int = -1,
        executable: StrOrBytesPath | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        **rest: Unpack[TextPopen],
    ) -> None: ...
    @overload
    def __init__(
        self: Popen[str],
        args: Command,
        bufsize: int = -1,
        executable: StrOrBytesPath | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        **rest: Unpack[EncodingPopen],
    ) -> None: ...
    @overload
    def __init__(
        self: Popen[str],
        args: Command,
        bufsize: int = -1,
        executable: StrOrBytesPath | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        **rest: Unpack[ErrorsPopen],
    ) -> None: ...
    @overload
    def __init__(
        self: Popen[str],
        args: Command,
        bufsize: int = -1,
        executable: StrOrBytesPath | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        **rest: Unpack[NewlinesPopen],
    ) -> None: ...
    @overload
    def __init__(
        self: Popen[bytes],
        args: Command,
        bufsize: int = -1,
        executable: StrOrBytesPath | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        **rest: Unpack[BytesPopen],
    ) -> None: ...
    @overload
    def __init__(
        self: Popen[Any],
        args: Command,
        bufsize: int = -1,
        executable: StrOrBytesPath | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        **rest: Unpack[EitherPopen],
    ) -> None: ...
    @property
    def session(self) -> Session | None: ...
    def signal_group(self, signal: int) -> None: ...
    def end(self, grace: float = 5.0, *, signal: int = 15) -> EndReport: ...

@overload
def run(
    args: Command,
    bufsize: int = -1,
    executable: StrOrBytesPath | None = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    *,
    input: str | None = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **rest: Unpack[TextPopen],
) -> CompletedProcess[str]: ...
@overload
def run(
    args: Command,
    bufsize: int = -1,
    executable: StrOrBytesPath | None = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    *,
    input: str | None = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **rest: Unpack[EncodingPopen],
) -> CompletedProcess[str]: ...
@overload
def run(
    args: Command,
    bufsize: int = -1,
    executable: StrOrBytesPath | None = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    *,
    input: str | None = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **rest: Unpack[ErrorsPopen],
) -> CompletedProcess[str]: ...
@overload
def run(
    args: Command,
    bufsize: int = -1,
    executable: StrOrBytesPath | None = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    *,
    input: str | None = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **rest: Unpack[NewlinesPopen],
) -> CompletedProcess[str]: ...
@overload
def run(
    args: Command,
    bufsize: int = -1,
    executable: StrOrBytesPath | None = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    *,
    input: Buffer | None = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **rest: Unpack[BytesPopen],
) -> CompletedProcess[bytes]: ...
@overload
def run(
    args: Command,
    bufsize: int = -1,
    executable: StrOrBytesPath | None = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    *,
    input: str | Buffer | None = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **rest: Unpack[EitherPopen],
) -> CompletedProcess[Any]: ...
def call(
    args: Command,
    bufsize: int = -1,
    executable: StrOrBytesPath | None = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    *,
    timeout: float | None = None,
    **rest: Unpack[EitherPopen],
) -> int: ...
def check_call(
    args: Command,
    bufsize: int = -1,
    executable: StrOrBytesPath | None = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    *,
    timeout: float | None = None,
    **rest: Unpack[EitherPopen],
) -> int: ...
@overload
def check_output(
    args: Command,
    bufsize: int = -1,
    executable: StrOrBytesPath | None = None,
    stdin: Stream = None,
    stderr: Stream = None,
    *,
    input: str | Buffer | None = None,
    timeout: float | None = None,
    **rest: Unpack[TextPopen],
) -> str: ...
@overload
def check_output(
    args: Command,
    bufsize: int = -1,
    executable: StrOrBytesPath | None = None,
    stdin: Stream = None,
    stderr: Stream = None,
    *,
    input: str | Buffer | None = None,
    timeout: float | None = None,
    **rest: Unpack[EncodingPopen],
) -> str: ...
@overload
def check_output(
    args: Command,
    bufsize: int = -1,
    executable: StrOrBytesPath | None = None,
    stdin: Stream = None,
    stderr: Stream = None,
    *,
    input: str | Buffer | None = None,
    timeout: float | None = None,
    **rest: Unpack[ErrorsPopen],
) -> str: ...
@overload
def check_output(
    args: Command,
    bufsize: int = -1,
    executable: StrOrBytesPath | None = None,
    stdin: Stream = None,
    stderr: Stream = None,
    *,
    input: str | Buffer | None = None,
    timeout: float | None = None,
    **rest: Unpack[NewlinesPopen],
) -> str: ...
@overload
def check_output(
    args: Command,
    bufsize: int = -1,
    executable: StrOrBytesPath | None = None,
    stdin: Stream = None,
    stderr: Stream = None,
    *,
    input: str | Buffer | None = None,
    timeout: float | None = None,
    **rest: Unpack[BytesPopen],
) -> bytes: ...
@overload
def check_output(
    args: Command,
    bufsize: int = -1,
    executable: StrOrBytesPath | None = None,
    stdin: Stream = None,
    stderr: Stream = None,
    *,
    input: str | Buffer | None = None,
    timeout: float | None = None,
    **rest: Unpack[EitherPopen],
) -> Any: ...
