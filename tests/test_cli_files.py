"""The commands' manual pages and completions: where they are installed, and that they say and do what they should."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import files
from pathlib import Path

import pytest

from sessions import Scene
from support import TESTS

ROOT = TESTS.parent
COMMANDS = ["killsid", "lssid", "pysetsid"]
each_command = pytest.mark.parametrize("name", COMMANDS)


def output(*argv: str, **more: object) -> str:
    result = subprocess.run(argv, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    assert (result.returncode, result.stderr) == (0, ""), result
    return str(result.stdout)


def options(name: str) -> set[str]:
    """The options that `--help` shows, each with its spellings."""
    text = output(os.path.join(os.path.dirname(sys.executable), name), "--help")
    return set(re.findall(r"(?<!\S)--?[a-zA-Z]+(?:-[a-z]+)*", text.partition("Options:")[2].partition("\n\n")[0]))


def test_every_file_has_its_command() -> None:
    found = {path.name for directory in ("man", "completions/bash") for path in (ROOT / directory).iterdir()}
    assert found == {*COMMANDS, *(f"{name}.1" for name in COMMANDS)}
    assert {path.name for path in (ROOT / "completions/zsh").iterdir()} == {f"_{name}" for name in COMMANDS}


@each_command
def test_the_files_are_installed_where_they_are_looked_for(name: str) -> None:
    installed = {str(file).partition("share/")[2]: Path(str(file.locate())) for file in files("setsid") or ()}
    for place, source in {
        f"man/man1/{name}.1": f"man/{name}.1",
        f"bash-completion/completions/{name}": f"completions/bash/{name}",
        f"zsh/site-functions/_{name}": f"completions/zsh/_{name}",
    }.items():
        assert installed[place].read_bytes() == (ROOT / source).read_bytes()
        assert installed[place].resolve() == Path(sys.prefix, "share", place).resolve()


@each_command
def test_the_manual_page_is_set_without_a_warning(name: str, need: Callable[..., str]) -> None:
    command = [need("groff"), "-man", "-Tutf8", "-P-c", "-ww", "-rLL=72n", str(ROOT / f"man/{name}.1")]
    text = re.sub(".\x08", "", output(*command))  # no bold by overstriking
    sections = re.findall(r"^[A-Z].*$", text, re.MULTILINE)
    wanted = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"]
    assert [section for section in sections if section in wanted] == wanted
    assert set(
        re.findall(r"--?[a-zA-Z]+(?:-[a-z]+)*", re.sub(r"\u2010\n *", "", text).replace("\u2010", "-"))
    ) >= options(name)


@each_command
def test_the_completions_are_of_good_syntax(name: str, need: Callable[..., str]) -> None:
    assert output(need("bash"), "-n", str(ROOT / f"completions/bash/{name}")) == ""
    assert output(need("zsh"), "-n", str(ROOT / f"completions/zsh/_{name}")) == ""


# -- bash

# Completes the words it is given, the last one as far as it is there; with a stand-in for bash-completion's function
# that says where the program is, if BASH_COMPLETION is set.
IN_BASH = r"""
set -u
source "$1"
command=$2
shift
if [[ -n ${BASH_COMPLETION-} ]]; then
    _command_offset() { COMPREPLY=("offset $1"); }
