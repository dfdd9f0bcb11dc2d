"""The page put together: parts, their sections, and a policy that lets nothing run but the script of ours."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from ckptaudit.audit import FileReport, Report
from ckptaudit.errors import CkptAuditError
from ckptaudit.model import Checkpoint
from ckptaudit.reports.check.wording import counts, not_looked_at
from ckptaudit.reports.html.findings import Pages, counted, marks, pages
from ckptaudit.reports.html.part import Part, Section, View
from ckptaudit.reports.html.sections import sections
from ckptaudit.reports.html.tree import Tree, build
from ckptaudit.reports.inspect.notes import header
from ckptaudit.summary import pick, ties
from ckptaudit.text import clip, grouped, plural, safe

if TYPE_CHECKING:
    from jinja2 import Template

MOST_ROWS = 200_000  # of all trees of a page
MOST_DRAWINGS = 20
_NAME = 300  # characters of a path where it is a title

# What could end the element around it, or be a line end to JavaScript (json.dumps escapes all but ASCII).
_IN_SCRIPT = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&"})

Read = Callable[[FileReport], Checkpoint | None]


class NoJinjaError(CkptAuditError):
    """The page is made with jinja2, which is not installed."""


class _Entry(NamedTuple):
    """A row of the index of a page on many files."""

    link: str
    name: str
    told: str
    state: str


class _Head(NamedTuple):
    """What stands above all parts."""

    title: str
    verdict: str
    state: str
    summary: list[str]
    files: list[_Entry]


class _Told(NamedTuple):
    """A part as the page shows it. It does not keep its checkpoint: there can be thousands of parts."""

    path: str
    prefix: str
    facts: str
    sections: list[Section]


def require() -> None:
    """Raise NoJinjaError where no page can be made."""
    try:
        import jinja2  # noqa: F401
    except ImportError:
        remedy = "pip install 'ckptaudit[report]'"
        raise NoJinjaError("--format html", "jinja2 is not installed", remedy=remedy) from None


def inspected(checkpoint: Checkpoint, view: View) -> str:
    """The page on one checkpoint, on which no rule was run."""
    chosen, tied = pick(checkpoint), ties(checkpoint)
    tree = build(checkpoint, chosen, tied, view.selection, view.expand)
    tree.data["depth"] = view.depth
    part = Part(checkpoint.path, checkpoint, chosen, tree=tree if tree.size <= MOST_ROWS else None)
    return _page(_Head(_title(checkpoint.path), "", "", [], []), [_tell(part)])


def refused(path: str, told: str) -> str:
    """The page on a file that could not be read, and why."""
    head = _Head(_title(path), "nothing could be read", "error", [], [])
    return _page(head, [_tell(Part(path, refusal=told))])


def checked(report: Report, read: Read = lambda file: None) -> str:
    """The page on what rules found; `read` gives the checkpoint of a file again, whose tree is shown."""
    rules = {rule.name: rule for rule in report.rules}
    order = sorted(range(len(report.files)), key=lambda place: -_worst(report.files[place]))
    drawn = set(order[:MOST_DRAWINGS])
    room = MOST_ROWS
    told: dict[int, _Told] = {}
    for place in order:  # what is worst has its tree first
        file = report.files[place]
        prefix = f"f{place + 1}-" if len(report.files) > 1 else ""
        part = Part(file.path, report=file, rules=rules, prefix=prefix, drawn=place in drawn)
        if (checkpoint := read(file) if file.format else None) is not None:
            part = _with_tree(part, checkpoint, file, room)
            room -= part.tree.size if part.tree else 0
        told[place] = _tell(part)
    title = _title(report.files[0].path) if len(report.files) == 1 else plural(len(report.files), "file")
    summary = [f"{counts(report)}.", not_looked_at(report)]
    accepted = sum(len(file.accepted) for file in report.files)
    if accepted:
        summary.insert(1, f"{grouped(accepted)} accepted by the baseline.")
    index = list(map(_entry, report.files, range(len(report.files)))) if len(report.files) > 1 else []
    head = _Head(title, *_verdict(report), summary, index)
    found = (finding.rule for file in report.files for finding in file.findings)
    return _page(head, [told[place] for place in range(len(report.files))], pages(rules, found))


def _with_tree(part: Part, checkpoint: Checkpoint, file: FileReport, room: int) -> Part:
    chosen, tied = pick(checkpoint), ties(checkpoint)
    tree: Tree | None = None
    if len(checkpoint.tensors) <= room:
        tree = build(checkpoint, chosen, tied, View().selection)
        tree.data["marks"] = marks(file, tree.anchors)
    return replace(part, checkpoint=checkpoint, chosen=chosen, tree=tree)


def _title(path: str) -> str:
    return safe(clip(path, _NAME))


def _worst(file: FileReport) -> int:
    return max((finding.severity for finding in file.findings), default=0)


def _verdict(report: Report) -> tuple[str, str]:
    """What it comes to, and how bad that is."""
    if report.not_audited:
        return f"incomplete: {plural(len(report.not_audited), 'file')} not audited", "error"
    if report.exit_code:
        worse = sum(finding.severity >= report.fail_on for file in report.files for finding in file.findings)
        return f"failed: {plural(worse, 'finding')} at or above {report.fail_on}", "error"
    return f"passed: no finding at or above {report.fail_on}", "passed"


def _entry(file: FileReport, place: int) -> _Entry:
    state = {0: "passed", 1: "note", 2: "warning", 3: "error"}[_worst(file)]
    told = counted(file) if file.audited else f"not audited, {counted(file)}"
    return _Entry(f"#f{place + 1}", _title(file.path), told, state if file.audited else "error")


def _tell(part: Part) -> _Told:
    checkpoint = part.checkpoint
    facts = "" if checkpoint is None else header(checkpoint, part.chosen).removeprefix(safe(checkpoint.path))
    return _Told(part.path, part.prefix, facts.strip(), sections(part))


def _page(head: _Head, parts: list[_Told], explained: Pages = ()) -> str:
    require()
    from markupsafe import Markup

    style, script = _resource("report.css"), _resource("report.js")
    page = _template().render(
        head=head,
        parts=parts,
        pages=explained,
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
        version=_version(),
    )
    # No stream can spoil plain ASCII, and no log of GitHub's can take `##[` for a command.
    page = page.encode("ascii", "xmlcharrefreplace").decode("ascii")
    return page.replace("##[", "#&#35;[").rstrip("\n") + "\n"


def _policy(style: str, script: str) -> str:
    """The Content-Security-Policy: https://www.w3.org/TR/CSP3/."""
    rules = (
        "default-src 'none'",
        f"style-src '{_digest(style)}'",
        f"script-src '{_digest(script)}'",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return "; ".join(rules)


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(_resource),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"json": _json, "svg": _svg, "name": _title}
    return environment.get_template("report.html.jinja")


def _json(data: Any) -> Any:
    """Data for the script, as it may stand in an element of a page."""
    from markupsafe import Markup

    text = json.dumps(data, separators=(",", ":")).translate(_IN_SCRIPT)
    return Markup(text.replace("##[", "#\\u0023["))


def _svg(drawing: str) -> Any:
    """A drawing that svg.py has put together."""
    from markupsafe import Markup

    return Markup(drawing)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("ckptaudit")
    except PackageNotFoundError:  # run from its sources
        return ""
