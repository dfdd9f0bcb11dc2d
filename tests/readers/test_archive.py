"""Which member of an archive counts where two go by one name: the one that torch takes."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import pytest

from ckptaudit.limits import Limits
from ckptaudit.readers import read
from tests.hostile import assemble as a

FIRST = a.whole(a.items(a.text("first"), a.NONE))
SECOND = a.whole(a.items(a.text("second"), a.NONE))


def _archive(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there already
        for name, data in (*members, ("x/version", b"3\n")):
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    "members",
    [
        (("x/DATA.PKL", FIRST), ("x/data.pkl", SECOND)),
        (("x/data.pkl", FIRST), ("x/DATA.PKL", SECOND)),
        (("x/data.pkl", FIRST), ("x/data.pkl", SECOND)),
    ],
)
def test_the_first_of_two_names_counts(tmp_path: Path, members: tuple[tuple[str, bytes], ...]) -> None:
    path = _archive(tmp_path / "x.pt", *members)
    checkpoint = read(path)
    assert list(checkpoint.extras) == [("first",)]
    assert "ambiguous-format" in {problem.code for problem in checkpoint.problems}
    torch = pytest.importorskip("torch", reason="the oracle is torch itself")
    assert list(torch.load(path)) == ["first"]


def test_the_second_of_two_names_is_looked_into(tmp_path: Path) -> None:
    payload = a.whole(a.call(a.name("posix", "system"), a.text("id")))
    checkpoint = read(_archive(tmp_path / "x.pt", ("x/data.pkl", FIRST), ("x/data.pkl", payload)))
    assert ("posix", "system", True) in [(ref.module, ref.name, ref.called) for ref in checkpoint.globals]


@pytest.mark.parametrize(("objects", "code"), [(20, "limit-reached"), (1000, "hidden-pickle")])
def test_where_a_limit_stops_reading_storages_are_no_strays(tmp_path: Path, objects: int, code: str) -> None:
    long = a.whole(a.items(*[a.text("word")] * 100))
    bytes_of_a_tensor = b"cos\nsystem\n(S'true'\ntR."
    path = _archive(tmp_path / "x.pt", ("x/data.pkl", long), ("x/data/0", bytes_of_a_tensor))
    found = read(str(path), Limits(objects=objects)).problems
    assert {problem.code for problem in found} == {code}
