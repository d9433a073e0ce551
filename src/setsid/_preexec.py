"""What a preexec_fn has raised in the child, of which the standard library says only that it has."""

from __future__ import annotations

import mmap
import subprocess
from contextlib import contextmanager

from ._errors import SystemCallError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


class PreexecError(SystemCallError, subprocess.SubprocessError):
    """An OSError that `preexec_fn` has raised, also of the class that the standard library has for that."""


class _Telling:
    """A preexec_fn that notes what it raises in memory that the child shares with the parent."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._page = mmap.mmap(-1, 4096)

    def __call__(self) -> None:
        try:
            self._function()
        except BaseException as error:
            number = error.errno if isinstance(error, OSError) else None
            if not isinstance(number, int) or not 0 < number < 2**31:  # no errno: whoever raises it may say anything
                number = 0
            call = error.call if isinstance(error, SystemCallError) else "preexec_fn"
            text = f"{int(number)}\0{call}\0{type(error).__name__}: {error}".encode(errors="replace")
            self._page[0 : len(text[:4096])] = text[:4096]
            raise

    def told(self) -> tuple[int, str, str] | None:
        """Errno (0 if it was no OSError), call and text of the exception."""
        number, _, rest = self._page[:].rstrip(b"\0").decode(errors="replace").partition("\0")
        call, _, text = rest.partition("\0")
        return (int(number), call, text) if number else None

    def close(self) -> None:
        """Give back the memory, which would stay until the next garbage collection on PyPy."""
        self._page.close()


@contextmanager
def telling(given: dict[str, Any]) -> Iterator[None]:
    """Has the `preexec_fn` of these arguments tell what it raises, and raises it in the parent."""
    if given["preexec_fn"] is None:
        yield
        return
    note = given["preexec_fn"] = _Telling(given["preexec_fn"])
    try:
        yield
    except subprocess.SubprocessError as error:
        told = note.told()
        if told is None:
            raise
        number, call, text = told
        if number:
            raise PreexecError(number, call, hint=f"preexec_fn raised {text}") from None
        raise error from RuntimeError(f"preexec_fn raised {text}")
    finally:
        note.close()
