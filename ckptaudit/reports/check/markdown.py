"""A comment on a pull request: the verdict, a table of files, the findings of each, what was not looked at.

GitHub takes 65,536 characters of a comment. What does not fit is left out by whole findings, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ckptaudit.audit import FileReport, Finding, Report, Severity
from ckptaudit.reports.check.markup import code, prose
from ckptaudit.reports.check.wording import counts, coverage, summary
from ckptaudit.text import grouped, plural

LIMIT = 60_000
_TABLE = 10_000  # characters for the table, of LIMIT
_KEYS = 5  # that are seen without unfolding
_MOST_KEYS = 30
_HEADINGS = {Severity.ERROR: "Errors", Severity.WARNING: "Warnings", Severity.NOTE: "Notes"}


def render(report: Report) -> str:
    """The comment, the files with the worst findings first."""
    files = sorted(report.files, key=_worst, reverse=True)
    head = f"### ckptaudit: {_verdict(report)}\n\n{_table(files)}"
    tail = "\n\n".join(prose(text, LIMIT) for text in summary(report)) + "\n"
    return head + _findings(files, LIMIT - len(head) - len(tail)) + tail


def _worst(file: FileReport) -> int:
    return max((finding.severity for finding in file.findings), default=0)


def _verdict(report: Report) -> str:
    if unaudited := len(report.not_audited):
        return f"incomplete, {plural(unaudited, 'file')} not audited, {counts(report)}"
    if report.exit_code:
        return f"failed, {counts(report)}"
    if any(file.findings for file in report.files):
        return f"passed, {counts(report)}"
    return f"passed, no findings in {plural(len(report.files), 'file')}"


def _table(files: Iterable[FileReport]) -> str:
    rows = [_row(file) for file in files if file.findings or not file.audited]
    if not rows:
        return ""
    kept = list(_fitting(rows, _TABLE))
    more = len(rows) - len(kept)
    rest = f"\nand {plural(more, 'more file')} with findings\n" if more else ""
    return f"| File | Errors | Warnings | Notes |\n| --- | ---: | ---: | ---: |\n{''.join(kept)}{rest}\n"


def _row(file: FileReport) -> str:
    severities = [finding.severity for finding in file.findings]
    numbers = [grouped(severities.count(severity)) for severity in _HEADINGS]
    name = code(file.path) + ("" if file.audited else " (not audited)")
    return f"| {' | '.join((name, *numbers))} |\n"


def _fitting(pieces: Iterable[str], budget: int) -> Iterator[str]:
    """The first of `pieces` that together are no longer than `budget` characters."""
    for piece in pieces:
        budget -= len(piece)
        if budget < 0:
            return
        yield piece


def _findings(files: list[FileReport], budget: int) -> str:
    """The section of every file, cut between two findings where the budget ends."""
    whole = sum(len(file.findings) for file in files)
    rest = "and {} (`--format json` has them all)\n\n"
    kept: list[str] = []
    told = 0
    pieces = (piece for file in files for piece in _file(file))
    room = budget - len(rest.format(plural(whole, "more finding")))
    for text, findings in pieces:
        room -= len(text)
        if room < 0:
            return "".join((*kept, rest.format(plural(whole - told, "more finding"))))
        kept.append(text)
        told += findings
    return "".join(kept)


def _file(file: FileReport) -> Iterator[tuple[str, int]]:
    """Pieces of the section of a file, each with the number of findings in it: headings go with the first."""
    heading = f"#### {code(file.path)}\n\n"
    if file.coverage is not None:
        heading += f"It {prose(coverage(file.coverage))}.\n\n"
        if not file.findings:
            yield heading, 0
    before = None
    for finding in file.findings:
        if finding.severity != before:
            heading += f"**{_HEADINGS[finding.severity]}**\n\n"
        yield heading + _item(finding), 1
        heading, before = "", finding.severity


def _item(finding: Finding) -> str:
    parts = [f"- {code(finding.rule)}: {prose(finding.message)}"]
    if finding.fix is not None:
        # What can be pasted stays in one piece.
        told = code if finding.fix.startswith("--") or "(" in finding.fix else prose
        parts.append(f"  Fix: {told(finding.fix, 500)}")
    if len(finding.keys) > _KEYS:
        parts.append(_folded(finding.keys))
    return "\n\n".join(parts) + "\n\n"


def _folded(keys: tuple[str, ...]) -> str:
    names = ", ".join(code(key, 60) for key in keys[:_MOST_KEYS])
    more = f" and {grouped(len(keys) - _MOST_KEYS)} more" if len(keys) > _MOST_KEYS else ""
    summary_line = f"  <details><summary>{plural(len(keys), 'name')}</summary>"
    # Markdown goes on inside HTML only after an empty line.
    return f"{summary_line}\n\n  {names}{more}\n\n  </details>"
