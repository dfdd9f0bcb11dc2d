"""The rows of the tree, as data for the script of the page, which draws them when they are opened.

Names are as `safe` shows them, and what repeats from row to row is a place in a list of words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ckptaudit.diagram.ids import anchor
from ckptaudit.fold import Fold, Node, bottom_up, differences, folds, ordered, tree
from ckptaudit.layers import Guess
from ckptaudit.model import Checkpoint, Path, Role, StateDict, TensorMeta
from ckptaudit.reports.inspect.layers import inferred
from ckptaudit.reports.inspect.rows import View, detail, rows
from ckptaudit.reports.inspect.selection import Selection, matcher
from ckptaudit.summary import Group, members, parameters
from ckptaudit.text import dotted, grouped, percent, plural, safe, shape, size, some

MODULE, TENSOR, FOLD, STATE_DICT = range(4)
_TOP = -1  # the parent of rows that are in none
_NAMELESS = "(no name)"
_EXACT = 2**53  # integers below are exact in JavaScript

_ROLES: Mapping[Role, str] = {
    "model": "a model",
    "ema": "an averaged copy, not counted",
    "optimizer": "optimizer state, no parameters",
    "other": "no model",
}


@dataclass(slots=True)
class Tree:
    """`data` for the script; `anchors` of the rows by key, dotted path and path of a module."""

    data: dict[str, Any]
    anchors: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many rows there are."""
        return len(self.data["rows"])


class _Line(NamedTuple):
    """A row as the script gets it, but for the words, which become places in a list."""

    parent: int
    kind: int
    name: str
    badge: str = ""
    detail: str = ""
    shape: str = ""
    dtype: str = ""
    device: str = ""
    parameters: int | None = None
    nbytes: int = 0
    note: str = ""
    anchor: str = ""


class _Group(NamedTuple):
    """One state dict with its tree, or the tensors that are in none (`root` is None)."""

    root: Path | None
    name: str
    about: str
    top: Node
    told: Mapping[str, Guess]


