"""What a picture is made of: frozen data, words as they stand in the file, neither laid out nor escaped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ckptaudit.audit import Severity
from ckptaudit.fold import Difference
from ckptaudit.model import Kind

Rankdir = Literal["TB", "LR"]
Color = Literal["device", "dtype", "size", "finding"]
# Where a part stands against a reference; "" where there is none, or nothing to tell.
Standing = Literal["", "missing", "unexpected", "mismatched"]
EdgeKind = Literal["tie", "rename", "order"]


@dataclass(frozen=True, slots=True)
class Options:
    """How to draw. `depth` is chosen so that about `max_nodes` boxes are drawn where it is None.

    `expand` are globs over dotted module names that are drawn unfolded and open; `link` goes before the
    anchor of a part and makes it a link: "#", or "report.html#".
    """

    depth: int | None = None
    expand: tuple[str, ...] = ()
    max_nodes: int = 30
    rankdir: Rankdir = "TB"
    color: Color = "device"
    link: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor, or several that are alike: then `name` says which, and the rest is the first one's.

    `category` is the key of its swatch in the legend, `told` are findings about it in one line each, worst
    first, and `severity` that of the worst. `note` is said behind it.
    """

    anchor: str
    name: str
    shape: tuple[int, ...] | None
    dtype: str
    device: str
    kind: Kind
    category: str
    times: int = 1
    note: str = ""
    standing: Standing = ""
    severity: Severity | None = None
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Head:
    """What is said of a module: `layer` in words and how surely ("" where the file itself names it).

    `parameters` and `nbytes` are those of all that it stands for, tied memory counted once; `times` how
    many blocks alike are folded into it, and `difference` in what it differs from such a fold beside it.
    """

    anchor: str
    name: str
    path: str = ""
    layer: str = ""
    confidence: str = ""
    parameters: int = 0
    nbytes: int = 0
    tensors: int = 0
    times: int = 1
    difference: tuple[Difference, ...] = ()
    note: str = ""
    standing: Standing = ""
    severity: Severity | None = None
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Box:
    """One drawn node: a module that holds no other, one that is drawn closed, or the own tensors of one.

    The last has a head without a name. `hidden` is the number of tensors in it that have no row.
    """

    head: Head
    category: str
    rows: tuple[Row, ...] = ()
    hidden: int = 0
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Cluster:
    """A module that is drawn open: a frame around what is in it."""

    head: Head
    children: tuple[Part, ...]


Part = Box | Cluster


@dataclass(frozen=True, slots=True)
class End:
    """Where an edge ends: the anchor of a box or cluster, and of a row in it where that is drawn."""

    part: str
    row: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """A relation between two parts. A tie is of so many `storages` and `keys`; `sure` is that of a rename."""

    kind: EdgeKind
    tail: End
    head: End
    storages: int = 0
    keys: int = 0
    sure: str = ""


@dataclass(frozen=True, slots=True)
class Swatch:
    """One line of the legend: what has the category `key` is filled with `fill`."""

    key: str
    label: str
    fill: str


@dataclass(frozen=True, slots=True)
class Totals:
    """The facts of the line above the picture."""

    path: str
    format: str
    tensors: int
    parameters: int
    untied: int
    nbytes: int
    ties: int
    errors: int = 0
    warnings: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that is drawn. `folded` says what was summed up to keep it small, `notes` what else."""

    totals: Totals
    children: tuple[Part, ...]
    edges: tuple[Edge, ...] = ()
    legend: tuple[Swatch, ...] = ()
    folded: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)

    def boxes(self) -> tuple[Box, ...]:
        """Every drawn node, in order."""
        found: list[Box] = []
        stack: list[Part] = list(reversed(self.children))
        while stack:
            part = stack.pop()
            if isinstance(part, Box):
                found.append(part)
            else:
                stack += reversed(part.children)
        return tuple(found)
