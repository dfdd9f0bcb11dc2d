"""What is said beside a line of the source: how sure it is, what is unknown, what no rebuilt module gets."""

from __future__ import annotations

from ckptaudit.rebuild.emit.constructor import filled
from ckptaudit.rebuild.emit.text import told
from ckptaudit.rebuild.emit.tree import Node
from ckptaudit.rebuild.plan import Part
from ckptaudit.text import some


def note(node: Node) -> str:
    """The words for one module; none where it is certain and whole."""
    if node.alias is not None:
        return ""
    part = node.part
    pieces = []
    if node.form == "layer" or part.layer is not None:
        pieces += _sureness(part, [name for name in part.unknown if name not in filled(node)])
    if node.form == "class" and part.layer is not None:
        pieces.insert(0, f"as {told(part.layer)}")
    if node.form == "list" and part.layer is None:
        pieces.append("or nn.Sequential")
    pieces += [f"{what}: {_some(names)}" for what, names in _left(part) if names]
    return "; ".join(pieces)


def _sureness(part: Part, unknown: list[str]) -> list[str]:
    pieces: list[str] = []
    if part.confidence in ("likely", "guess"):
        pieces.append(part.confidence)
    if part.alternatives and part.confidence == "guess":
        pieces.append(f"also fits: {_some(part.alternatives, 3)}")
    if unknown:
        pieces.append(f"unknown: {_some(tuple(unknown))}")
    return pieces


def _left(part: Part) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ("hooks not rebuilt", part.hooks), ("attributes not rebuilt", part.odd)


def _some(names: tuple[str, ...], most: int = 6) -> str:
    return some([told(name) for name in names], most)
