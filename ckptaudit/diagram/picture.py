"""A checkpoint as a picture: what is drawn, folded, joined and left out, before a word of DOT is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ckptaudit.audit import Finding, Severity
from ckptaudit.diagram.build import Builder
from ckptaudit.diagram.choose import Chooser
from ckptaudit.diagram.colours import legend
from ckptaudit.diagram.edges import Places, orders, renames, ties
from ckptaudit.diagram.outline import Item, Outline
from ckptaudit.diagram.parts import (
    Box,
    Cluster,
    Color,
    Edge,
    End,
    Head,
    Options,
    Part,
    Picture,
    Rankdir,
    Row,
    Standing,
    Swatch,
    Totals,
)
from ckptaudit.diagram.scene import Scene, scene
from ckptaudit.diagram.seen import Layers
from ckptaudit.diagram.standing import Compared, compared
from ckptaudit.match import Match
from ckptaudit.model import Checkpoint
from ckptaudit.summary import totals
from ckptaudit.text import grouped, plural

__all__ = [
    "Box",
    "Cluster",
    "Color",
    "Edge",
    "End",
    "Head",
    "Options",
    "Part",
    "Picture",
    "Rankdir",
    "Row",
    "Standing",
    "Swatch",
    "Totals",
    "picture",
]

_PLAIN = Options()
_FEW = 3
_NOTHING = "nothing to draw: no tensor, and no module that is known"


def picture(
    checkpoint: Checkpoint,
    options: Options = _PLAIN,
    *,
    findings: Iterable[Finding] = (),
    match: Match | None = None,
) -> Picture:
    """The picture of a checkpoint; `match` is what comparing it with a reference gave.

    `findings` colour the parts that they name. The same arguments give an equal picture, in every run.
    """
    findings = tuple(findings)
    against = None if match is None else compared(checkpoint, match)
    seen = scene(
        checkpoint,
        options,
        findings,
        against.standings if against else {},
        against.checkpoint if against else checkpoint,
    )
    outline = Outline(seen)
    roots = [Item(group, "", (group.tree,), 0) for group in seen.groups]
    Chooser(outline, options).choose(roots)
    layers = Layers(roots)
    builder = Builder(seen, outline, layers, against.notes if against else {})
    parts = tuple(
        part for item in roots for part in builder.group(item, is_framed=_is_framed(item, roots, layers))
    )
    places = Places(seen, outline, builder.ends)
    tied, inside = ties(seen, places)
    edges = (
        *tied,
        *(renames(against.renames, places) if against else ()),
        *orders(roots, checkpoint.format, builder.ends),
    )
    parts = tuple(_noted(part, inside) for part in parts)
    return Picture(
        _totals(seen, findings),
        parts,
        edges,
        legend(options.color, _categories(parts)),
        tuple(_folded(roots, outline)),
        (_order(checkpoint, edges) if parts else _NOTHING, *_notes(checkpoint, against)),
        options,
    )


def _is_framed(item: Item, roots: list[Item], layers: Layers) -> bool:
    """Whether a state dict gets a frame of its own: where there are others, or something is said of it."""
    return len(roots) > 1 or bool(item.group.name) or any(layers.of(item.group, item.members))


def _noted(part: Part, inside: dict[End, tuple[int, int]]) -> Part:
    """Ties that no edge can show are told in the part that holds both ends."""
    if isinstance(part, Cluster):
        children = tuple(_noted(child, inside) for child in part.children)
        return replace(part, head=_tied(part.head, inside), children=children)
    rows = []
    for row in part.rows:
        storages, keys = inside.get(End(part.head.anchor, row.anchor), (0, 0))
        told = f"{plural(storages, 'storage')} for {plural(keys, 'key')}"
        rows.append(replace(row, note=", ".join(filter(None, (row.note, told)))) if storages else row)
    return replace(part, head=_tied(part.head, inside), rows=tuple(rows))


def _tied(head: Head, inside: dict[End, tuple[int, int]]) -> Head:
    storages, keys = inside.get(End(head.anchor), (0, 0))
    if not storages:
        return head
    told = f"{plural(storages, 'tie')} inside: {plural(storages, 'storage')}, {plural(keys, 'key')}"
    return replace(head, note=", ".join(filter(None, (head.note, told))))


def _totals(seen: Scene, findings: tuple[Finding, ...]) -> Totals:
    checkpoint = seen.checkpoint
    counted = totals(checkpoint, seen.ties)
    return Totals(
        checkpoint.path,
        checkpoint.format,
        counted.tensors,
        counted.parameters,
        counted.untied,
        counted.bytes_storages,
        len(seen.ties),
        sum(finding.severity == Severity.ERROR for finding in findings),
        sum(finding.severity == Severity.WARNING for finding in findings),
    )


def _categories(parts: Iterable[Part]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, Cluster):
            yield from _categories(part.children)
        else:
            yield part.category
            yield from (row.category for row in part.rows)


def _folded(roots: list[Item], outline: Outline) -> Iterator[str]:
    """What was summed up, in words: modules drawn closed, and those that are only counted."""
    closed: list[Item] = []
    left_out: list[Item] = []
    stack = list(reversed(roots))
    while stack:
        item = stack.pop()
        stack += reversed(item.shown)
        left_out += item.left_out
        if not item.is_open and not item.group.is_apart and item.rule is None and outline.inside(item)[0]:
            closed.append(item)
    if closed:
        names = ", ".join(item.name for item in closed[:_FEW])
        more = f" and {grouped(len(closed) - _FEW)} more" if len(closed) > _FEW else ""
        yield f"closed: {names}{more} (--expand GLOB, --depth N or --max-nodes N opens them)"
    if left_out:
        count = sum(len(item.members) for item in left_out)
        yield f"only counted: {plural(count, 'module')}, the smaller ones (--max-nodes N draws more)"


def _notes(checkpoint: Checkpoint, against: Compared | None) -> Iterator[str]:
    if any(problem.incomplete for problem in checkpoint.problems):
        yield "part of the file could not be read: more can be in it than is drawn"
    if against is not None:
        yield "dashed: expected by the reference, and not there"
        for each in against.renames[:_FEW]:
            keys = plural(len(each.pairs), "key")
            yield f"renamed? {each.old or '*'} → {each.new or '*'} ({each.sure}, {keys})"


def _order(checkpoint: Checkpoint, edges: tuple[Edge, ...]) -> str:
    """What is known of the order of execution."""
    if any(edge.kind == "order" for edge in edges):
        is_exported = checkpoint.format == "torch-export"
        where = "exported program lists calls" if is_exported else "file names a Sequential"
        return f"grey arrows: order of execution, where the {where}; elsewhere it is not known"
    if any(module.cls for found in checkpoint.state_dicts for module in found.modules.values()):
        return "no order of execution: the file names classes, and their code is not looked at"
    return "no order of execution: a state dict has none"
