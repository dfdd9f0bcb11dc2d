"""SARIF 2.1.0, for code scanning: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html.

Section numbers in comments are those of that document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from os import fsencode
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from ckptaudit.audit import FileReport, Finding, Report, Rule
from ckptaudit.model import Span
from ckptaudit.reports.check.entries import Entry, entries
from ckptaudit.reports.check.markup import code, prose
from ckptaudit.reports.check.wording import line, not_looked_at, share, skips
from ckptaudit.reports.jsontext import dumps

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_KEYS = 100
_LARGEST = 2**63 - 1

_Json = dict[str, Any]


def render(report: Report) -> str:
    """The log file, a result a line."""
    tool = dumps({"driver": _driver(report)})
    results = ",\n".join(_results(report))
    run = (
        f'"tool": {tool}',
        f'"invocations": {dumps([_invocation(report)])}',
        f'"artifacts": {dumps(_artifacts(report))}',
        f'"results": [\n{results}\n]',
    )
    body = ",\n".join(run)
    return f'{{"$schema": {dumps(_SCHEMA)}, "version": "2.1.0", "runs": [{{\n{body}\n}}]}}\n'


def _driver(report: Report) -> _Json:
    return {"name": "ckptaudit", **_version(), "rules": [_rule(rule) for rule in report.rules]}


def _version() -> _Json:
    # Slow to import, and asked for by this format alone.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return {"version": version("ckptaudit")}
    except PackageNotFoundError:  # run from its sources
        return {}


def _rule(rule: Rule) -> _Json:
    return {
        "id": rule.name,
        "name": "".join(part.capitalize() for part in rule.name.split("-")),
        "shortDescription": {"text": _literal(rule.summary)},
        "fullDescription": {"text": _literal(_description(rule))},
        "help": {"text": _literal(rule.page), "markdown": _braces(rule.page)},
        "properties": {"tags": [rule.group]},
    }


def _description(rule: Rule) -> str:
    """The first line of the page with the first of its sections, without the heading."""
    section = rule.page.partition("\n## ")[2].partition("\n## ")[0]
    return " ".join((rule.summary, *section.partition("\n")[2].split()))


def _results(report: Report) -> Iterator[str]:
    places = {rule.name: place for place, rule in enumerate(report.rules)}
    for file in report.files:
        for entry in entries(file):
            yield dumps(_result(entry, file, places))


def _result(entry: Entry, file: FileReport, places: Mapping[str, int]) -> _Json:
    finding = entry.finding
    result: _Json = {
        "ruleId": finding.rule,
        "level": str(finding.severity),
        "message": _message(finding),
        "locations": [_location(file, finding)],
        "partialFingerprints": {"ckptaudit/v1": entry.fingerprint},
    }
    if finding.rule in places:
        result["ruleIndex"] = places[finding.rule]
    if finding.fix is not None:
        result["properties"] = {"fix": line(finding.fix)}
    if entry.accepted:
        result["suppressions"] = [{"kind": "external", "justification": "accepted by the baseline"}]
    return result


def _message(finding: Finding) -> _Json:
    """As text what is wrong; as Markdown, which not every viewer shows (3.11.4), what to do too."""
    fix = "" if finding.fix is None else f"\n\nFix: {code(finding.fix, 500)}"
    return {
        "text": _literal(line(finding.message)),
        "markdown": _braces(f"{prose(finding.message)}{fix}"),
    }


def _literal(text: str) -> str:
    """A plain text message that means itself.

    `[text](target)` is a link there (3.11.6), with backslashes that not every viewer knows: a space between
    the two means no link to any.
    """
    return _braces(text.replace("](", "] ("))


def _braces(text: str) -> str:
    """`{0}` is a placeholder, in plain text and Markdown: a brace is written twice (3.11.5)."""
    return text.replace("{", "{{").replace("}", "}}")


def _location(file: FileReport, finding: Finding) -> _Json:
    names = dict.fromkeys(line(key) for key in islice(finding.keys, _KEYS))
    # An array of logical locations has no two alike (3.28.4).
    logical = [{"fullyQualifiedName": name, "kind": "member"} for name in names]
    physical = _physical(file, finding.span)
    return {"physicalLocation": physical, **({"logicalLocations": logical} if logical else {})}


def _physical(file: FileReport, span: Span | None) -> _Json:
    """The file, or the one of its files that the span lies in. `path!member` is none: what is packed in
    a file has no place in it that a byte offset could name."""
    if span is None or (span.file != file.path and "!" in span.file.removeprefix(file.path)):
        return {"artifactLocation": _artifact(file.path)}
    # A binary region (3.30.3); what a hostile file says of itself can be any number.
    region = {"byteOffset": _clamp(span.start), "byteLength": _clamp(span.nbytes)}
    return {"artifactLocation": _artifact(span.file), "region": region}


def _clamp(number: int) -> int:
    return min(max(number, 0), _LARGEST)


def _artifact(path: str) -> _Json:
    """A file by its URI (3.4.3): relative to the root of the sources where it can lie below that."""
    pure = PurePath(path)
    uri = quote(_encoded(pure.as_posix()), safe="/")
    if pure.is_absolute():
        return {"uri": f"file://{'' if uri.startswith('/') else '/'}{uri}"}
    return {"uri": uri} if ".." in pure.parts else {"uri": uri, "uriBaseId": "%SRCROOT%"}


def _encoded(path: str) -> bytes:
    try:
        return fsencode(path)  # the bytes that the name has on the disk
    except UnicodeEncodeError:
        return path.encode("utf-8", "surrogatepass")


def _artifacts(report: Report) -> list[_Json]:
    """Every file that was looked at, once: those without a result too."""
    paths = dict.fromkeys(file.path for file in report.files)
    found = {artifact["uri"]: artifact for artifact in map(_artifact, paths)}
    return [{"location": artifact, "roles": ["analysisTarget"]} for artifact in found.values()]


def _invocation(report: Report) -> _Json:
    # What was not audited, and which rules did not run, are conditions of the run (3.20.21); which rules were
    # chosen is one of its configuration (3.20.22).
    return {
        "executionSuccessful": not report.not_audited,
        "exitCode": report.exit_code,
        "toolExecutionNotifications": [*_unaudited(report), *_skipped(report)],
        "toolConfigurationNotifications": [_notification("note", not_looked_at(report))],
    }


def _unaudited(report: Report) -> Iterator[_Json]:
    for file in report.not_audited:
        told = _notification("error", f"{line(file.path)}: something in it could not be looked at")
        yield {**told, "locations": [{"physicalLocation": _physical(file, None)}]}


def _skipped(report: Report) -> Iterator[_Json]:
    places = {rule.name: place for place, rule in enumerate(report.rules)}
    for (name, reason), files in skips(report).items():
        where = share(files, report)
        told = _notification("note", f"{name} was skipped{where and f' {where}'}: {line(reason)}")
        index = {"index": places[name]} if name in places else {}
        yield {**told, "associatedRule": {"id": name, **index}}


def _notification(level: str, text: str) -> _Json:
    return {"level": level, "message": {"text": _literal(text)}}