class _Item(NamedTuple):
    """What is still to become a row; `above` is the path of the module that it is in."""

    thing: Node | Fold
    parent: int
    above: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is known of the nodes of one group; those in `apart` are not folded."""

    group: _Group
    view: View
    nbytes: Mapping[Node, int]
    apart: set[Node]

    def folds(self, node: Node) -> list[Fold]:
        return folds(ordered(node.children), self.apart)


def build(
    checkpoint: Checkpoint,
    chosen: StateDict | None,
    tied: tuple[Group, ...],
    selection: Selection,
    expand: tuple[str, ...] = (),
) -> Tree:
    """The rows of every state dict, the chosen one first, and of the tensors that are in none."""
    builder = _Builder(parameters(checkpoint, tied), expand)
    groups = list(_groups(checkpoint, chosen, tied, selection))
    for group in groups:
        builder.add(group, is_alone=len(groups) == 1)
    return builder.finish(tied, selection.order or "file")


def _groups(
    checkpoint: Checkpoint, chosen: StateDict | None, tied: tuple[Group, ...], selection: Selection
) -> Iterator[_Group]:
    keep = selection.tensors(checkpoint) if selection.narrows else None
    kept = None if keep is None else {tensor.path for tensor in keep}
    repeats = {tensor.path for group in tied for tensor in group[1:]}
    held = members(checkpoint)
    for state_dict in sorted(checkpoint.state_dicts, key=lambda each: each is not chosen):
        if kept is None or any(tensor.path in kept for tensor in held[state_dict.root]):
            yield _Group(
                state_dict.root,
                safe(dotted(state_dict.root)) or "(saved object)",
                _ROLES[state_dict.role],
                tree(checkpoint, state_dict, keep, repeats),
                inferred(checkpoint, state_dict),
            )
    loose = {tensor.path: tensor for tensor in held.get(None, ()) if kept is None or tensor.path in kept}
    if loose:
        # Without its state dicts, a checkpoint is what is left beside them.
        rest = replace(checkpoint, state_dicts=(), tensors=loose)
        yield _Group(None, "(in no state dict)", "", tree(rest, None, None, repeats), {})


class _Builder:
    """Rows, one after the other, and the words in them."""

    def __init__(self, counts: Mapping[Path, int], expand: tuple[str, ...]) -> None:
        self._counts = counts
        self._whole = sum(counts.values())
        self._wanted = matcher(expand) if expand else None
        self._rows: list[list[Any]] = []
        self._words: dict[str, int] = {"": 0}
        self._anchors: dict[str, str] = {}
        self._places: dict[Path, int] = {}  # of tensors

    def finish(self, tied: tuple[Group, ...], order: str) -> Tree:
        """All rows, with the places of those that are tied."""
        groups = [[self._places[each.path] for each in group if each.path in self._places] for group in tied]
        data = {
            "rows": self._rows,
            "words": list(self._words),
            "ties": [group for group in groups if len(group) > 1],
            "parameters": _number(self._whole),
            "order": order,
        }
        return Tree(data, self._anchors)

    def add(self, group: _Group, is_alone: bool) -> None:
        """The rows of one group, below a row of its own where there are others."""
        counts = self._counts if any(each.path in self._counts for each in group.top.tensors()) else {}
        view = View(counts, {}, told=group.told)
        next(rows(group.top, view), None)  # before the first row, all modules are weighed and told of
        facts = _Facts(group, view, _bytes(group.top), _apart(group.top, self._wanted))
        parent = _TOP if is_alone else self._head(facts)
        stack = _below(facts.folds(group.top), parent, "", is_top=True)
        while stack:
            item = stack.pop()
            if isinstance(item.thing, Fold):
                stack += self._fold(item.thing, item, facts)
            else:
                stack += self._node(item.thing, item, facts)

    def _head(self, facts: _Facts) -> int:
        group, top = facts.group, facts.group.top
        about = [group.about, plural(sum(1 for _ in top.tensors()), "tensor")]
        line = _Line(
            parent=_TOP,
            kind=STATE_DICT,
            name=group.name,
            detail=detail(top, facts.view),
            parameters=facts.view.weights[top] or None,
            nbytes=facts.nbytes[top],
            note=", ".join(filter(None, about)),
            anchor="" if group.root is None else anchor("state-dict", group.root),
        )
        if group.root:
            self._anchors.setdefault(dotted(group.root), line.anchor)
        return self._put(line)

    def _fold(self, fold: Fold, item: _Item, facts: _Facts) -> list[_Item]:
        first, view = fold.members[0], facts.view
        is_sure = len({view.seems.get(node) for node in fold.members}) == 1
        place = self._put(
            _line(first, facts)._replace(
                parent=item.parent,
                kind=FOLD,
                name=safe(fold.label),
                detail=detail(first, view) if is_sure else "",
                note="",
                parameters=sum(view.weights[node] for node in fold.members) if view.counts else None,
                nbytes=sum(facts.nbytes[node] for node in fold.members),
            )
        )
        return [_Item(member, place, item.above) for member in reversed(fold.members)]

    def _node(self, node: Node, item: _Item, facts: _Facts) -> list[_Item]:
        path = f"{item.above}.{node.name}" if item.above else node.name
        tensor, root = node.tensor, facts.group.root or ()
        found = [] if tensor else facts.folds(node)
        line = _line(node, facts)
        line = line._replace(
            parent=item.parent,
            badge=safe(found[0].label) if _is_list(found) else "",
            note=", ".join(filter(None, (line.note, item.note))),
            anchor=anchor("tensor", tensor.path) if tensor else anchor("module", (*root, path)),
        )
        place = self._put(line)
        whole = dotted(tensor.path) if tensor else dotted((*root, path))
        for name in (tensor.key if tensor else path, whole):
            self._anchors.setdefault(name, line.anchor)
        if tensor is not None:
            self._places[tensor.path] = place
            return []
        return _below(found, place, path, is_top=False)

    def _put(self, line: _Line) -> int:
        is_part = line.kind != TENSOR or line.parent == _TOP
        share = percent(line.parameters, self._whole) if line.parameters and is_part else ""
        weight = size(line.nbytes) if line.nbytes else ""
        words = (line.badge, line.detail, line.shape, line.dtype, line.device, line.note, share, weight)
        places = [self._words.setdefault(word, len(self._words)) for word in words]
        amount = None if line.parameters is None else _number(line.parameters)
        numbers = (amount, _number(line.nbytes))
        self._rows.append([line.parent, line.kind, line.name, *places, *numbers, line.anchor])
        return len(self._rows) - 1


def _line(node: Node, facts: _Facts) -> _Line:
    """What is told of a node wherever it hangs."""
    tensor, weight = node.tensor, facts.view.weights[node] if facts.view.counts else None
    if tensor is None:
        told = detail(node, facts.view)
        own = weight if node.children else None
        name = safe(node.name) or _NAMELESS
        return _Line(_TOP, MODULE, name, "", told, parameters=own, nbytes=facts.nbytes[node])
    counted = tensor.path in facts.view.counts and tensor.shape is not None
    return _Line(
        parent=_TOP,
        kind=TENSOR,
        name=safe(node.name) or _NAMELESS,
        shape=shape(tensor.shape),
        dtype=safe(tensor.dtype),
        device=safe(node.device),
        parameters=weight if counted else None,
        nbytes=tensor.nbytes,
        note=", ".join(_notes(tensor, facts.view.counts)),
    )


def _notes(tensor: TensorMeta, counts: Mapping[Path, int]) -> Iterator[str]:
    if tensor.kind == "buffer":
        yield "buffer"
    elif counts and tensor.path not in counts:
        yield "not counted"
    if tensor.requires_grad is False and tensor.kind == "parameter":
        yield "frozen"
    yield from (safe(word) for word in (tensor.layout, tensor.subclass) if word and word != "strided")


def _below(found: list[Fold], parent: int, above: str, is_top: bool) -> list[_Item]:
    """What is below a node, last first. A list of nothing but blocks is one row, with them right below it."""
    items: list[_Item] = []
    if _is_list(found) and not is_top:
        items = [_Item(member, parent, above) for member in found[0].members]
    else:
        for fold in found:
            first = fold.members[0]
            items.append(_Item(first if len(fold.members) == 1 else fold, parent, above))
            items += [_Item(odd, parent, above, _difference(odd, first)) for odd in fold.odd]
    return items[::-1]


def _is_list(found: list[Fold]) -> bool:
    return (
        len(found) == 1 and len(found[0].members) > 1 and not found[0].odd and found[0].label.startswith("×")
    )


def _preorder(top: Node) -> Iterator[Node]:
    stack = top.children[::-1]
    while stack:
        node = stack.pop()
        yield node
        stack += reversed(node.children)


def _apart(top: Node, wanted: Callable[[str], bool] | None) -> set[Node]:
    """The nodes that are asked for, and those above them."""
    found: set[Node] = set()
    for node in _preorder(top) if wanted else ():
        above: Node | None = node if wanted and wanted(node.path) else None
        while above is not None and above not in found:
            found.add(above)
            above = above.parent
    return found


def _bytes(top: Node) -> dict[Node, int]:
    """What all tensors at or below each node weigh, tied ones under each of their names."""
    weights: dict[Node, int] = {}
    for node in bottom_up(top):
        own = node.tensor.nbytes if node.tensor else 0
        weights[node] = own + sum(weights[child] for child in node.children)
    return weights


def _number(number: int) -> int | str:
    return number if number < _EXACT else grouped(number)


def _difference(node: Node, rule: Node) -> str:
    """In which tensors a block differs from its siblings, and how it has them."""
    told = []
    for found in differences(node, rule):
        own = "absent" if found.here is None else f"{shape(found.here[1])} {safe(found.here[0])}"
        told.append(f"{safe(found.name)} {own}".strip())
    return f"differs: {some(told, 3)}"
