"""What a page is made of: parts, one a checkpoint, and the sections that tell of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ckptaudit.audit import FileReport, Rule
from ckptaudit.model import Checkpoint, StateDict
from ckptaudit.reports.html.tree import Tree
from ckptaudit.reports.inspect.selection import ALL, Selection


@dataclass(frozen=True, slots=True)
class View:
    """What of a tree is shown at first: as the options of `inspect` say it."""

    selection: Selection = ALL
    depth: int | None = None
    expand: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """All that a page knows of one checkpoint.

    `checkpoint` is None where it could not be read, for which `refusal` is the reason, or was not read
    again; `report` is None where no rule was run. `tree` is None, and `drawn` False, where a page on many
    files leaves them out. `prefix` goes before every id, so that parts of one page can hold the same names.
    """

    path: str
    checkpoint: Checkpoint | None = None
    chosen: StateDict | None = None
    refusal: str = ""
    report: FileReport | None = None
    rules: Mapping[str, Rule] = field(default_factory=dict)
    tree: Tree | None = None
    drawn: bool = True
    prefix: str = ""

    def row(self, name: str) -> str | None:
        """The link to the row of what is called `name`; None where no row is."""
        anchor = None if self.tree is None else self.tree.anchors.get(name)
        return None if anchor is None else f"#row-{self.prefix}{anchor}"


class Section(NamedTuple):
    """A titled piece of a part: `kind` is the macro of report.html.jinja that draws its `body`."""

    name: str
    title: str
    kind: str
    body: Any
    aside: str = ""  # a few words beside the title


class Lines(NamedTuple):
    """What is told of one subject, a line each."""

    subject: str
    lines: list[str]
