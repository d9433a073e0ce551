"""How the package is put together: which module imports which, what `import setsid` loads, where C says what."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import setsid
from setsid import _native
from support import TESTS

PACKAGE = str(Path(setsid.__file__).parent)
SOURCES = TESTS.parent / "src" / "setsid"
CSRC = TESTS.parent / "csrc"
# By their names in the package: "_spawn", "cli.setsid", and "cli" for the __init__ of that.
MODULES = {
    ".".join(path.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__"): ast.parse(path.read_text())
    for path in SOURCES.rglob("*.py")
}

# When a module is imported, it imports others of lower ranks only. An import inside a function may point anywhere.
RANKS = {
    "_native": 0,
    "_credentials": 0,
    "_enums": 0,
    "_fields": 0,
    "_procfs": 0,
    "_errors": 1,
    "_exec_hints": 1,
    "_hints": 1,
    "_setup": 1,
    "_calls": 2,
    "_child_hints": 2,
    "_failure": 2,
    "_types": 2,
    "_marshal": 3,
    "_process": 3,
    "_processes": 2,
    "_session": 3,
    "_apply": 4,
    "_detached": 5,
    "_ending": 4,
    "_spawn": 4,
    "_arguments": 5,
    "_async": 5,
    "_fork": 5,
    "_preexec": 5,
    "_popen": 6,
    "_pipes": 7,
    "subprocess": 7,
    "tty": 5,
    "jobs": 6,
    "_notify": 3,
    "_pidfile": 3,
    "_starting": 6,
    "daemon": 7,
    "_run": 8,
    "aio": 9,
    "__init__": 10,
    "cli": 11,
    "cli._command": 12,
    "cli._look": 12,
    "cli._text": 12,
    "cli.killsid": 13,
    "cli.lssid": 13,
    "cli.setsid": 13,
    "__main__": 14,
}
# What only a command imports.
COMMANDS = {name for name in RANKS if name.split(".")[0] in ("cli", "__main__")}
# Imported inside functions, on first use; _types by type checkers alone.
LAZY = {
    *("_enums", "_procfs", "_hints", "_child_hints", "_exec_hints", "_types", "_session", "_processes", "_ending"),
    *("_async", "_detached"),
    *("_arguments", "_preexec", "_popen", "_pipes", "_run", "subprocess", "aio", "tty", "jobs"),
    *("_notify", "_pidfile", "_starting", "daemon"),
}
# The modules that may speak to C.
NATIVE = {
    "_apply",
    "_async",
    "_calls",
    "_child_hints",
    "_detached",
    "_ending",
    "_failure",
    "_fork",
    "_hints",
    "_marshal",
    "_pidfile",
    "_process",
    "_processes",
    "_session",
    "_spawn",
    "jobs",
    "tty",
}

PUBLIC = {
    *("setsid", "getsid", "setpgid", "getpgid", "tcgetsid", "tcgetpgrp", "tcsetpgrp", "acquire_ctty", "release_ctty"),
    *("SystemCallError", "Stage", "ChildSetup", "NEW_SESSION", "INHERIT", "DEVNULL", "STDOUT"),
    *("Popen", "run", "TimeoutExpired", "subprocess", "aio", "daemon", "tty", "jobs"),
    *(
        "spawn",
        "spawn_detached",
        "DetachedProcess",
        "fork",
        "Process",
        "ProcessInfo",
        "ProcessState",
        "Session",
        "sessions",
        "EndReport",
        "SetupFields",
        "NewSession",
        "Inherit",
    ),
}


# -- Python's imports


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def run_at_import(statements: list[ast.stmt]) -> Iterator[ast.AST]:
    """Every node that is carried out when the module is imported, and those in functions left out."""
    for statement in statements:
        if is_type_checking(statement):
            continue
        waiting: list[ast.AST] = [statement]
        while waiting:
            node = waiting.pop()
            yield node
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                waiting += ast.iter_child_nodes(node)


def imported(nodes: Iterator[ast.AST], module: str = "") -> set[str]:
    """The modules of the package that the import statements among `nodes`, of `module`, name."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "setsid"):
            # Two dots lead from cli/ to the package.
            words = (
                [*module.split(".")[: -node.level], node.module] if node.level else (node.module or "").split(".")[1:]
            )
            source = ".".join(filter(None, words))
            names |= {source} if source and (node.module or "setsid") != "setsid" else members(source, node.names)
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("setsid.")}
    return names


def members(package: str, aliases: list[ast.alias]) -> set[str]:
    """The modules that `from . import ...` names; the package itself, where what it names is none."""
    names = {f"{package}.{alias.name}".removeprefix(".") for alias in aliases}
    return {name if name in RANKS else package or "__init__" for name in names}


