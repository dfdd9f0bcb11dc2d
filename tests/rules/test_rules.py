"""Every rule fires on its bad files and is silent on its good ones; and no rule is without any of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckptaudit import rules
from ckptaudit.audit import GROUPS, Rule
from ckptaudit.gate import check
from tests.rules import integrity, keys, structure, trust
from tests.rules.case import Case

ROOT = Path(__file__).parents[2]
CASES = (*trust.CASES, *integrity.CASES, *structure.CASES, *keys.CASES)
SECTIONS = ("What it finds", "Why it matters", "Example", "What to do")
# An internal error cannot be had from a file: test_pipeline.py makes one.
NO_FILE = {"internal-error"}


def _options(case: Case, folder: Path) -> dict[str, Any]:
    """The options of a case; a reference without a folder lies beside the file."""
    against = case.options.get("against", "")
    beside = against and ":" not in against and "/" not in against
    return {**case.options, "against": str(folder / against)} if beside else dict(case.options)


def _of(kind: str) -> list[Any]:
    return [pytest.param(case, id=case.id) for case in CASES if case.kind == kind]


@pytest.mark.parametrize("case", _of("bad"))
def test_a_bad_file_fires_the_rule(case: Case, tmp_path: Path) -> None:
    path = case.build(tmp_path)
    report = check(str(path), select=[case.rule], **_options(case, tmp_path))
    found = report.files[0].findings
    assert {finding.rule for finding in found} == {case.rule}, report.files[0].skipped
    words = [f"{finding.severity} {finding.message}" for finding in found]
    assert any(all(part in line for part in (case.level, *case.says)) for line in words), words


@pytest.mark.parametrize("case", _of("good"))
def test_a_good_file_leaves_the_rule_silent(case: Case, tmp_path: Path) -> None:
    path = case.build(tmp_path)
    report = check(str(path), select=[case.rule], **_options(case, tmp_path))
    assert report.files[0].findings == ()
    assert report.files[0].skipped == {}  # silence of a rule that did not run would prove nothing


def test_names_are_unique() -> None:
    assert len({case.id for case in CASES}) == len(CASES)


def _without_case(kind: str) -> Callable[[Rule], str]:
    names = {case.rule for case in CASES if case.kind == kind} | NO_FILE
    return lambda rule: "" if rule.name in names else f"no {kind} file"


def _page(rule: Rule) -> str:
    headings = tuple(re.findall(r"^## (.*)$", rule.page, re.MULTILINE))
    empty = [title for title in headings if re.search(rf"^## {title}\n\s*(##|\Z)", rule.page, re.MULTILINE)]
    first = rule.summary
    if headings != SECTIONS or empty:
        return f"its page has the sections {headings}, and {empty} are empty"
    return "" if first.endswith(".") and len(first) <= 110 else f"its first line is {first!r}"


def _readme_row(rule: Rule) -> str:
    row = f"| `{rule.name}` | {rule.summary} |"
    return "" if row in (ROOT / "README.md").read_text(encoding="utf-8") else f"no row in README.md: {row}"


def _name(rule: Rule) -> str:
    fits = re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.name) and rule.group in GROUPS
    return "" if fits else "its name is not in kebab-case, or its group is none"


@pytest.mark.parametrize(
    "check_rule", [_without_case("bad"), _without_case("good"), _page, _readme_row, _name],
    ids=["bad", "good", "page", "readme", "name"],
)  # fmt: skip
def test_nothing_was_forgotten(check_rule: Callable[[Rule], str]) -> None:
    assert [f"{rule.name}: {wrong}" for rule in rules.load() if (wrong := check_rule(rule))] == []


def test_every_file_is_a_rule_and_every_rule_a_file() -> None:
    files = {file.stem.replace("_", "-") for file in (ROOT / "ckptaudit" / "rules").glob("*.py")}
    assert files - {"--init--"} == set(rules.RULES)
    assert [rule.name for rule in rules.load()] == list(rules.RULES)


def test_every_problem_that_a_reader_notes_has_a_rule() -> None:
    source = "\n".join(
        file.read_text(encoding="utf-8")
        for folder in ("ckptaudit/readers", "ckptaudit/errors.py", "ckptaudit/pipeline.py")
        for file in ([ROOT / folder] if folder.endswith(".py") else (ROOT / folder).rglob("*.py"))
    )
    noted = set(
        re.findall(r"(?:problem|Problem|faults\.add|_nothing)\(\s*(?:\w+, )?\"([a-z]+(?:-[a-z]+)+)\"", source)
    )
    noted |= set(re.findall(r"code(?:: ClassVar\[str\])? = \"([a-z]+(?:-[a-z]+)+)\"", source))
    assert len(noted) > 15
    assert noted <= set(rules.RULES)
