"""The gate on whole corpora: every payload is an error with a named reason, no honest file is shouted at."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptaudit.audit import FileReport, Severity
from ckptaudit.gate import check
from tests.hostile.case import Case
from tests.hostile.corpus import CASES

FIXTURES = Path(__file__).parent.parent / "fixtures"
TRUST = ("trust", "integrity")
# Rules that tell of whole modules and unknown classes: honest files too, at a level of their own.
OWN_LEVEL = {"needs-code", "unknown-global"}
# A pointer is no weights; the meta tensors are honest, but there is nothing in them.
NOT_WEIGHTS = {"lfs_pointer.pt"}
CHECKPOINTS = sorted(
    path
    for path in FIXTURES.iterdir()
    if path.is_file() and path.suffix != ".py" and path.name not in NOT_WEIGHTS
)


def _of(*kinds: str) -> list[object]:
    return [pytest.param(case, id=case.name) for case in CASES if case.kind in kinds]


def _audited(path: Path) -> FileReport:
    return check(str(path), select=TRUST).files[0]


@pytest.mark.parametrize("case", _of("payload"))
def test_every_payload_is_an_error_with_a_named_reason(case: Case, tmp_path: Path) -> None:
    report = _audited(case.build(tmp_path))
    errors = [finding for finding in report.findings if finding.severity == Severity.ERROR]
    assert {finding.rule for finding in errors} & {"dangerous-global", "unknown-global"}, report.findings


@pytest.mark.parametrize("case", _of("honest"))
def test_no_honest_file_of_the_corpus_is_shouted_at(case: Case, tmp_path: Path) -> None:
    loud = [
        finding for finding in _audited(case.build(tmp_path)).findings if finding.severity > Severity.NOTE
    ]
    assert {finding.rule for finding in loud} <= OWN_LEVEL


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.name)
def test_no_fixture_is_shouted_at(path: Path) -> None:
    report = _audited(path)
    assert report.audited
    loud = {finding.rule: finding.severity for finding in report.findings if finding.severity > Severity.NOTE}
    assert loud.keys() <= OWN_LEVEL
    assert Severity.ERROR not in loud.values()


@pytest.mark.parametrize("case", _of("broken", "lies"))
def test_what_is_broken_does_not_pass(case: Case, tmp_path: Path) -> None:
    report = _audited(case.build(tmp_path))
    assert not report.audited or any(finding.severity > Severity.NOTE for finding in report.findings)
