"""Who may import whom, and the other promises that the source itself can prove."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "ckptaudit"

# A room is a module or folder right under the package; it may import itself and what stands here.
# A dotted name lets in one module of a room and not the rest: policy.py is data about global names.
FLOORS: dict[str, set[str]] = {
    "errors": set(),
    "limits": set(),
    "model": {"errors"},
    "text": {"model"},
    "source": {"errors", "limits"},
    "readers": {"model", "source", "errors", "limits"},
    "summary": {"model", "errors", "text"},
    "fold": {"model", "summary", "text"},
    "graph": {"model", "summary", "fold", "text"},
    "layers": {"model"},
    "saved": {"errors", "model", "summary", "text"},
    "locate": {"errors", "limits", "model", "readers", "summary"},
    "values": {"errors", "limits", "model", "source"},
    "isolated": {"errors"},
    "blueprint": {"errors", "isolated", "limits", "locate", "model", "saved", "source", "summary", "text"},
    "match": {"blueprint", "model", "saved", "summary"},
    "audit": {"model"},
    "rules": {
        "audit",
        "match",
        "model",
        "readers.checksums",
        "readers.pickle.policy",
        "saved",
        "summary",
        "text",
        "values",
    },
    "rebuild": {
        "blueprint",
        "errors",
        "isolated",
        "layers",
        "limits",
        "locate",
        "match",
        "model",
        "output",
        "saved",
        "source",
        "summary",
        "text",
    },
    "verify": {
        "blueprint",
        "errors",
        "isolated",
        "limits",
        "locate",
        "match",
        "model",
        "output",
        "rebuild",
        "saved",
        "source",
        "summary",
        "text",
        "values",
    },
    "parallel": {"audit"},
    "pipeline": {
        "audit",
        "blueprint",
        "errors",
        "isolated",
        "limits",
        "locate",
        "match",
        "model",
        "parallel",
        "readers",
        "saved",
        "summary",
        "text",
        "values",
    },
    "config": {"errors"},
    "output": {"errors"},
    "baseline": {"audit", "errors", "output", "rules"},
    "gate": {
        "audit",
        "baseline",
        "config",
        "errors",
        "isolated",
        "limits",
        "locate",
        "match",
        "pipeline",
        "rules",
    },
    "diagram": {
        "audit",
        "blueprint",
        "errors",
        "fold",
        "graph",
        "layers",
        "match",
        "model",
        "saved",
        "summary",
        "text",
    },
    "reports": {
        "audit",
        "diagram",
        "errors",
        "model",
        "text",
        "summary",
        "fold",
        "layers",
        "graph",
        "readers.pickle.policy",
        "verify.comparison",
    },
    "cli": {
        "__init__",
        "errors",
        "limits",
        "model",
        "text",
        "locate",
        "audit",
        "blueprint",
        "baseline",
        "config",
        "diagram",
        "gate",
        "isolated",
        "output",
        "parallel",
        "rebuild",
        "rules",
        "reports",
        "verify",
    },
    "__init__": {"readers", "graph", "gate", "rebuild", "verify"},
    "__main__": {"cli"},
    "pytest_plugin": {"audit", "config", "errors", "gate", "locate", "reports", "verify"},
}
# Slow to import: late everywhere, but for the one module that is itself only imported when needed.
HEAVY: dict[str, set[str]] = {
    "torch": {"ckptaudit/rebuild/modules.py"},
    "jinja2": set(),
    "numpy": set(),
    "safetensors": set(),
    "networkx": {"ckptaudit/graph.py"},
    "rich": {"ckptaudit/reports/inspect/text.py"},
}
RUNS_DATA = {"pickle", "pickletools", "marshal", "shelve", "dill", "cloudpickle", "joblib", "runpy", "code"}
LEAVES_PYTHON = {"ctypes", "subprocess", "socket", "multiprocessing", "pty"}
# The one module that imports what it is told: the caller's own code, in a process started for it.
RUNS_CALLERS_CODE = "ckptaudit/isolated/inside.py"
RUNS_TEXT = {"eval", "exec", "compile", "__import__", "breakpoint"}
FILE_LINES = 400
FUNCTION_LINES = 60


@dataclass(frozen=True, slots=True)
class Module:
    """One source file, parsed. `file` is relative to the root, with slashes."""

    file: str
    text: str

    @property
    def room(self) -> str:
        return self.file.split("/")[1].removesuffix(".py")

    @property
    def package(self) -> list[str]:
        return self.file.split("/")[:-1]

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)


@dataclass(frozen=True, slots=True)
class Import:
    """One name that an import statement, or a call of import_module, asks for."""

    target: str
    line: int
    eager: bool

    @property
    def top(self) -> str:
        return self.target.split(".")[0]


Check = Callable[[Module], Iterator[str]]


def modules() -> list[Module]:
    """Every source file of the package."""
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    return [Module(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")) for file in files]


def imports(module: Module) -> Iterator[Import]:
    """Every import of the module, those inside functions too; `eager` where importing the module runs it."""
    yield from _imports(module.tree, module.package, eager=True)


def _imports(node: ast.AST, package: list[str], *, eager: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, node.lineno, eager) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _base(node, package)
        yield from (Import(f"{base}.{alias.name}", node.lineno, eager) for alias in node.names)
    elif isinstance(node, ast.Call) and _called(node) == "import_module":
        yield Import(_literal_head(node), node.lineno, eager)
    late = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _for_types_only(node)
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, package, eager=eager and not late)


def _base(node: ast.ImportFrom, package: list[str]) -> str:
    if not node.level:
        return node.module or ""
    above = package[: len(package) - node.level + 1]
    return ".".join([*above, node.module] if node.module else above)


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _literal_head(call: ast.Call) -> str:
    argument = call.args[0] if call.args else None
    if isinstance(argument, ast.JoinedStr) and argument.values:
        argument = argument.values[0]
    return argument.value if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else "?"


def _for_types_only(node: ast.AST) -> bool:
    if not isinstance(node, ast.If) or node.orelse:
        return False
    return ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def floors(module: Module) -> Iterator[str]:
    """Imports that the table does not allow."""
    allowed = FLOORS.get(module.room)
    if allowed is None:
        yield f"{module.file}:1: the room {module.room} has no row in FLOORS"
        return
    for wanted in imports(module):
        if wanted.top != PACKAGE:
            continue
        inside = wanted.target.removeprefix(PACKAGE).lstrip(".") + "."
        # `from ckptaudit import read`: a name of the package itself, not a room.
        room = inside.split(".")[0] if inside.split(".")[0] in FLOORS else "__init__"
        if (
            room != module.room
            and room not in allowed
            and not any(inside.startswith(f"{a}.") for a in allowed)
        ):
            yield f"{module.file}:{wanted.line}: {module.room} may not import {room}"


def late(module: Module) -> Iterator[str]:
    """Slow libraries imported as soon as the module is."""
    for wanted in imports(module):
        if wanted.eager and module.file not in HEAVY.get(wanted.top, {module.file}):
            yield f"{module.file}:{wanted.line}: {wanted.top} is imported at module level"


def inert(module: Module) -> Iterator[str]:
    """Imports of what can run the data that is being read, or of a name that is not spelled out."""
    for wanted in imports(module):
        if wanted.target == "?" and module.file != RUNS_CALLERS_CODE:
            yield f"{module.file}:{wanted.line}: imports a computed name"
        if wanted.top in RUNS_DATA or (module.room == "readers" and wanted.top in LEAVES_PYTHON):
            yield f"{module.file}:{wanted.line}: {wanted.top} has no place in {module.room}"


def apart(module: Module) -> Iterator[str]:
    """Imports of what runs the caller's code, but for children: those are only started as programs."""
    for wanted in imports(module):
        inside = wanted.target.startswith(RUNS_CALLERS_CODE.removesuffix(".py").replace("/", "."))
        if "child" in wanted.target.split(".") or (inside and not module.file.endswith("/child.py")):
            yield f"{module.file}:{wanted.line}: imports {wanted.target}"


