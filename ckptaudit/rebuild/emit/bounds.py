"""How much a model that the source makes may hold: about what its file does, whatever numbers stand in it.

The source runs where nothing checks it: a number of layers, or the shape of a view of one element, is to cost
no more there than what the file really holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import prod
from typing import Final

from ckptaudit.layers import ModuleLike
from ckptaudit.model import TensorMeta
from ckptaudit.rebuild.emit.constructor import part_of, tensors_of
from ckptaudit.rebuild.emit.made import Shape, made
from ckptaudit.rebuild.emit.tensors import EXPANDED
from ckptaudit.rebuild.emit.tree import Node
from ckptaudit.rebuild.plan import Plan

_FREE: Final = 2**16  # elements that need no counterpart in the file
_FEW: Final = 64  # tensors that need none
_SMALL: Final = 2**24  # elements in views of fewer that are written as tensors of their own
_TIED: Final = 64  # views of one memory that are each written as a tensor of their own
_REPEATED: Final = {"TransformerEncoder": "encoder_layer", "TransformerDecoder": "decoder_layer"}

COMPOSED: Final = frozenset({*_REPEATED, "Transformer"})  # made of layers that are given
_Cost = tuple[int, int]  # elements and tensors


def in_file(row: TensorMeta) -> int:
    """How many elements a tensor has for itself; fewer than it shows where it repeats them."""
    if row.shape is None or len(row.stride) != len(row.shape) or row.layout != "strided":
        return row.numel
    return min(
        row.numel, 1 + sum((size - 1) * abs(step) for size, step in zip(row.shape, row.stride, strict=True))
    )


def thinned(plan: Plan) -> Plan:
    """The plan, in which tensors that show far more than the file holds are marked as expanded."""
    rows = [*plan.tensors.values(), *plan.unsaved.values()]
    repeating = {row.storage for row in rows if row.numel > in_file(row)}
    needless = sum(row.numel - in_file(row) for row in rows)
    crowded = _crowded(rows)
    if needless <= _SMALL:
        repeating = set()
    if not repeating and not crowded:
        return plan
    return replace(
        plan,
        tensors=_marked(plan.tensors, repeating, crowded),
        unsaved=_marked(plan.unsaved, repeating, crowded),
    )


def _crowded(rows: Iterable[TensorMeta]) -> set[str]:
    """Memory that more tensors show, and show whole, than models tie."""
    shown: dict[str, int] = {}
    whole: dict[str, int] = {}
    for row in rows:
        if row.storage:
            shown[row.storage] = shown.get(row.storage, 0) + in_file(row)
            whole[row.storage] = max(whole.get(row.storage, 0), row.offset + in_file(row))
    return {each for each, size in shown.items() if size > max(_SMALL, _TIED * whole[each])}


def _marked(rows: Mapping[str, TensorMeta], repeating: set[str], crowded: set[str]) -> dict[str, TensorMeta]:
    return {
        key: row._replace(layout=EXPANDED)
        if row.storage in crowded or (row.storage in repeating and row.numel > in_file(row))
        else row
        for key, row in rows.items()
    }


class Room:
    """What constructors may still make beyond what the file has for their modules: as much again in all."""

    def __init__(self, root: Node) -> None:
        rows = [row for _, row in root.owned() if row.layout != EXPANDED]
        self._elements = _FREE + sum(map(in_file, rows))
        self._tensors = _FEW + len(rows)

    def takes(self, node: Node) -> bool:
        """Whether a call may make this module; if so, its part of the room is gone."""
        cost = _cost_of(node)
        if cost is None:
            return False
        rows = [row for _, row in node.owned()]
        elements, tensors = max(cost[0] - sum(map(in_file, rows)), 0), max(cost[1] - len(rows), 0)
        if elements > self._elements or tensors > self._tensors:
            return False
        self._elements -= elements
        self._tensors -= tensors
        return True


def _cost_of(node: Node) -> _Cost | None:
    """What the call for a module makes; None where its arguments make no sense."""
    layer, arguments = node.part.layer or "", node.part.arguments
    if layer in _REPEATED:
        inner = arguments.get(_REPEATED[layer], part_of(node, "layers", "0"))
        return _times(arguments.get("num_layers"), _cost(inner), _cost(part_of(node, "norm")))
    if layer == "Transformer":
        return _transformer(node)
    found = tensors_of(node)
    return None if found is None else _sum(found.values())


def _cost(thing: object) -> _Cost | None:
    if isinstance(thing, Node):
        return _cost_of(thing)
    if isinstance(thing, ModuleLike):
        found = made(thing.layer, thing.arguments)
        return None if found is None else _sum(found.values())
    return 0, 0


def _times(number: object, one: _Cost | None, more: _Cost | None) -> _Cost | None:
    if type(number) is not int or number < 0 or one is None or more is None:
        return None
    # A layer without tensors takes its time to be copied as well.
    return number * one[0] + more[0], number * max(one[1], 1) + more[1]


def _transformer(node: Node) -> _Cost | None:
    total = 0, 0
    for name, layer in (("encoder", "TransformerEncoderLayer"), ("decoder", "TransformerDecoderLayer")):
        taken = {"d_model", "nhead", "dim_feedforward", "bias"}
        given = {"d_model": 512, **{key: each for key, each in node.part.arguments.items() if key in taken}}
        if f"custom_{name}" in node.part.arguments:
            cost = _cost(node.part.arguments[f"custom_{name}"])
        else:
            number = node.part.arguments.get(f"num_{name}_layers", 6)
            cost = _times(number, _cost(ModuleLike(layer, given)), _cost(part_of(node, name, "norm")))
        if cost is None:
            return None
        total = total[0] + cost[0], total[1] + cost[1]
    return total


def _sum(shapes: Iterable[Shape]) -> _Cost | None:
    shapes = list(shapes)
    if any(size < 0 for shape in shapes for size in shape or ()):
        return None
    return sum(prod(shape) for shape in shapes if shape is not None), len(shapes)
