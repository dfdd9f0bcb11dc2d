from __future__ import annotations

import pytest

from ckptaudit.audit import Severity, error, note, warning
from ckptaudit.reports.check.github import render
from ckptaudit.reports.check.wording import line
from tests.reports.check.made import HOSTILE, SAMPLES, command, file, found, hostile, many, plain, report


def commands(page: str) -> list[tuple[str, dict[str, str], str]]:
    return [parsed for parsed in map(command, page.splitlines()) if parsed is not None]


def test_the_parser_knows_commands() -> None:
    parsed = command("  ::error file=a%3Ab,title=x::100%25%0Adone")
    assert parsed == ("error", {"file": "a:b", "title": "x"}, "100%\ndone")
    assert command("see ##[warning]that") == ("warning", {}, "that")
    assert command("::unknown::x") is None
    assert command("a ::error::x") is None


def test_annotations() -> None:
    first, *others = commands(render(plain()))
    assert first == (
        "error",
        {"file": "w/a.pt", "title": "missing-keys"},
        "2 keys are not in the file: out.weight, out.bias\nFix: --map 'output=out'",
    )
    assert [name for name, _, _ in others] == ["error", "warning", "notice"]


def test_errors_come_first_whatever_the_file() -> None:
    page = render(
        report(file("a", found(note("x"))), file("b", found(warning("x"))), file("c", found(error("x"))))
    )
    assert [name for name, _, _ in commands(page)] == ["error", "warning", "notice"]


@pytest.mark.parametrize("name", SAMPLES)
def test_each_finding_is_one_command_and_nothing_else_is(name: str) -> None:
    findings = sorted(finding.severity for file in SAMPLES[name].files for finding in file.findings)
    names = [parsed[0] for parsed in commands(render(SAMPLES[name]))]
    levels = {"error": Severity.ERROR, "warning": Severity.WARNING, "notice": Severity.NOTE}
    assert sorted(levels[each] for each in names) == findings


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_the_runner_reads_what_was_meant(text: str) -> None:
    _, properties, data = commands(render(hostile(text)))[0]
    # The runner drops a property without a value.
    expected = {"file": line(text), "title": "missing-keys"}
    assert properties == {name: value for name, value in expected.items() if value}
    assert data == f"{line(f'the key {text} is missing')}\nFix: {line(text)}"


def test_what_github_does_not_show_is_counted() -> None:
    assert render(many(1, 11)).splitlines()[-1] == (
        "GitHub shows 10 annotations of a level and step, of 11 at level warning: see the log."
    )
    assert "GitHub shows" not in render(many(1, 10))