def no_eval(module: Module) -> Iterator[str]:
    """Builtins that turn text into running code: called, or merely named to be called elsewhere."""
    for node in ast.walk(module.tree):
        bare = node.id if isinstance(node, ast.Name) else ""
        of_builtins = isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "builtins"
        name = node.attr if isinstance(node, ast.Attribute) and of_builtins else bare
        if name in RUNS_TEXT and isinstance(node, ast.Name | ast.Attribute):
            yield f"{module.file}:{node.lineno}: names {name}"


def short(module: Module) -> Iterator[str]:
    """Files and functions that are too long to be read in one go."""
    lines = module.text.count("\n")
    if lines > FILE_LINES:
        yield f"{module.file}: {lines} lines, more than {FILE_LINES}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{module.file}:{node.lineno}: {node.name}: {lines} lines, more than {FUNCTION_LINES}"


def finished(module: Module) -> Iterator[str]:
    """Words that say: not done."""
    for number, line in enumerate(module.text.splitlines(), 1):
        for word in ("TODO", "FIXME", "XXX"):
            if word in line:
                yield f"{module.file}:{number}: {word}"


CHECKS: tuple[Check, ...] = (floors, late, inert, apart, no_eval, short, finished)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_package(check: Check) -> None:
    found = modules()
    assert found, "no source file found"
    assert "\n".join(line for module in found for line in check(module)) == ""