def is_import_of_types(node: ast.AST) -> bool:
    """Whether it imports from a module of the package, but neither `lib` nor `ffi` nor the module itself."""
    return isinstance(node, ast.ImportFrom) and not {"lib", "ffi", "_native"} & {alias.name for alias in node.names}


def test_every_module_has_a_rank() -> None:
    assert {*MODULES, "_native"} == set(RANKS)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_run_one_way(name: str) -> None:
    back = {other for other in imported(run_at_import(MODULES[name].body), name) if RANKS[other] >= RANKS[name]}
    assert back == set()


def test_the_walk_sees_every_import_that_is_carried_out_and_no_other() -> None:
    source = """
from ._calls import setsid
from setsid._errors import error
from . import _hints
import setsid._native
TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._types import Signals
try:
    from ._setup import ChildSetup
except ImportError:
    pass
class Lazy:
    def method(self):
        from ._session import Session
"""
    assert imported(run_at_import(ast.parse(source).body)) == {"_calls", "_errors", "_hints", "_native", "_setup"}
    assert "_session" in imported(ast.walk(ast.parse(source)))
    source = """
from .. import ChildSetup, aio
from .._process import Process
from . import _command
from ._command import parse
from setsid import spawn
"""
    found = imported(run_at_import(ast.parse(source).body), "cli.setsid")
    assert found == {"__init__", "aio", "_process", "cli._command"}


def test_only_the_modules_that_may_speak_to_c_do() -> None:
    # The types of _native may be named anywhere, in a TYPE_CHECKING block.
    nodes = {name: [node for node in ast.walk(tree) if not is_import_of_types(node)] for name, tree in MODULES.items()}
    assert {name for name in nodes if "_native" in imported(iter(nodes[name]), name)} == NATIVE


# -- what an import costs


def fresh_json(source: str) -> object:
    """What Python source prints as JSON in an interpreter that has loaded nothing for itself, site least of all."""
    backend = find_spec("_cffi_backend")
    places = {str(Path(file).parent) for file in (PACKAGE, backend and backend.origin) if file and "/" in file}
    source = f"import sys; sys.path += {sorted(places)!r}\n" + source
    command = [sys.executable, "-I", "-S", "-c", source]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def test_importing_setsid_loads_next_to_nothing() -> None:
    loaded = fresh_json("""
import os, _cffi_backend
before = set(sys.modules)
import setsid
after = set(sys.modules)
import json
print(json.dumps(sorted(after - before)))
""")
    assert isinstance(loaded, list)
    own = {name.removeprefix("setsid.") for name in loaded if name.startswith("setsid.")}
    assert own == set(RANKS) - LAZY - COMMANDS - {"__init__"} | {"_native.lib"}
    assert {name for name in loaded if not name.startswith("setsid")} <= {"__future__", "errno", "time"}


@pytest.mark.parametrize(
    "name",
    [
        *("EndReport", "Inherit", "NewSession", "Popen", "ProcessState", "Session", "SetupFields", "Stage"),
        *("DetachedProcess", "TimeoutExpired", "run", "spawn_detached"),
    ],
)
def test_a_lazy_name_is_there_on_first_use(name: str) -> None:
    found = fresh_json(f"""
import setsid
before = {name!r} in vars(setsid)
value = setsid.{name}
import json
print(json.dumps([before, value.__name__, vars(setsid)[{name!r}] is value]))
""")
    assert found == [False, name, True]


# -- names


def test_all_lists_the_public_names_once() -> None:
    assert sorted(setsid.__all__) == sorted(PUBLIC)
    assert {name for name in PUBLIC if not hasattr(setsid, name)} == set()


def test_dir_shows_the_public_names_and_no_others() -> None:
    shown = fresh_json("import setsid, json; print(json.dumps(dir(setsid)))")
    assert isinstance(shown, list)
    assert {name for name in shown if not name.startswith("_")} == PUBLIC


def test_star_brings_the_lazy_names_too() -> None:
    names: dict[str, object] = {}
    exec("from setsid import *", names)
    assert set(names) - {"__builtins__"} == PUBLIC


def test_an_unknown_name_is_an_attribute_error() -> None:
    name = "nothing"
    with pytest.raises(AttributeError, match=r"^module 'setsid' has no attribute 'nothing'$"):
        getattr(setsid, name)


# -- C


def c_files(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in CSRC.glob(pattern))


