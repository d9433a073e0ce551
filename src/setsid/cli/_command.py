"""What the commands share: options as getopt_long(3) reads them, and output that leaves no traceback.

No argparse: it takes longer to import than all of a command takes to run, and reads options otherwise.
"""

from __future__ import annotations

# The built-in half of `signal`, which takes long to import.
import _signal  # type: ignore[import-not-found]
import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# What comes behind one of these on the command line is not looked at.
_LAST = ("help", "version")


class UsageError(Exception):
    """The command line is not as it should be; the text says what is wrong."""


# -- options


def parse(
    arguments: Sequence[str], options: Mapping[str, str], *, mixed: bool = False
) -> tuple[list[tuple[str, str]], list[str]]:
    """Take a command line apart as getopt_long(3) does.

        arguments: the words behind the command's name.
        options: each option's long name, with "=" behind it if the option takes an argument, and its letter or "".
        mixed: whether options may stand behind operands; else they end at the first one, as with getopt's "+".

    Returns the options that are said, each with its argument or "", and the operands. --help and --version are the last
    ones looked at. Raises UsageError in getopt's words.
    """
    waiting = [os.fsencode(argument) for argument in reversed(arguments)]
    said: list[tuple[str, str]] = []
    operands: list[bytes] = []
    for name, value in _read(waiting, options, operands if mixed else None):
        said.append((name, value))
        if name in _LAST:
            break
    operands += reversed(waiting)
    return said, [os.fsdecode(operand) for operand in operands]


def _read(waiting: list[bytes], options: Mapping[str, str], operands: list[bytes] | None) -> Iterator[tuple[str, str]]:
    """Take the options off the end of `waiting`, one after the other, and the operands before them to `operands`."""
    while waiting:
        word = waiting[-1]
        if not word.startswith(b"-") or word == b"-":
            if operands is None:
                return
            operands.append(waiting.pop())
            continue
        waiting.pop()
        if word == b"--":
            return
        if word.startswith(b"--"):
            yield _long(word[2:], options, waiting)
        else:
            yield from _letters(word[1:], options, waiting)


def _long(word: bytes, options: Mapping[str, str], waiting: list[bytes]) -> tuple[str, str]:
    written, has_value, value = word.partition(b"=")
    name = os.fsdecode(written)
    shown = os.fsdecode(word)
    found = [option for option in options if option.rstrip("=").startswith(name)]
    found = [option for option in found if option.rstrip("=") == name] or found
    if not found:
        raise UsageError(f"unrecognized option '--{shown}'")
    if len(found) > 1:
        possible = " ".join("'--" + option.rstrip("=") + "'" for option in found)
        raise UsageError(f"option '--{shown}' is ambiguous; possibilities: {possible}")
    option = found[0].rstrip("=")
    if found[0] == option:
        if has_value:
            raise UsageError(f"option '--{option}' doesn't allow an argument")
    elif not has_value:
        if not waiting:
            raise UsageError(f"option '--{option}' requires an argument")
        value = waiting.pop()
    return option, os.fsdecode(value)


def _letters(word: bytes, options: Mapping[str, str], waiting: list[bytes]) -> Iterator[tuple[str, str]]:
    """The options of a word like -cfw. By bytes, as getopt does."""
    names = {letter: name for name, letter in options.items() if letter}
    while word:
        letter, word = os.fsdecode(word[:1]), word[1:]
        name = names.get(letter)
        if name is None:
            raise UsageError(f"invalid option -- '{letter}'")
        if not name.endswith("="):
            yield name, ""
            continue
        if not word and not waiting:
            raise UsageError(f"option requires an argument -- '{letter}'")
        yield name.rstrip("="), os.fsdecode(word or waiting.pop())
        return


# -- output


def as_programs_in_c() -> None:
    """Have signals end the process as they do one in C, where Python has its own way.

    So Ctrl-C and a closed pipe leave no traceback. Whether SIGPIPE and SIGXFSZ were ignored before Python has started
    is not to be known: it ignores them itself.
    """
    for number in ("SIGPIPE", "SIGXFSZ"):
        _signal.signal(getattr(_signal, number), _signal.SIG_DFL)
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # else it was ignored
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


def complain(command: str, text: str) -> None:
    """Write a message to standard error. If that can't be done, there is nobody to tell."""
    try:
        _write(2, f"{command}: {text}\n")
    except OSError:
        pass


def usage_error(command: str, error: UsageError, status: int) -> int:
    """Say what is wrong with the command line. Returns `status`."""
    complain(command, str(error))
    try:
        _write(2, f"Try '{command} --help' for more information.\n")
    except OSError:
        pass
    return status


def show(command: str, text: str) -> int:
    """Write what was asked for to standard output. Returns the exit status: 1 if it could not all be written.

    That nobody reads it, or that standard output is closed, is no failure.
    """
    try:
        _write(1, text)
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.EPIPE):
            complain(command, f"write error: {error.strerror}")
            return 1
    return 0


def show_version(command: str) -> int:
    """Write the package's version as `--version` does. Returns the exit status."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("setsid")
    except PackageNotFoundError:  # it runs from a source tree
        number = "(not installed)"
    return show(command, f"{command} from setsid {number}\n")


def _write(fd: int, text: str) -> None:
    """Not through sys.stdout and sys.stderr, which are missing, or complain at the end, when theirs are closed."""
    left = os.fsencode(text)
    while left:
        left = left[os.write(fd, left) :]