fi
compopt() { echo "compopt $*"; }
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
"$(complete -p "$command" | sed 's/.*-F \([^ ]*\) .*/\1/')"
[[ ${#COMPREPLY[@]} == 0 ]] || printf '%s\n' "${COMPREPLY[@]}"
"""


def in_bash(need: Callable[..., str], *words: str, **env: str) -> set[str]:
    file = str(ROOT / "completions/bash" / words[0])
    command = [need("bash"), "--norc", "-c", IN_BASH, "bash", file, *words]
    return set(output(*command, env={**os.environ, **env}).splitlines())


@each_command
def test_bash_completes_the_options(name: str, need: Callable[..., str]) -> None:
    assert in_bash(need, name, "-") == options(name)
    assert in_bash(need, name, "--he") == {"--help"}


def test_bash_completes_the_program_of_pysetsid(need: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "program-of-ours").touch(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for words in [], ["-c"], ["--fork", "-w"], ["--"], ["-cf", "--"]:
        assert in_bash(need, "pysetsid", *words, "program-of-", **path) == {"program-of-ours", "compopt -o plusdirs"}
    for words in ["tar"], ["-c", "tar"], ["-c", "--", "tar"], ["-c", "--", "-tar"], ["tar", "--"], ["tar", "-c", "x"]:
        place = next(index for index, word in enumerate(words) if word.endswith("tar")) + 1
        assert in_bash(need, "pysetsid", *words, "-x", BASH_COMPLETION="1") == {f"offset {place}"}
    assert in_bash(need, "pysetsid", "tar", "-x") == {"compopt -o default"}
    assert in_bash(need, "pysetsid", "--help", "-") == set()
    assert in_bash(need, "pysetsid", "--", "-") == {"compopt -o plusdirs"}


# -- zsh

# What an interactive zsh does first. It says when it takes keys, and after a completion what that has found.
ZSHRC = r"""
PS1= PS2= RPS1=
fpath=($COMPLETIONS $fpath)
autoload -Uz compinit
compinit -u -D
bindkey '^I' complete-word
typeset -a found
compadd() {
    local -a matches
    if ((! ${@[(I)-[AOD]]})); then # else it only asks, and changes arrays
        builtin compadd -O matches "$@"
        found+=("${matches[@]}")
    fi
    builtin compadd "$@"
}
tell() { print -r -- "<BEGIN>"; print -rl -- "${found[@]}"; print -r -- "<END>"; exit; }
comppostfuncs=(tell)
zle-line-init() { print -r -- "<READY>"; }
zle -N zle-line-init
"""
# Such a zsh on a pseudo-terminal, in which a line is completed.
IN_ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -i
zpty -r shell text '*<READY>*'
zpty -w -n shell "$1"$'\t'
zpty -r shell text '*<END>*'
print -r -- "${${text#*<BEGIN>}%<END>*}"
"""


def in_zsh(need: Callable[..., str], directory: Path, line: str, **env: str) -> set[str]:
    (directory / ".zshrc").write_text(ZSHRC)
    own = {"TERM": "dumb", "ZDOTDIR": str(directory), "COMPLETIONS": str(ROOT / "completions/zsh")}
    text = output(need("zsh"), "-f", "-c", IN_ZSH, "zsh", line, env={**os.environ, **own, **env}, timeout=60)
    return set(text.replace("\r", "").split())


@each_command
def test_zsh_completes_the_options(name: str, need: Callable[..., str], tmp_path: Path) -> None:
    assert in_zsh(need, tmp_path, f"{name} -") == options(name)


def test_zsh_completes_the_program_of_pysetsid(need: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "program-of-ours").touch(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for words in "", "-c", "--fork -w", "--", "-cf --":
        assert in_zsh(need, tmp_path, f"pysetsid {words} program-of-", **path) == {"program-of-ours"}
    assert "--directory" in in_zsh(need, tmp_path, "pysetsid -c make --d")


# -- what lssid and killsid complete besides options

BIN = {"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}


@pytest.fixture
def shown() -> Iterator[dict[str, str]]:
    """A session on a terminal, by the names of its properties."""
    with Scene() as scene:
        yield {"sid": str(scene.sid), "pid": str(scene.pids["second"]), "tty": scene.tty.removeprefix("/dev/")}


# The words of a command line, and what is completed behind them, when all but its last character is there.
VALUES = [
    ("lssid", "sid"),
    ("lssid --pid", "pid"),
    ("lssid -p", "sid"),  # its leader
    ("lssid -t", "tty"),
    ("killsid", "sid"),
    ("killsid -n", "pid"),
    ("killsid --tty", "tty"),
]


@pytest.mark.parametrize(("words", "kind"), VALUES)
def test_bash_completes_what_there_is(words: str, kind: str, shown: dict[str, str], need: Callable[..., str]) -> None:
    begun = shown[kind][:-1]
    found = in_bash(need, *words.split(), begun, **BIN)
    assert shown[kind] in found
    assert all(word.startswith(begun) for word in found)


@pytest.mark.parametrize(("words", "kind"), VALUES)
def test_zsh_completes_what_there_is(
    words: str, kind: str, shown: dict[str, str], need: Callable[..., str], tmp_path: Path
) -> None:
    begun = shown[kind][:-1]
    found = in_zsh(need, tmp_path, f"{words} {begun}", **BIN)
    assert shown[kind] in found
    assert all(word.startswith(begun) for word in found)


def test_bash_completes_users_and_signals(need: Callable[..., str]) -> None:
    assert in_bash(need, "lssid", "--user", "roo") == {"root"}
    assert in_bash(need, "lssid", "--user", "=", "roo") == {"root"}
    assert in_bash(need, "killsid", "-s", "TER") == {"TERM"}
    assert in_bash(need, "killsid", "--signal", "=", "SIGTER") == {"SIGTERM"}
    assert {"HUP", "RTMIN+1"} <= in_bash(need, "killsid", "-s", "") <= {*signals(need)}
    for words in ["lssid", "--width"], ["killsid", "--grace"], ["killsid", "--help"], ["lssid", "-V"]:
        assert in_bash(need, *words, "") == set()


def signals(need: Callable[..., str]) -> set[str]:
    return {name.removeprefix("SIG") for name in output(need("bash"), "-c", "compgen -A signal SIG").split()}


def test_zsh_completes_users_and_signals(need: Callable[..., str], tmp_path: Path) -> None:
    assert in_zsh(need, tmp_path, "lssid --user roo") == {"root"}
    assert in_zsh(need, tmp_path, "lssid --user=roo") == {"root"}
    assert in_zsh(need, tmp_path, "killsid -s TER") == {"TERM"}
