"""What rules found in one file: each finding with what to do, and links to the rows that it is about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ckptaudit.audit import FileReport, Finding, Rule, Severity
from ckptaudit.reports.check.wording import coverage, tally
from ckptaudit.reports.html.part import Part, Section
from ckptaudit.text import clip, grouped, plural, safe

SHOWN = 8  # keys that are seen without unfolding
MOST = 400  # keys of one finding
FINDINGS = 1000  # of one file
_LONGEST = 4000  # characters of a sentence
_KEY = 400  # characters of a name in a list


class Key(NamedTuple):
    """A name that a finding is about, and the link to its row, where there is one."""

    name: str
    link: str | None


class Item(NamedTuple):
    """One finding as the page shows it; `summary` is the first line of the page of its rule, in pieces."""

    id: str
    rule: str
    group: str
    severity: str
    message: str
    fix: str | None
    place: str
    keys: list[Key]
    more: list[Key]
    rest: str
    summary: list[str]


class Body(NamedTuple):
    """All of them, with what is said above and below."""

    items: list[Item]
    left_out: str
    coverage: str
    accepted: str


def findings(part: Part) -> Section | None:
    """The findings of a file on which rules were run."""
    report = part.report
    if report is None:
        return None
    items = [_item(finding, number, part) for number, finding in enumerate(report.findings[:FINDINGS])]
    more = len(report.findings) - len(items)
    body = Body(
        items,
        f"and {plural(more, 'more finding')} (--format json has them all)" if more else "",
        "" if report.coverage is None else f"The file {coverage(report.coverage)}.",
        f"{grouped(len(report.accepted))} accepted by the baseline." if report.accepted else "",
    )
    return Section("findings", "Findings", "findings", body, counted(report))


def counted(report: FileReport) -> str:
    """1 error, 0 warnings, 1 note."""
    severities = [finding.severity for finding in report.findings]
    return tally(*(severities.count(severity) for severity in sorted(Severity, reverse=True)))


def marks(report: FileReport, anchors: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """For the rows, by their anchors: how bad the worst finding on each is, and which one that is."""
    found: dict[str, tuple[str, int]] = {}
    for number, finding in enumerate(report.findings[:FINDINGS]):
        for key in finding.keys:
            if (anchor := anchors.get(key)) is not None:
                # The worst come first.
                found.setdefault(anchor, (str(finding.severity), number))
    return found


def _item(finding: Finding, number: int, part: Part) -> Item:
    rule = part.rules.get(finding.rule)
    keys = list(_keys(finding, part))
    rest = len(finding.keys) - len(keys)
    return Item(
        id=f"finding-{part.prefix}{number}",
        rule=safe(finding.rule),
        group=rule.group if rule else "",
        severity=str(finding.severity),
        message=safe(clip(finding.message, _LONGEST)),
        fix=None if finding.fix is None else safe(clip(finding.fix, _LONGEST)),
        place=_place(finding),
        keys=keys[:SHOWN],
        more=keys[SHOWN:],
        rest=f"and {grouped(rest)} more (--format json has them all)" if rest else "",
        summary=_pieces(rule.summary) if rule else [],
    )


def _keys(finding: Finding, part: Part) -> Iterator[Key]:
    for key in finding.keys[:MOST]:
        yield Key(safe(clip(key, _KEY)) or "(no name)", part.row(key))


def _place(finding: Finding) -> str:
    span = finding.span
    if span is None:
        return ""
    return f"{plural(span.nbytes, 'byte')} of {safe(clip(span.file, _KEY))} from byte {grouped(span.start)}"


Pages = Sequence[tuple[Rule, list["Block"]]]


def pages(rules: Mapping[str, Rule], names: Iterable[str]) -> Pages:
    """The pages of the rules that found something, in the order of all rules."""
    wanted = set(names)
    return [(rule, list(_blocks(rule.page))) for name, rule in rules.items() if name in wanted]


class Block(NamedTuple):
    """A paragraph with the heading above it, if any; every second piece of it is code."""

    heading: str
    pieces: list[str]


def _blocks(page: str) -> Iterator[Block]:
    for paragraph in page.split("\n\n"):
        heading, _, rest = paragraph.partition("\n") if paragraph.startswith("## ") else ("", "", paragraph)
        yield Block(heading.removeprefix("## "), _pieces(rest))


def _pieces(text: str) -> list[str]:
    """What stands outside backticks and inside them, by turns."""
    return " ".join(text.split()).split("`")
