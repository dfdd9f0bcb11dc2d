"""JUnit's XML, as test reporters read it: a suite a file, a case a rule that found something or was skipped.

The layout is the common one of https://github.com/testmoapp/junitxml. Suites and cases have no time: that
of the whole call is all that is known. All is ASCII, so that any encoding of the output is the right one.
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import FileReport, Finding, Report, Severity
from ckptaudit.reports.check.wording import coverage, line
from ckptaudit.text import plural

# Beyond markup, quotes: the same text goes into attributes.
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"})
_COUNTS = ("tests", "failures", "errors", "skipped")

_Counted = tuple[int, int, int, int]


def render(report: Report) -> str:
    """The document: findings at or above `fail_on` are failures, those below are told and pass."""
    suites = [_suite(file, report.fail_on) for file in report.files]
    whole = [sum(column) for column in zip(*(counted for counted, _ in suites), strict=True)] or [0] * 4
    opening = f'<testsuites name="ckptaudit" {_attributes(*whole)} time="{report.seconds:.3f}">'
    lines = (opening, *(text for _, text in suites), "</testsuites>", "")
    document = '<?xml version="1.0" encoding="UTF-8"?>\n' + "\n".join(lines)
    return document.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _suite(file: FileReport, fail_on: Severity) -> tuple[_Counted, str]:
    found: dict[str, list[Finding]] = {}
    for finding in file.findings:
        found.setdefault(finding.rule, []).append(finding)
    failures = sum(any(each.severity >= fail_on for each in findings) for findings in found.values())
    counted = 1 + len(found) + len(file.skipped), failures, int(not file.audited), len(file.skipped)
    cases = (
        _case("audited", file, [] if file.audited else [_NOT_AUDITED]),
        *(_case(rule, file, list(_told(findings, fail_on))) for rule, findings in found.items()),
        *(_case(rule, file, [_element("skipped", reason)]) for rule, reason in file.skipped.items()),
    )
    lines = (
        f'<testsuite name="{_xml(file.path)}" {_attributes(*counted)}>',
        *_properties(file),
        *cases,
        "</testsuite>",
    )
    return counted, "\n".join(lines)


def _attributes(*counted: int) -> str:
    return " ".join(f'{name}="{number}"' for name, number in zip(_COUNTS, counted, strict=True))


def _properties(file: FileReport) -> Iterator[str]:
    known = {
        "coverage": coverage(file.coverage) if file.coverage is not None else "",
        "picked": file.picked or "",
        "accepted by the baseline": str(len(file.accepted) or ""),
    }
    rows = [f'<property name="{name}" value="{_xml(text)}"/>' for name, text in known.items() if text]
    if rows:
        yield f"<properties>{''.join(rows)}</properties>"


def _case(name: str, file: FileReport, inside: list[str]) -> str:
    opening = f'<testcase name="{_xml(name)}" classname="{_xml(file.path)}"'
    return f"{opening}>{''.join(inside)}</testcase>" if inside else f"{opening}/>"


def _told(findings: list[Finding], fail_on: Severity) -> Iterator[str]:
    """One failure for what fails the rule, as readers take no more of them, and the rest as output."""
    failing = [finding for finding in findings if finding.severity >= fail_on]
    if failing:
        more = f" (and {plural(len(failing) - 1, 'more finding')})" if len(failing) > 1 else ""
        kind = f' type="{failing[0].severity!s}"'
        yield _element("failure", f"{failing[0].message}{more}", kind, _body(failing))
    passing = [finding for finding in findings if finding.severity < fail_on]
    if passing:
        yield f"<system-out>{_body(passing)}</system-out>"


def _element(name: str, message: str, attributes: str = "", body: str = "") -> str:
    opening = f'<{name} message="{_xml(message)}"{attributes}'
    return f"{opening}>{body}</{name}>" if body else f"{opening}/>"


def _body(findings: list[Finding]) -> str:
    lines = []
    for finding in findings:
        lines.append(f"{finding.severity!s}: {_xml(finding.message)}")
        if finding.fix is not None:
            lines.append(f"fix: {_xml(finding.fix)}")
    return "\n".join(lines)


def _xml(text: str) -> str:
    # What is printable to Python is a character to XML 1.0 (section 2.2); all else `line` has escaped.
    return line(text).translate(_ESCAPES)


_NOT_AUDITED = _element("error", "something in this file could not be looked at: see its findings")
