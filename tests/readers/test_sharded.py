"""Sharded checkpoints: the index against its shards, with the shards read by the real readers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptaudit.errors import CkptAuditError, NotFetchedError, UnreadableError
from ckptaudit.limits import Limits
from ckptaudit.model import Checkpoint, Problem
from ckptaudit.readers import safetensors, sharded
from ckptaudit.readers.probe import Probe
from ckptaudit.source import LocalFile

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"


def shard_bytes(tensors: Mapping[str, int]) -> bytes:
    header, end = {}, 0
    for name, count in tensors.items():
        header[name] = {"dtype": "F32", "shape": [count], "data_offsets": [end, end + 4 * count]}
        end += 4 * count
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"\0" * end


def read_shard(path: str) -> Checkpoint:
    with LocalFile(path) as source:
        if source.read(0, 7) == b"version":
            raise NotFetchedError(path, "git-LFS pointer")
        return safetensors.read(Probe(source, Limits()))


def read(folder: Path, limits: Limits | None = None) -> Checkpoint:
    with LocalFile(str(folder / INDEX)) as source:
        return sharded.read(Probe(source, limits or Limits()), read_shard)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shards of 20 and 12 bytes of tensors, and an index that is right about them."""
    (tmp_path / FIRST).write_bytes(shard_bytes({"a.w": 2, "a.b": 3}))
    (tmp_path / SECOND).write_bytes(shard_bytes({"c.w": 3}))
    write_index(tmp_path, {"a.w": FIRST, "a.b": FIRST, "c.w": SECOND}, {"total_size": 32})
    return tmp_path


def write_index(folder: Path, weight_map: Any, metadata: Any = None) -> None:
    (folder / INDEX).write_text(json.dumps({"metadata": metadata or {}, "weight_map": weight_map}))


def only(checkpoint: Checkpoint) -> Problem:
    (problem,) = checkpoint.problems
    return problem


def test_shards_become_one_checkpoint(folder: Path) -> None:
    checkpoint = read(folder)
    assert checkpoint.format == "sharded"
    assert checkpoint.problems == ()
    assert list(checkpoint.tensors) == [("a.w",), ("a.b",), ("c.w",)]
    assert checkpoint.tensors[("c.w",)].storage == f"{SECOND}!c.w"
    assert checkpoint.storages[f"{SECOND}!c.w"].nbytes == 12
    assert [os.path.basename(span.file) for span in checkpoint.files] == [INDEX, FIRST, SECOND]
    assert checkpoint.nbytes == sum(path.stat().st_size for path in folder.iterdir())
    (root,) = checkpoint.state_dicts
    assert list(root.modules) == ["", "a", "c"]
    assert checkpoint.metadata == {"total_size": "32"}


@pytest.mark.parametrize(
    ("weight_map", "words"),
    [
        ({"a.w": FIRST, "a.b": FIRST}, ("1 shard beside the index that it does not name", SECOND)),
        ({"a.w": FIRST, "c.w": SECOND}, ("1 tensor in a shard but not in the index", "'a.b'")),
        ({"a.w": FIRST, "a.b": SECOND, "c.w": SECOND}, ("another shard than the index says", "'a.b'")),
        (
            {"a.w": FIRST, "a.b": FIRST, "c.w": SECOND, "d": SECOND},
            ("named by the index but in no shard", "'d'"),
        ),
        ({"a.w": FIRST, "a.b": FIRST, "c.w": SECOND, "d": 5}, ("no file name", "'d'")),
        ({"a.w": FIRST, "a.b": FIRST, "c.w": SECOND, "d": "gone.bin"}, ("not there", "'gone.bin'")),
    ],
)
def test_a_wrong_map_is_one_problem(
    folder: Path, weight_map: dict[str, object], words: tuple[str, ...]
) -> None:
    write_index(folder, weight_map)
    checkpoint = read(folder)
    assert only(checkpoint).code == "index-mismatch"
    assert all(word in only(checkpoint).detail for word in words)


def test_a_shard_that_the_index_does_not_name_is_never_opened(folder: Path) -> None:
    write_index(folder, {"a.w": FIRST, "a.b": FIRST})
    assert {Path(span.file).name for span in read(folder).files} == {INDEX, FIRST}


@pytest.mark.parametrize(
    "shard", ["../x", "/etc/passwd", "a/../../x", "..\\x", "C:\\x", "\\\\host\\x", "a\0b"]
)
def test_a_path_out_of_the_folder_is_never_opened(folder: Path, shard: str) -> None:
    write_index(folder, {"a.w": FIRST, "a.b": FIRST, "c.w": SECOND, "d": shard})
    opened = []

    def watch(path: str) -> Checkpoint:
        opened.append(os.path.basename(path))
        return read_shard(path)

    with LocalFile(str(folder / INDEX)) as source:
        checkpoint = sharded.read(Probe(source, Limits()), watch)
    assert opened == [FIRST, SECOND]
    assert only(checkpoint).code == "index-mismatch"
    assert only(checkpoint).incomplete


