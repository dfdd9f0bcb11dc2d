"""Static analysis of PyTorch and safetensors checkpoints: nothing in a file runs, and no torch is needed.

`read(path)` gives a `Checkpoint`, `graph(checkpoint)` its networkx graph, `check(path, ...)` the `Report` of
all rules. Each loads on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ckptaudit.gate import check
    from ckptaudit.graph import build as graph
    from ckptaudit.readers import read

__all__ = ["check", "graph", "read"]


def __getattr__(name: str) -> object:
    if name == "read":
        return import_module("ckptaudit.readers").read
    if name == "check":
        return import_module("ckptaudit.gate").check
    if name == "graph":
        return import_module("ckptaudit.graph")
    raise AttributeError(f"module 'ckptaudit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
