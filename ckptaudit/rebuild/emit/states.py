"""What holds for whole parts of a model and is said once: their dtype, frozen parameters, evaluation mode."""

from __future__ import annotations

from typing import NamedTuple

from ckptaudit.rebuild.emit.tensors import EXPANDED, is_frozen, is_parameter, one_dtype
from ckptaudit.rebuild.emit.tree import Node


class State(NamedTuple):
    """Of one node: what is to be called on it, and what holds in it then, or because of one above."""

    calls: str
    dtype: str | None
    frozen: bool
    evaluated: bool


def states(root: Node) -> dict[Node, State]:
    """The state of every node."""
    found: dict[Node, State] = {}
    nothing = State("", None, False, False)
    for node in root.below():
        around = nothing if node.above is None else found[node.above]
        dtype = around.dtype or _dtype(node)
        frozen = around.frozen or _is_frozen(node)
        evaluated = around.evaluated or _is_evaluated(node)
        calls = f".to(torch.{dtype})" if dtype and not around.dtype else ""
        calls += ".requires_grad_(False)" if frozen and not around.frozen else ""
        calls += ".eval()" if evaluated and not around.evaluated else ""
        found[node] = State(calls, dtype, frozen, evaluated)
    return found


def _dtype(node: Node) -> str | None:
    """The dtype that all of it is cast to; a cast would make expanded tensors as large as they look."""
    rows = [tensor for _, tensor in node.owned()]
    return None if any(row.layout == EXPANDED for row in rows) else one_dtype(rows)


def _is_frozen(node: Node) -> bool:
    """Whether it has parameters, and all of them are frozen."""
    flags = [
        is_frozen(tensor) for name, tensor in node.owned() if is_parameter(name.rpartition(".")[2], tensor)
    ]
    return bool(flags) and all(flags)


def _is_evaluated(node: Node) -> bool:
    flags = [inner.part.training for inner in node.below()]
    return False in flags and True not in flags