def test_floors_stand_on_each_other() -> None:
    targets = {name.split(".")[0] for allowed in FLOORS.values() for name in allowed}
    assert targets <= FLOORS.keys()
    order = TopologicalSorter({room: {name.split(".")[0] for name in FLOORS[room]} for room in FLOORS})
    order.prepare()  # raises CycleError where two rooms stand on one another


@pytest.mark.parametrize(
    ("check", "file", "text"),
    [
        (floors, "readers/x.py", "from ckptaudit.graph import build"),
        (floors, "readers/x.py", "from ckptaudit import graph"),
        (floors, "readers/pickle/x.py", "from ...graph import build"),
        (floors, "readers/x.py", "def f():\n    import ckptaudit.cli"),
        (floors, "readers/x.py", "from ckptaudit import read"),
        (floors, "model.py", "import_module(f'ckptaudit.readers.{name}')"),
        (floors, "reports/x.py", "from ckptaudit.readers.pickle.policyx import verdict"),
        (floors, "attic/x.py", "import os"),
        (late, "readers/x.py", "import torch.nn as nn"),
        (late, "summary.py", "try:\n    from rich.tree import Tree\nexcept ImportError:\n    pass"),
        (late, "cli/x.py", "class A:\n    import networkx"),
        (late, "cli/x.py", "if not TYPE_CHECKING:\n    import numpy"),
        (inert, "readers/x.py", "def f():\n    import pickle"),
        (inert, "cli/x.py", "from marshal import loads"),
        (inert, "readers/x.py", "from subprocess import run"),
        (inert, "readers/x.py", "import_module(name)"),
        (apart, "blueprint/x.py", "from ckptaudit.blueprint import child"),
        (apart, "blueprint/x.py", "from ckptaudit.isolated.inside import build"),
        (no_eval, "readers/x.py", "eval('1')"),
        (no_eval, "readers/x.py", "run = exec"),
        (no_eval, "readers/x.py", "builtins.__import__('os')"),
        (short, "readers/x.py", "\n" * (FILE_LINES + 1)),
        (short, "readers/x.py", "def f():\n" + "    pass\n" * FUNCTION_LINES),
        (finished, "readers/x.py", "x = 1  # FIXME"),
    ],
)
def test_check_finds_a_violation(check: Check, file: str, text: str) -> None:
    assert len(list(check(Module(f"{PACKAGE}/{file}", text)))) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            "readers/x.py",
            "from ckptaudit.model import Span\nfrom .draft import Draft\nfrom ..errors import CkptAuditError",
        ),
        ("readers/x.py", "import re\nre.compile('x')\nimport_module(f'ckptaudit.readers.{name}')"),
        ("graph.py", "if TYPE_CHECKING:\n    from networkx import DiGraph"),
        (
            "reports/x.py",
            "def f():\n    import rich\n    from ckptaudit.readers.pickle.policy import verdict",
        ),
        ("reports/inspect/text.py", "from rich.table import Table"),
    ],
)
def test_checks_let_the_rest_pass(file: str, text: str) -> None:
    module = Module(f"{PACKAGE}/{file}", text)
    assert [line for check in CHECKS for line in check(module)] == []