def without_comments(path: Path) -> str:
    """Comments and the contents of strings taken out, all lines kept."""
    text = re.sub(r"\\\n", " \n", path.read_text())
    text = re.sub(r"/\*.*?\*/", lambda match: "\n" * match[0].count("\n"), text, flags=re.DOTALL)
    return re.sub(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', '""', text)


def top_level(path: Path) -> Iterator[tuple[str, str]]:
    """(what stands before it, `{` or `;`) of each top-level declaration and definition."""
    text = re.sub(r"^[ \t]*#.*$", "", without_comments(path), flags=re.MULTILINE)
    text = re.sub(r"__attribute__\(\(.*?\)\)", "", text)
    depth, start = 0, 0
    for match in re.finditer(r"[{};]", text):
        if depth == 0 and match[0] in "{;":
            yield " ".join(text[start : match.start()].split()), match[0]
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            start = match.end()


def functions(path: Path, end: str) -> Iterator[tuple[str, bool]]:
    """(name, whether it is static) of each function that is defined (`{`) or declared (`;`) in a file."""
    for head, closing in top_level(path):
        found = re.search(r"(\w+) ?\(", head)
        if closing == end and found and "=" not in head:
            yield found[1], head.startswith("static ")


def conditionals(path: Path) -> list[str]:
    """The lines with #if, #ifdef or #ifndef, the include guard's apart."""
    text = without_comments(path)
    if path.suffix == ".h":
        text = re.sub(r"\A\s*#ifndef (\w+)\n#define \1\n", "", text)
    return re.findall(r"^[ \t]*#[ \t]*if.*$", text, re.MULTILINE)


def test_conditional_compilation_stays_in_the_platform_files() -> None:
    found = {path.relative_to(CSRC).as_posix() for path in CSRC.rglob("*.[ch]") if conditionals(path)}
    assert found == {name for name in found if name.startswith(("os/", "child/os_"))} != set()


def test_the_header_that_cffi_reads_has_no_preprocessor() -> None:
    assert re.findall(r"^[ \t]*#.*$", without_comments(CSRC / "sid.cdef.h"), re.MULTILINE) == []


def test_all_that_python_may_name_starts_with_sid() -> None:
    names = {name for name, _ in functions(CSRC / "sid.cdef.h", ";")}
    names |= set(re.findall(r"\b(?:struct|enum) (\w+)", without_comments(CSRC / "sid.cdef.h")))
    names |= {name.lower() for name in dir(_native.lib)}
    assert {name for name in names if not name.startswith("sid_")} == set()
    assert {"sid_spawn", "sid_plan", "sid_stage"} <= names


@pytest.mark.parametrize(
    ("patterns", "prefix"),
    [
        (("*.c", "*.h"), ("sid_", "sidh_")),  # for Python, and between the files of the parent's half
        (("os/*.c", "os/*.h"), ("sidos_",)),
        (("child/*.c", "child/*.h"), ("sidch_",)),
    ],
)
def test_functions_bear_the_prefix_of_their_folder_or_are_static(
    patterns: tuple[str, ...], prefix: tuple[str, ...]
) -> None:
    files = c_files(*patterns)
    shared = {name for path in files for end in "{;" for name, static in functions(path, end) if not static}
    assert {name for name in shared if not name.startswith(prefix)} == set()
    assert len(shared) > 3


def test_the_c_reader_finds_what_it_looks_for(tmp_path: Path) -> None:
    source = tmp_path / "file.h"
    source.write_text("""
#ifndef FILE_H
#define FILE_H
/* #if in a comment { */
struct pair { int (*call)(int); };
enum { SIZE = 16 };
static const int table[] = {1, 2};
int declared(int (*call)(void *), struct pair *);
static long one(int a)
{
    return a ? '{' : ";"[0];
}
__attribute__((noinline)) int two(void)
{
#ifdef X
    if (one(1)) { return 2; }
#endif
}
#endif
""")
    assert list(functions(source, "{")) == [("one", True), ("two", False)]
    assert list(functions(source, ";")) == [("declared", False)]
    assert conditionals(source) == ["#ifdef X"]


# -- the library as it is installed


def readelf(program: str, *options: str) -> str:
    command = [program, "--wide", *options, str(_native.__file__)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_library_exports_its_init_function_alone(need: Callable[..., str]) -> None:
    rows = [line.split() for line in readelf(need("readelf"), "--dyn-syms").splitlines()]
    symbols = [row for row in rows if len(row) >= 8 and row[4] in ("GLOBAL", "WEAK")]
    assert [row[7] for row in symbols if row[6] != "UND"] == ["PyInit__native"]


def test_the_library_is_bound_when_it_is_loaded(need: Callable[..., str]) -> None:
    assert re.search(r"\(FLAGS_1\).*\bNOW\b", readelf(need("readelf"), "--dynamic"))


def test_the_librarys_stack_is_not_executable(need: Callable[..., str]) -> None:
    (row,) = re.findall(r"^ *GNU_STACK .*$", readelf(need("readelf"), "--program-headers"), re.MULTILINE)
    assert row.split()[6] == "RW"
