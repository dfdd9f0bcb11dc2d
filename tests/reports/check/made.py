"""Reports put together by hand, plain ones and hostile ones, for the tests of every format."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from ckptaudit.audit import (
    Coverage,
    FileReport,
    Finding,
    Group,
    Report,
    Rule,
    Severity,
    error,
    note,
    warning,
)
from ckptaudit.model import Span
from tests.hostile.texts import NAMES

PAGE = (
    "{} is wrong, [see](1) {{0}}.\n\n## What it finds\nThe thing,\nin `x[0]`.\n\n## Why it matters\nIt does."
)

HOSTILE = {
    **NAMES,
    "CDATA end": "]]>",
    "comment": "--><!-- x",
    "mention": "@someone and someone@example.com",
    "image": "![x](http://evil.example/x.png)",
    "autolink": "<http://evil.example> http://evil.example www.evil.example",
    "reference": "#1 GH-1 owner/repo#1 deadbeef deadbeef12 1234567",
    "short code": ":smile: a:b:c",
    "old command": "##[error]x",
    "old command, twice": "###[add-mask]x ##[set-env name=a]b",
    "command": "::stop-commands::x",
    "indented command": "  ::error file=x::y",
    "properties": "x,line=1::y,title=z",
    "percent": "100%0Ax%25",
    "backticks": "`a``b```",
    "many backticks": "`" * 100,
    "escaped pipe": "a\\|b|c\\",
    "entity": "&lt;b&gt; &#64;x",
    "details": "</details></summary><b>",
    "absolute": "/abs/../olute/x.pt",
    "above": "../../x.pt",
    "drive": "C:\\x:y",
    "URI": "http://h/x?y#z",
    "member": "x.pt!y",
    "spaces": "  x   y  ",
    "heading": "# x",
    "table": "a | b\n--- | ---\nc | d",
    "emphasis": "*x* _y_ ~~z~~ \\",
    "JSON end": '"}],"x":[{"',
}


def made(name: str, group: Group = "keys", page: str | None = None) -> Rule:
    return Rule(name, group, lambda: iter(()), (), (), PAGE.format(name) if page is None else page)


RULES = (
    made("bad-call", "trust"),
    made("short-file", "integrity"),
    made("odd-sum", "integrity"),
    made("tied-weights", "structure"),
    made("missing-keys"),
    made("renamed-keys"),
)


def found(finding: Finding, rule: str = "missing-keys") -> Finding:
    return Finding(
        rule, finding.severity, finding.message, finding.keys, finding.span, finding.data, finding.fix
    )


COVERAGE = Coverage("ref.lock", 148, 150, 124_123, 126_000, 483_430, 491_520)


def file(path: str = "a.pt", *findings: Finding, **more: Any) -> FileReport:
    return FileReport(path, "torch-zip", more.pop("audited", True), findings, **more)


def report(*files: FileReport, **more: Any) -> Report:
    return Report(files, more.pop("rules", RULES), **more)


def plain() -> Report:
    """Findings of each severity in one file, a clean file, and one that could not be audited."""
    missing = error("2 keys are not in the file: out.weight, out.bias", ("out.weight", "out.bias"),
                    span=Span("w/a.pt", 5, 7), fix="--map 'output=out'")  # fmt: skip
    return report(
        file("w/a.pt", found(missing), found(warning("odd", ("x",))), found(note("tied"), "tied-weights"),
             picked="model", coverage=COVERAGE, accepted=(found(note("known", ("k",))),)),
        file("w/b.pt", skipped={"odd-sum": "use --deep"}),
        file("w/c.pt", found(error("ends early"), "short-file"), audited=False,
             skipped={"missing-keys": "the file could not be read"}),
        seconds=0.09,
    )  # fmt: skip


def hostile(name: str) -> Report:
    """A report in which every text that a file can choose is `name`."""
    finding: dict[str, Any] = {
        "keys": (name, f"{name}2", *(f"{name}{place}" for place in range(8))),
        "fix": name,
        "data": {name: name, "details": [name], "number": float("nan"), "large": 10**5000},
        "span": Span(name, -5, 10**30),
    }
    return report(
        file(name, found(error(f"the key {name} is missing", **finding)), found(warning(name), "bad-call"),
             skipped={"odd-sum": name, "short-file": f"use {name}"}, picked=name, audited=False,
             coverage=Coverage(name, 1, 2, 3, 4, 5, 6), to_allow=(name,), refusals=(name,),
             accepted=(found(note(name, (name,), fix=name)),)),
        file(f"{name}2", found(note(name)), skipped={"odd-sum": f"{name}2"}),
    )  # fmt: skip


def many(files: int, findings: int, severity: Severity = Severity.WARNING) -> Report:
    one = [Finding("missing-keys", severity, f"thing {place}", (f"k.{place}",)) for place in range(findings)]
    return report(*(file(f"{place}.pt", *one) for place in range(files)))


def empty() -> Report:
    return report(rules=())


SAMPLES: dict[str, Report] = {
    "plain": plain(),
    "empty": empty(),
    "clean": report(file()),
    "many": many(30, 15),
    **{f"hostile: {name}": hostile(text) for name, text in HOSTILE.items()},
}


def raw_control(page: str) -> Iterator[str]:
    """Characters of `page`, line ends aside, that a terminal could obey or nobody sees."""
    return (char for char in page if char != "\n" and unicodedata.category(char)[0] == "C")


# The commands that the runner registers (actions/runner, ActionCommandManager.cs and its extensions).
REGISTERED = {
    "add-mask", "add-matcher", "add-path", "debug", "echo", "endgroup", "error", "group", "notice",
    "remove-matcher", "save-state", "set-env", "set-output", "stop-commands", "warning",
}  # fmt: skip


def command(text: str) -> tuple[str, dict[str, str], str] | None:
    """The command in a line of a log, by the rules of GitHub's runner (ActionCommand.cs)."""
    text = text.lstrip()
    if text.startswith("::") and (end := text.find("::", 2)) >= 0:
        name, _, properties = text[2:end].partition(" ")
        if name in REGISTERED:
            pairs = [pair.split("=", 1) for pair in properties.strip().split(",")]
            known = {pair[0]: unescape(pair[1], ":,") for pair in pairs if len(pair) == 2 and pair[1]}
            return name, known, unescape(text[end + 2 :])
    old = re.search(r"##\[([^\] ]*)[^\]]*\](.*)", text)
    return (old[1], {}, old[2]) if old and old[1] in REGISTERED else None


def unescape(text: str, more: str = "") -> str:
    for char in f"\r\n{more}%":
        text = text.replace(f"%{ord(char):02X}", char)
    return text