def test_shards_behind_links_are_read_as_a_download_cache_keeps_them(folder: Path) -> None:
    blobs = folder / "blobs"
    blobs.mkdir()
    (folder / FIRST).rename(blobs / "123")
    (folder / FIRST).symlink_to(Path("blobs") / "123")
    assert read(folder).problems == ()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "malformed-file"),
        (b"\x05\0\0\0\0\0\0\0{", "malformed-file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not-fetched"),
        (None, "index-mismatch"),
    ],
)
def test_a_lost_shard_does_not_lose_the_others(folder: Path, content: bytes | None, code: str) -> None:
    if content is None:
        (folder / FIRST).unlink()
    else:
        (folder / FIRST).write_bytes(content)
    checkpoint = read(folder)
    assert list(checkpoint.tensors) == [("c.w",)]
    assert (only(checkpoint).code, only(checkpoint).incomplete) == (code, True)
    assert FIRST in only(checkpoint).detail


def test_a_tensor_in_two_shards_is_the_one_that_the_index_names(folder: Path) -> None:
    (folder / SECOND).write_bytes(shard_bytes({"c.w": 3, "a.w": 5}))
    write_index(folder, {"a.w": SECOND, "a.b": FIRST, "c.w": SECOND})
    checkpoint = read(folder)
    assert only(checkpoint).code == "duplicate-name"
    assert checkpoint.tensors[("a.w",)].shape == (5,)


@pytest.mark.parametrize("total", [33, "32", True, -1, [32]])
def test_a_wrong_total_size_is_a_problem(folder: Path, total: object) -> None:
    write_index(folder, {"a.w": FIRST, "a.b": FIRST, "c.w": SECOND}, {"total_size": total})
    assert only(read(folder)).code == "index-mismatch"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"weight_map": []}',
        '{"weight_map": NaN}',
        "[" * 100_000,
        '{"weight_map":' * 50_000,
    ],
)
def test_a_broken_index_is_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(UnreadableError):
        read(tmp_path)


def test_limits_are_kept(folder: Path) -> None:
    checkpoint = read(folder, Limits(shards=1))
    assert only(checkpoint).code == "limit-reached"
    assert "shards=1" in only(checkpoint).detail
    assert len(checkpoint.tensors) == 2
    with pytest.raises(UnreadableError, match="--limit json_bytes=N"):
        read(folder, Limits(json_bytes=10))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([INDEX, FIRST, SECOND], INDEX),
        ([INDEX, FIRST, "pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin"], INDEX),
        (["pytorch_model.bin.index.json", "a.bin", "training_args.bin"], "pytorch_model.bin.index.json"),
        (["model.safetensors", "pytorch_model.bin", "optimizer.pt"], "model.safetensors"),
        (["weights.pt", "config.json", "README.md"], "weights.pt"),
        (["a.pt", "b.pt"], None),
        (["config.json"], None),
    ],
)
def test_a_folder_stands_for_what_loaders_take_from_it(
    tmp_path: Path, names: list[str], expected: str | None
) -> None:
    for name in names:
        (tmp_path / name).touch()
    if expected:
        assert sharded.find_index(str(tmp_path)) == str(tmp_path / expected)
    else:
        with pytest.raises(UnreadableError):
            sharded.find_index(str(tmp_path))


def test_an_ambiguous_folder_lists_its_candidates(tmp_path: Path) -> None:
    (tmp_path / "a.pt").touch()
    (tmp_path / "b.ckpt").touch()
    with pytest.raises(UnreadableError, match=r"2 checkpoints: 'a\.pt', 'b\.ckpt'.*name one"):
        sharded.find_index(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"weight_map": {}}', True),
        (json.dumps({"metadata": {"x": "y" * 5000}, "weight_map": {}}), True),
        ('{"architectures": ["A"]}', False),
        ("weight_map", False),
        ("", False),
    ],
)
def test_content_decides(tmp_path: Path, text: str, expected: bool) -> None:
    (tmp_path / "x").write_text(text)
    with LocalFile(str(tmp_path / "x")) as source:
        assert sharded.sniff(Probe(source, Limits())) is expected


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([FIRST, "."]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(weight_map=st.dictionaries(st.sampled_from(["a.w", "a.b", "x"]), values), metadata=values)
def test_no_index_ends_in_anything_but_an_answer(folder: Path, weight_map: object, metadata: object) -> None:
    write_index(folder, weight_map, metadata)
    try:
        checkpoint = read(folder)
    except CkptAuditError:
        return
    assert checkpoint.files[0].file.endswith(INDEX)
    assert {path[0] for path in checkpoint.tensors} <= {"a.w", "a.b", "c.w"}
