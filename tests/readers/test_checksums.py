from __future__ import annotations

import os
import shutil
import zipfile
import zlib
from pathlib import Path

import pytest

from ckptaudit.errors import AccessError
from ckptaudit.gate import check
from ckptaudit.limits import Limits
from ckptaudit.model import Checkpoint, Span
from ckptaudit.readers import read
from ckptaudit.readers.checksums import Checksums, compare

FIXTURES = Path(__file__).parents[2] / "fixtures"


def compared(*paths: Path) -> Checksums | None:
    files = tuple(Span(str(path), 0, path.stat().st_size) for path in paths)
    return compare(Checkpoint("x", "", files, {}, {}), Limits())


def archive(path: Path, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as out:
        out.writestr("a/empty", b"")
        out.writestr("a/zeros", bytes(3 * 2**20))
        out.writestr("a/noise", os.urandom(5000))
    return path


def damaged(path: Path) -> tuple[str, ...]:
    names = []
    with zipfile.ZipFile(path) as whole:
        for name in whole.namelist():
            try:
                whole.read(name)
            except (zipfile.BadZipFile, zlib.error):
                names.append(name)
    return tuple(names)


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.pt")), ids=lambda path: path.name)
def test_fixtures_are_as_zipfile_says(path: Path) -> None:
    found = compared(path)
    if not zipfile.is_zipfile(path):
        assert found is None
        return
    with zipfile.ZipFile(path) as whole:
        assert whole.testzip() is None
        assert found == Checksums(len(whole.namelist()), (), 0)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_flipped_bit(tmp_path: Path, method: int) -> None:
    path = archive(tmp_path / "x", method)
    with zipfile.ZipFile(path) as whole:
        places = [(info.filename, info.header_offset + 30 + len(info.filename), info.compress_size)
                  for info in whole.infolist() if info.compress_size > 2]  # fmt: skip
    data = path.read_bytes()
    for name, start, size in places:
        at = start + size // 2
        path.write_bytes(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :])
        found = compared(path)
        assert found is not None
        assert found.wrong == damaged(path)
        assert not found.wrong or found.wrong == (name,)
    assert found.wrong == ("a/noise",)


def test_a_member_that_inflates_to_more_than_it_says(tmp_path: Path) -> None:
    path = archive(tmp_path / "x", zipfile.ZIP_DEFLATED)
    data = path.read_bytes()
    path.write_bytes(data.replace((3 * 2**20).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    found = compared(path)
    assert found is not None
    assert found.wrong == ("a/zeros",)


def test_what_cannot_be_inflated_here_is_not_called_wrong(tmp_path: Path) -> None:
    assert compared(archive(tmp_path / "x", zipfile.ZIP_BZIP2)) == Checksums(0, (), 0)


def test_saved_without_checksums(tmp_path: Path) -> None:
    path = archive(tmp_path / "x")
    with zipfile.ZipFile(path) as whole:
        sums = [info.CRC.to_bytes(4, "little") for info in whole.infolist() if info.CRC]
    data = path.read_bytes()
    for each in sums:
        data = data.replace(each, bytes(4))
    path.write_bytes(data)
    assert compared(path) == Checksums(3, (), 2)


def test_all_files_of_a_checkpoint_each_once(tmp_path: Path) -> None:
    one, two = archive(tmp_path / "1"), archive(tmp_path / "2")
    (tmp_path / "x").write_bytes(b"{}")
    found = compared(one, tmp_path / "x", two, one)
    assert found is not None
    assert found.checked == 6


def test_a_file_that_has_gone(tmp_path: Path) -> None:
    path = shutil.copy(FIXTURES / "mlp_out.pt", tmp_path / "x.pt")
    found = read(path)
    os.remove(path)
    with pytest.raises(AccessError):
        compare(found, Limits())


def test_only_where_it_is_asked_for() -> None:
    path = str(FIXTURES / "mlp_out.pt")
    assert check(path).files[0].skipped["checksum-mismatch"] == "use --deep"
    assert "checksum-mismatch" not in check(path, deep=True).files[0].skipped
    safetensors = check(str(FIXTURES / "mlp.safetensors"), deep=True).files[0]
    assert safetensors.skipped["checksum-mismatch"] == "its format has no checksums"
