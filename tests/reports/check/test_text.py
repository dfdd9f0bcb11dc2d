from __future__ import annotations

import pytest

from ckptaudit.audit import Report, error
from ckptaudit.reports.check import FORMATS, render
from ckptaudit.reports.check.text import render as text
from tests.reports.check.made import SAMPLES, command, file, found, made, many, plain, raw_control, report

PAGE = """\
error    missing-keys  w/a.pt  2 keys are not in the file: out.weight, out.bias
         fix: --map 'output=out'
         why: ckptaudit explain missing-keys
warning  missing-keys  w/a.pt  odd
note     tied-weights  w/a.pt  tied
         why: ckptaudit explain tied-weights
w/a.pt  covers 98.5 % of the parameters of ref.lock (124,123 of 126,000; 472.1 of 480.0 KiB), \
148 of 150 tensors
error    short-file  w/c.pt  ends early
         why: ckptaudit explain short-file
2 errors, 1 warning, 1 note in 3 files (0.09 s). 1 accepted by the baseline.
1 file not audited: w/c.pt.
Picked of several state dicts: model in 1 file (PATH::NAME picks another).
Not looked at: odd-sum (use --deep, in 1 of 3 files), \
missing-keys (the file could not be read, in 1 of 3 files), values (no rule reads them yet).
"""


def last(found: Report) -> str:
    return text(found).splitlines()[-1]


def test_the_page() -> None:
    assert text(plain()) == PAGE


def test_a_clean_file_is_counted_and_no_more() -> None:
    first, second = text(report(file())).splitlines()
    assert first == "0 errors, 0 warnings, 0 notes in 1 file (0.00 s)."
    assert second == "Not looked at: values (no rule reads them yet)."


def test_colour_is_added_and_changes_nothing_else() -> None:
    coloured = text(plain(), colour=True)
    assert coloured.startswith("\x1b[1;31merror  \x1b[0m")
    for escape in ("\x1b[1;31m", "\x1b[33m", "\x1b[36m", "\x1b[0m"):
        assert escape in coloured
        coloured = coloured.replace(escape, "")
    assert coloured == PAGE


def test_a_group_is_named_for_all_of_its_rules() -> None:
    skipped = {
        "missing-keys": "use --against REF",
        "renamed-keys": "use --against REF",
        "odd-sum": "use --deep",
    }
    told = last(report(file(skipped=skipped), file("b.pt", skipped=skipped)))
    assert told == (
        "Not looked at: keys (use --against REF), odd-sum (use --deep), values (no rule reads them yet)."
    )


def test_rules_that_were_left_out() -> None:
    left_out = (made("a", "values"), made("b", "values"), made("unexpected-keys"))
    told = last(report(file(), left_out=left_out))
    assert told == "Not looked at: rules left out by --select/--ignore: unexpected-keys, values."


def test_nothing_is_left() -> None:
    assert last(report(file(), rules=(*plain().rules, made("a", "values")))).startswith(
        "Not looked at: nothing"
    )


def test_many_reasons_are_cut_and_counted() -> None:
    files = (file(f"{place}.pt", skipped={"odd-sum": f"because {place}"}) for place in range(100))
    told = last(report(*files))
    assert "92 more reasons" in told
    assert len(told) < 1000


def test_a_rule_is_explained_once() -> None:
    assert text(many(3, 4)).count("why: ") == 1


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("form", FORMATS)
def test_no_format_prints_what_a_terminal_or_a_log_obeys(form: str, name: str) -> None:
    page = render(form, SAMPLES[name])
    page.encode("utf-8")
    assert list(raw_control(page)) == []
    assert page.endswith("\n")
    assert page.strip()
    commands = [command(line) for line in page.splitlines()]
    if form == "github":
        assert all(parsed is None or parsed[0] in ("error", "warning", "notice") for parsed in commands)
    else:
        assert set(commands) <= {None}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_line_is_one_that_the_report_begins(name: str) -> None:
    found = SAMPLES[name]
    findings = [finding for file in found.files for finding in file.findings]
    lines = text(found).splitlines()
    begun = [line for line in lines if line.startswith(("error ", "warning ", "note "))]
    assert len(begun) >= len(findings)
    fixes = sum(finding.fix is not None for finding in findings)
    explained = len({finding.rule for finding in findings})
    covered = sum(file.coverage is not None for file in found.files)
    picked = any(file.picked is not None for file in found.files)
    unaudited = bool(found.not_audited)
    assert len(lines) == len(findings) + fixes + explained + covered + picked + unaudited + 2


def test_colour_is_for_text_alone() -> None:
    assert render("text", plain(), colour=True) != render("text", plain())
    assert render("json", plain(), colour=True) == render("json", plain())
    with pytest.raises(KeyError):
        render("../text", plain())


def test_a_line_of_a_file_cannot_pass_for_a_finding() -> None:
    page = text(report(file("a.pt", found(error("x\nerror  forged  b.pt  y")))))
    assert [line for line in page.splitlines() if line.startswith("error")] == [page.splitlines()[0]]
