from __future__ import annotations

import pytest

from ckptaudit.reports.html.part import Part
from ckptaudit.reports.html.svg import embedded

DRAWING = (
    b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><g id="x"><text>drawn</text></g></svg>"""
)


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every diagram be the same small one: to draw them takes long, and is tested elsewhere."""

    def drawn(part: Part) -> tuple[str, str]:
        return embedded(DRAWING, "#", part.prefix), "a test"

    monkeypatch.setattr("ckptaudit.reports.html.drawing._drawn", drawn)
