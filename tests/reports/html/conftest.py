from __future__ import annotations

from collections.abc import Iterator

import pytest

DRAWING = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><g id="x"><text>drawn</text></g></svg>"""


@pytest.fixture(scope="module")
def drawing() -> Iterator[None]:
    """Let every diagram be the same small one: to draw them takes long, and is tested elsewhere."""
    from ckptaudit.reports.html.svg import embedded

    with pytest.MonkeyPatch.context() as patch:
        drawn = lambda part: (embedded(DRAWING, "#", part.prefix), "a test")  # noqa: E731
        patch.setattr("ckptaudit.reports.html.drawing._drawn", drawn)
        yield
