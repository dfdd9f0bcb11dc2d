"""Tests of emitted source share: plans by hand, what source may consist of, and a child that runs it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ckptaudit.model import TensorMeta
from ckptaudit.rebuild.emit.helpers import HELPERS
from ckptaudit.rebuild.plan import Level, Part, Plan
from tests.handmade import tensor

ROOT = Path(__file__).resolve().parent.parent.parent


def tensors(shapes: Mapping[str, tuple[int, ...] | None], **more: Any) -> dict[str, TensorMeta]:
    """Float32 tensors of these shapes by key, each in a storage of its own."""
    return {key: tensor(key, shape, str(place), **more) for place, (key, shape) in enumerate(shapes.items())}


def planned(
    parts: Sequence[Part] = (),
    shapes: Mapping[str, tuple[int, ...] | None] | None = None,
    level: Level = "typed skeleton",
    name: str = "Model",
    checkpoint: str = "folder/made.pt",
    **more: Any,
) -> Plan:
    """A plan of these parts by their paths, and float32 tensors of these shapes."""
    facts = {"tensors": tensors(shapes or {}), **more}
    return Plan(checkpoint, name, level, {part.path: part for part in parts}, **facts)


def linear(path: str, inputs: int, out: int, **more: Any) -> Part:
    """An nn.Linear that is certain."""
    arguments = {"in_features": inputs, "out_features": out, "bias": True}
    return Part(path, "Linear", **{"arguments": arguments, "confidence": "certain", **more})


_NODES = (
    *(
        ast.Module,
        ast.Expr,
        ast.Constant,
        ast.Import,
        ast.ImportFrom,
        ast.alias,
        ast.ClassDef,
        ast.FunctionDef,
    ),
    *(ast.arguments, ast.arg, ast.Assign, ast.Return, ast.Raise, ast.For, ast.Call, ast.keyword, ast.Name),
    *(
        ast.Attribute,
        ast.Subscript,
        ast.Load,
        ast.Store,
        ast.List,
        ast.Tuple,
        ast.Dict,
        ast.UnaryOp,
        ast.USub,
    ),
    *(ast.GeneratorExp, ast.comprehension, ast.Starred, ast.JoinedStr, ast.FormattedValue),
)
_CALLED = {"super", "range", "float", "setattr", "NotImplementedError"}
# The last names of what is called on modules and on torch.
_METHODS = {
    *("__init__", "add_module", "register_buffer", "register_parameter", "requires_grad_", "eval", "to"),
    *("empty", "_empty_affine_quantized", "Parameter", "UninitializedParameter"),
    *("weight_norm", "spectral_norm", "orthogonal", "identity"),
}


def strange(source: str) -> list[str]:
    """What is in emitted source and should not be; the helpers are taken as they are."""
    assert source.isascii()
    tree = ast.parse(source)
    helpers = {node.name: node for text in HELPERS.values() for node in ast.parse(text).body
               if isinstance(node, ast.ClassDef)}  # fmt: skip
    own: set[str] = set()
    found: list[str] = []
    rest: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            own.add(node.name)
            if node.name in helpers and ast.dump(node) == ast.dump(helpers[node.name]):
                continue
        rest.append(node)
    for node in rest:
        found += _strange(node, own)
    return found


def _strange(top: ast.stmt, own: set[str]) -> Iterator[str]:
    for node in ast.walk(top):
        line = getattr(node, "lineno", 0)
        if not isinstance(node, _NODES):
            yield f"{line}: {type(node).__name__}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            if ast.unparse(node) not in _IMPORTS:
                yield f"{line}: {ast.unparse(node)}"
        elif isinstance(node, ast.Call) and not _may_be_called(node.func, own):
            yield f"{line}: calls {ast.unparse(node.func)}"
        elif isinstance(node, ast.ClassDef | ast.FunctionDef) and node.decorator_list:
            yield f"{line}: a decorator"
        elif isinstance(node, ast.Constant) and not isinstance(node.value, str | int | float | None):
            yield f"{line}: {node.value!r}"


_IMPORTS = ("import torch", "from torch import nn", "from torch.nn.utils import prune")


def _may_be_called(function: ast.expr, own: set[str]) -> bool:
    if isinstance(function, ast.Name):
        return function.id in _CALLED | own
    if not isinstance(function, ast.Attribute):
        return False
    if isinstance(function.value, ast.Name) and function.value.id == "nn" and function.attr[:1].isupper():
        return True
    if ast.unparse(function) == "nn.modules.linear.NonDynamicallyQuantizableLinear":
        return True
    return function.attr in _METHODS


class Case(NamedTuple):
    """Source to be run: the file that it is of, and and a file of inputs and outputs to compare."""

    source: str
    plan: Plan
    file: Path | None = None
    inputs: Path | None = None


def run(cases: Mapping[str, Case]) -> dict[str, dict[str, Any]]:
    """What became of each source in one fresh process: `error`, `loaded`, `tensors`, `equal` outputs."""
    asked = {
        name: {
            "source": case.source,
            "file": case.file and str(case.file),
            "inputs": case.inputs and str(case.inputs),
            "paths": {key: row.path for key, row in case.plan.tensors.items()},
        }
        for name, case in cases.items()
    }
    child = Path(__file__).with_name("emitted_child.py")
    paths = os.pathsep.join((str(ROOT), str(ROOT / "fixtures")))
    env = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, "-W", "ignore", str(child)]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-4000:]
    answers: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return answers


def wanted(plan: Plan) -> dict[str, list[Any]]:
    """The tensors of a plan as `run` tells those of a model."""
    return {
        key: [f"torch.{row.dtype}", None if row.shape is None else list(row.shape)]
        for key, row in plan.tensors.items()
    }
