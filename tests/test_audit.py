from __future__ import annotations

from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace

import pytest

from ckptaudit.audit import (
    Facts,
    FileReport,
    Finding,
    Report,
    Severity,
    audit,
    error,
    note,
    rule,
    told,
    warning,
)
from ckptaudit.model import Problem, Span
from tests.handmade import checkpoint


@rule("keys")
def small_thing(number: int) -> Iterator[Finding]:
    """The number is small.

    ## What it finds
    Small numbers.
    """
    if number < 3:
        yield note("small")
    if number < 0:
        yield error("negative", ["a"])


@rule("trust")
def wanted_thing(number: int, word: str = "none") -> Iterator[Finding]:
    """There is a word."""
    yield warning(f"{word} {number}")


RULES = (small_thing, wanted_thing)


def test_a_rule_is_its_function() -> None:
    assert (small_thing.name, small_thing.group, small_thing.summary) == (
        "small-thing",
        "keys",
        "The number is small.",
    )
    assert (small_thing.needs, small_thing.wants) == (("number",), ())
    assert (wanted_thing.needs, wanted_thing.wants) == (("number",), ("word",))
    assert small_thing.page.endswith("## What it finds\nSmall numbers.")
    with pytest.raises(FrozenInstanceError):
        small_thing.name = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("known", "found", "skipped"),
    [
        ({"number": 5}, [("wanted-thing", "none 5")], {}),
        ({"number": 1, "word": "one"}, [("wanted-thing", "one 1"), ("small-thing", "small")], {}),
        (
            {"number": -1},
            [("small-thing", "negative"), ("wanted-thing", "none -1"), ("small-thing", "small")],
            {},
        ),
        ({"word": "x"}, [], dict.fromkeys(("small-thing", "wanted-thing"), "it was too late")),
    ],
)
def test_worst_first_and_silence_is_no_pass(
    known: dict[str, object], found: list[tuple[str, str]], skipped: dict[str, str]
) -> None:
    findings, left = audit(RULES, Facts(known, {"number": "it was too late"}))
    assert [(each.rule, each.message) for each in findings] == found
    assert left == skipped
    assert not known.get("number") or [each.severity for each in findings] == sorted(
        (each.severity for each in findings), reverse=True
    )


def test_a_fact_that_nobody_gathers_is_told() -> None:
    assert audit(RULES, Facts({}))[1]["small-thing"] == "number was not gathered"


def test_notes_of_a_reader_that_differ_in_names_only_are_one() -> None:
    problems = [
        Problem("odd", f"member 'a{n}' has {n} bytes too many", Span("f", n, 1), keys=(f"a{n}",))
        for n in range(3)
    ]
    made = replace(
        checkpoint({}), problems=(*problems, Problem("odd", "something else"), Problem("other", "x"))
    )
    first, second = told(made, "odd", Severity.WARNING, fix="save again")
    assert first.message == "member 'a0' has 0 bytes too many; and 2 more like it"
    assert (first.keys, first.span, first.fix) == (("a0", "a1", "a2"), Span("f", 0, 1), "save again")
    assert first.data["count"] == 3
    assert (second.message, second.data) == ("something else", {})


def report(*severities: Severity, audited: bool = True) -> FileReport:
    return FileReport("x", None, audited, tuple(Finding("r", each, "m") for each in severities))


@pytest.mark.parametrize(
    ("files", "fail_on", "code"),
    [
        ([], Severity.NOTE, 0),
        ([report()], Severity.NOTE, 0),
        ([report(Severity.NOTE)], Severity.WARNING, 0),
        ([report(Severity.NOTE)], Severity.NOTE, 1),
        ([report(Severity.WARNING)], Severity.ERROR, 0),
        ([report(), report(Severity.ERROR)], Severity.ERROR, 1),
        ([report(audited=False)], Severity.ERROR, 3),
        ([report(Severity.ERROR), report(audited=False)], Severity.ERROR, 3),
    ],
)
def test_exit_codes(files: list[FileReport], fail_on: Severity, code: int) -> None:
    made = Report(tuple(files), RULES, fail_on=fail_on)
    assert made.exit_code == code
    assert made.count(Severity.ERROR) == sum(
        len(f.findings) for f in files if Severity.ERROR in [x.severity for x in f.findings]
    )


def test_accepted_findings_do_not_fail() -> None:
    accepted = replace(report(), accepted=report(Severity.ERROR).findings)
    assert Report((accepted,), RULES).exit_code == 0


def test_fingerprints_of_findings_that_read_alike_differ() -> None:
    file = report(Severity.ERROR, Severity.ERROR, Severity.NOTE)
    marks = list(file.fingerprints(file.findings))
    assert len(set(marks)) == 3
    assert all(len(mark) == 32 for mark in marks)
    assert list(file.fingerprints(file.findings[:1])) == marks[:1]
