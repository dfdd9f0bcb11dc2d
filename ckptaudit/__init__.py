"""Static analysis of PyTorch and safetensors checkpoints: nothing in a file runs, and no torch is needed.

`read(path)` gives a `Checkpoint`, `graph(checkpoint)` its networkx graph, `check(path, ...)` the `Report` of
all rules. With torch, `rebuild(path)` gives a loaded module and what is known of it, `record(path, ...)`
writes down what a model answers, and `verify(path, ...)` compares. Each loads on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ckptaudit.gate import check
    from ckptaudit.graph import build as graph
    from ckptaudit.readers import read
    from ckptaudit.rebuild import rebuild
    from ckptaudit.verify import record, verify

__all__ = ["check", "graph", "read", "rebuild", "record", "verify"]


def __getattr__(name: str) -> object:
    # Rooms of the same name are called as functions themselves: importing one sets it here for good.
    if name == "graph":
        return import_module("ckptaudit.graph")
    if name == "rebuild":
        return import_module("ckptaudit.rebuild")
    if name == "verify":
        return import_module("ckptaudit.verify")
    if name == "read":
        return import_module("ckptaudit.readers").read
    if name == "check":
        return import_module("ckptaudit.gate").check
    if name == "record":
        return import_module("ckptaudit.verify").record
    raise AttributeError(f"module 'ckptaudit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
