"""What goes wrong in one file stays with that file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ckptaudit import pipeline
from ckptaudit.gate import check

MLP = str(Path(__file__).parent.parent / "fixtures" / "mlp.params")


@pytest.mark.parametrize("stage", ["read_at", "gather"])
def test_a_bug_of_ours_is_a_finding_and_stops_no_other_file(
    monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    real = getattr(pipeline, stage)
    failed: list[object] = []

    def break_once(*args: Any) -> Any:
        if not failed:
            failed.append(args)
            raise KeyError("x")
        return real(*args)

    monkeypatch.setattr(pipeline, stage, break_once)
    other = str(Path(MLP).with_name("shared.pt"))
    broken, whole = check(MLP, other).files
    assert [finding.rule for finding in broken.findings] == ["internal-error"]
    assert "KeyError: 'x'" in broken.findings[0].message
    assert (broken.audited, whole.audited) == (False, True)
    assert broken.skipped["dangerous-global"] == "the file could not be read"
