"""A page on every hostile, broken and scary file: whatever is in them, nothing in it can run or load."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptaudit.errors import CkptAuditError
from ckptaudit.locate import read_at
from tests.hostile.corpus import CASES
from tests.reports.html.reading import assert_inert

pytest.importorskip("jinja2", reason="the page is made with jinja2")

from ckptaudit.reports.html.page import inspected, refused
from ckptaudit.reports.html.part import View


def test_every_page_is_inert(tmp_path: Path, drawing: None) -> None:
    shown = 0
    for number, case in enumerate(case for case in CASES if case.kind != "exhaustion"):
        place = tmp_path / str(number)
        place.mkdir()
        path = str(case.build(place))
        try:
            page = inspected(read_at(path), View())
            shown += 1
        except CkptAuditError as error:
            page = refused(path, str(error))
        assert_inert(page)
    assert shown > 100
