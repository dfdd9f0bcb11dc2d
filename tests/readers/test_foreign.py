"""Files that are no checkpoint: each is named for what it is, made where possible by its own writer."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptaudit.errors import CkptAuditError, NotFetchedError, UnreadableError, UnsupportedFormatError
from ckptaudit.limits import Limits
from ckptaudit.readers import foreign
from ckptaudit.readers.probe import Probe
from ckptaudit.source import LocalFile

SHA = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{SHA}\nsize 12345\n".encode()


def probed(path: Path, content: bytes, look: Callable[[Probe], object]) -> object:
    path.write_bytes(content)
    with LocalFile(str(path)) as source:
        return look(Probe(source, Limits()))


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 10)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("readme"), io.BytesIO())
    return buffer.getvalue()


KNOWN = {
    "GGUF": b"GGUF\3\0\0\0" + b"\0" * 16,
    "GGML": b"tjgg\3\0\0\0",
    "HDF5": b"\x89HDF\r\n\x1a\n\0\0",
    "TensorFlow Lite": b"\x1c\0\0\0TFL3\x14\0",
    # ModelProto: ir_version 8, producer_name "pytorch"; the same without a producer
    "an ONNX model": b"\x08\x08\x12\x07pytorch\x1a\x032.0\x3a\x10",
    "an ONNX": b"\x08\x07\x3a\x10\x0a\x02",
    "SavedModel": b"\x08\x01\x12\xd0\x8f\x01\x0a\x20",
    "Core ML model": b"\x08\x05\x12\x1a\x0a\x18",
    "HTML": b"\n<!DOCTYPE html><html><body>404</body></html>",
    "an HTML page": b"<!-- saved -->\n<HTML lang='en'>",
    "XML": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "JSON": b'{"architectures": ["BertModel"]}',
    "YAML": b"# config\nmodel:\n  layers: 3\n",
    "plain text": "Not Found — sorry".encode(),
    "gzip": gzip.compress(b"x"),
    "bzip2": bz2.compress(b"x"),
    "xz": lzma.compress(b"x"),
    "zstd": b"\x28\xb5\x2f\xfd\x04\0",
    "7z": b"7z\xbc\xaf\x27\x1c\0\4",
    "RAR": b"Rar!\x1a\x07\x01\0",
    "tar": tarred(),
    "empty zip": zipped(),
    "no checkpoint": zipped("readme.txt"),
    "Keras": zipped("metadata.json", "config.json", "model.weights.h5"),
    "npz": zipped("a.npy", "b.npy"),
    "Office": zipped("[Content_Types].xml", "word/document.xml"),
    "cut short": zipped("a.npy")[:30],
    "PDF": b"%PDF-1.7\n",
    "PNG": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "JPEG": b"\xff\xd8\xff\xe0\0\x10JFIF",
    "Parquet": b"PAR1\x15\4",
    "Arrow": b"ARROW1\0\0",
    "Windows": b"MZ" + b"\x90" * 62,
    "Mach-O": b"\xcf\xfa\xed\xfe\7\0\0\1",
    "Python source": Path(foreign.__file__).read_bytes(),
}


@pytest.mark.parametrize("what", KNOWN)
def test_a_format_is_named_in_one_line(tmp_path: Path, what: str) -> None:
    assert what in str(probed(tmp_path / "x.pt", KNOWN[what], foreign.recognise))
    with pytest.raises(UnsupportedFormatError) as caught:
        probed(tmp_path / "x.pt", KNOWN[what], foreign.refuse)
    assert what in caught.value.reason
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


def test_numpy_files_of_numpy_are_named(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    numpy.save(tmp_path / "a.npy", numpy.zeros(3))
    numpy.savez(tmp_path / "a.npz", w=numpy.zeros(3))
    assert "npy" in str(probed(tmp_path / "x", (tmp_path / "a.npy").read_bytes(), foreign.recognise))
    assert "npz" in str(probed(tmp_path / "x", (tmp_path / "a.npz").read_bytes(), foreign.recognise))


@pytest.mark.skipif(sys.platform != "linux", reason="the interpreter is an ELF file on Linux only")
def test_a_program_is_named(tmp_path: Path) -> None:
    head = Path(sys.executable).read_bytes()[:5000]
    assert "ELF" in str(probed(tmp_path / "x", head, foreign.recognise))


@pytest.mark.parametrize(
    "content",
    [
        POINTER,
        POINTER.replace(b"\n", b"\r\n"),
        POINTER.rstrip(),
        POINTER.replace(b"oid", b"ext-0-foo sha256:" + SHA.encode() + b"\noid"),
    ],
)
def test_a_pointer_is_not_fetched(tmp_path: Path, content: bytes) -> None:
    assert probed(tmp_path / "x", content, foreign.lfs_pointer) == (SHA, 12345)
    with pytest.raises(
        NotFetchedError, match=rf"git-LFS pointer to 12,345 bytes \(sha256 {SHA}\).*git lfs pull"
    ):
        probed(tmp_path / "x", content, foreign.refuse)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        POINTER.replace(b"v1", b"v2"),
        POINTER.replace(b"12345", b"-1"),
        POINTER.replace(b"4d7a", b"4d7"),
        b" " + POINTER,
        POINTER + b"more\n",
        POINTER + b"\n" * 1024,
    ],
)
def test_what_is_nearly_a_pointer_is_none(tmp_path: Path, content: bytes) -> None:
    assert probed(tmp_path / "x", content, foreign.lfs_pointer) is None
    with pytest.raises((UnreadableError, UnsupportedFormatError)):
        probed(tmp_path / "x", content, foreign.refuse)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\0" * 9000, "zeros"),
        (b"\xfe\x00\x17\x99" * 100, "fe 00 17 99"),
        (b"\0" * 5000 + b"\1", "not a format"),
    ],
)
def test_what_nothing_tells_is_unreadable(tmp_path: Path, content: bytes, words: str) -> None:
    assert probed(tmp_path / "x", content, foreign.recognise) is None
    with pytest.raises(UnreadableError, match=words):
        probed(tmp_path / "x", content, foreign.refuse)


@pytest.mark.parametrize(
    "content", [b"\n" * 4096, b" \n" * 2048, b"<!--" * 1024, b"a\n" * 2048, b"#\n" * 2048]
)
def test_no_text_makes_a_pattern_backtrack_for_ever(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(CkptAuditError):
        probed(tmp_path / "x", content, foreign.refuse)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.sampled_from([b"", *KNOWN.values(), POINTER]),
    cut=st.integers(0, 80),
    tail=st.binary(max_size=40),
)
def test_any_file_is_refused_in_one_way(tmp_path: Path, start: bytes, cut: int, tail: bytes) -> None:
    with pytest.raises(CkptAuditError):
        probed(tmp_path / "x", start[:cut] + tail, foreign.refuse)
