"""Against the safetensors library: what it takes is read alike, what it refuses is named."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptaudit.errors import CkptAuditError, UnreadableError
from ckptaudit.limits import Limits
from ckptaudit.model import Checkpoint
from ckptaudit.readers import safetensors as reader
from ckptaudit.readers.probe import Probe
from ckptaudit.source import LocalFile

library = pytest.importorskip("safetensors")

ONE = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
FOUR = b"\0" * 4


def packed(header: str | bytes, data: bytes = b"") -> bytes:
    raw = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(raw)) + raw + data


def entry(dtype: str = "F32", shape: str = "[1]", offsets: str = "[0,4]", more: str = "") -> str:
    return f'{{"a":{{{more}"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}'


def read(path: Path, content: bytes, limits: Limits | None = None) -> Checkpoint:
    path.write_bytes(content)
    with LocalFile(str(path)) as source:
        return reader.read(Probe(source, limits or Limits()))


def sniffed(path: Path, content: bytes) -> bool:
    path.write_bytes(content)
    with LocalFile(str(path)) as source:
        return reader.sniff(Probe(source, Limits()))


def codes(checkpoint: Checkpoint) -> list[str]:
    return [problem.code for problem in checkpoint.problems]


def by_library(content: bytes) -> dict[str, tuple[str, tuple[int, ...], int]] | None:
    """What the library reads: name -> (dtype, shape, bytes); None where it refuses."""
    try:
        found = library.deserialize(content)
    except library.SafetensorError:
        return None
    return {name: (view["dtype"], tuple(view["shape"]), len(view["data"])) for name, view in found}


def by_us(checkpoint: Checkpoint) -> dict[str, tuple[str, tuple[int, ...], int]]:
    words = {word: name for name, word in reader.DTYPES.items()}
    found = {}
    for tensor in checkpoint.tensors.values():
        assert tensor.shape is not None
        shape = tensor.shape
        if tensor.dtype == "float4_e2m1fn_x2":
            shape = (*shape[:-1], shape[-1] * 2)
        nbytes = checkpoint.storages[tensor.storage].nbytes
        found[tensor.key] = (words[tensor.dtype], shape, nbytes)
    return found


def test_real_file_reads_as_torch_reads_it(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    dtypes = (
        "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 uint16 uint32 uint64 bool complex64"
    )
    dtypes += " float8_e4m3fn float8_e5m2 float8_e8m0fnu float8_e4m3fnuz float8_e5m2fnuz"
    saved = {f"m.{name}.w": torch.zeros(3, 2).to(getattr(torch, name)) for name in dtypes.split()}
    saved |= {"scalar": torch.tensor(1.0), "none": torch.zeros(2, 0, 3), "many": torch.zeros(2, 3, 4, 5)}
    saved["four"] = torch.zeros(2, 3, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    path = tmp_path / "x.safetensors"
    save_file(saved, path, {"format": "pt"})
    checkpoint = read(path, path.read_bytes())
    expected = {
        name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), tensor.stride(), tensor.nbytes)
        for name, tensor in load_file(path).items()
    }
    found = {t.key: (t.dtype, t.shape, t.stride, t.nbytes) for t in checkpoint.tensors.values()}
    assert found == expected
    assert checkpoint.problems == ()
    assert checkpoint.metadata == {"format": "pt"}
    assert checkpoint.weights_only is True
    assert {"", "m", "m.float32"} < set(checkpoint.state_dicts[0].modules)


def test_spans_point_at_the_bytes_of_each_tensor(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    from safetensors.numpy import save

    arrays = {"a": numpy.arange(6, dtype="<f4"), "b": numpy.arange(3, dtype="<i8")}
    content = save(arrays)
    checkpoint = read(tmp_path / "x", content)
    for name, array in arrays.items():
        span = checkpoint.storages[name].span
        assert span is not None
        assert content[span.start : span.start + span.nbytes] == array.tobytes()


def test_names_keep_the_order_of_the_header(tmp_path: Path) -> None:
    names = ["z", "a", "m"]
    header = {n: {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]} for i, n in enumerate(names)}
    assert [path[0] for path in read(tmp_path / "x", packed(json.dumps(header), b"abc")).tensors] == names


TAKEN = {
    "plain": packed(f'{{"a":{ONE}}}', FOUR),
    "trailing spaces": packed(f'{{"a":{ONE}}}  \n', FOUR),
    "escaped control characters": packed(f'{{"a\\u0000\\u0001":{ONE}}}', FOUR),
    "escaped pair": packed(f'{{"\\ud83d\\ude00":{ONE}}}', FOUR),
    "no name": packed(f'{{"":{ONE}}}', FOUR),
    "extra field": packed(entry(more='"x":[1.5,{"y":null}],'), FOUR),
    "empty shape": packed(entry(shape="[0,3]", offsets="[0,0]")),
    "wrapping strides": packed(entry(shape="[0,1099511627776,1099511627776]", offsets="[0,0]")),
    "no tensors": packed("{}"),
    "metadata null": packed('{"__metadata__":null}'),
    "six bits": packed(entry("F6_E2M3", "[4]", "[0,3]"), b"abc"),
    "four bits": packed(entry("F4", "[2,4]"), FOUR),
    "length like an opcode": packed(f'{{"a":{ONE}}}'.ljust(0x4E), FOUR),
    "length that reads N and STOP": packed(f'{{"a":{ONE}}}'.ljust(0x2E4E), FOUR),
    "length that reads GLOBAL": packed(f'{{\n"a":\n{ONE}}}'.ljust(0x63), FOUR),
}

REFUSED = {
    "hole": (packed(entry(offsets="[4,8]"), FOUR * 2), "malformed-file"),
    "overlap": (packed(f'{{"a":{ONE},"b":{ONE}}}', FOUR), "malformed-file"),
    "size": (packed(entry(shape="[2]"), FOUR), "storage-size-mismatch"),
    "trailing": (packed(f'{{"a":{ONE}}}', FOUR + b"x"), "trailing-bytes"),
    "truncated": (packed(f'{{"a":{ONE}}}', b"x"), "malformed-file"),
    "outside": (packed(entry(offsets="[4,8]"), FOUR), "malformed-file tensor-outside-storage"),
    "dtype": (packed(entry("F99"), FOUR), "malformed-file"),
    "overflow": (packed(entry(shape="[1099511627776,1099511627776,0]", offsets="[0,0]")), "malformed-file"),
    "negative": (packed(entry(shape="[-1]"), FOUR), "malformed-file"),
    "minus nought": (packed(entry(offsets="[-0,4]"), FOUR), "malformed-file"),
    "float": (packed(entry(shape="[1.0]"), FOUR), "malformed-file"),
    "bool": (packed(entry(shape="[true]"), FOUR), "malformed-file"),
    "three offsets": (packed(entry(offsets="[0,4,4]"), FOUR), "malformed-file"),
    "half a pair": (packed(f'{{"\\ud800":{ONE}}}', FOUR), "malformed-file"),
    "field twice": (packed(entry(more='"dtype":"F32",'), FOUR), "duplicate-name"),
    "metadata twice": (packed('{"__metadata__":{},"__metadata__":{}}'), "duplicate-name"),
    "metadata number": (packed('{"__metadata__":{"a":1}}'), "malformed-file"),
    "metadata list": (packed('{"__metadata__":[]}'), "malformed-file"),
    "too deep": (packed(entry(more=f'"x":{"[" * 200}{"]" * 200},'), FOUR), "limit-reached"),
    "header cut": (packed(f'{{"a":{ONE},"b":{ONE}}}')[:70], "malformed-file"),
}

UNREADABLE = {
    "text after": packed("{}x"),
    "NaN": packed(entry(more='"x":NaN,'), FOUR),
    "infinite": packed(entry(more='"x":1e999,'), FOUR),
    "digits": packed(entry(more=f'"x":{"9" * 5000},'), FOUR),
    "bomb": packed("[" * 100_000),
    "object bomb": packed('{"a":' * 100_000),
    "no UTF-8": packed(b'{"\xff":1}'),
    "raw control character": packed(f'{{"a\x01":{ONE}}}', FOUR),
    "list": packed("[]"),
    "no length": b"\1\0",
    "cut at once": packed("{}")[:9],
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_the_library_takes_we_read_alike(tmp_path: Path, name: str) -> None:
    expected = by_library(TAKEN[name])
    checkpoint = read(tmp_path / "x", TAKEN[name])
    assert by_us(checkpoint) == expected
    assert checkpoint.problems == ()


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_library_refuses_is_a_problem(tmp_path: Path, name: str) -> None:
    content, expected = REFUSED[name]
    assert by_library(content) is None
    checkpoint = read(tmp_path / "x", content)
    assert codes(checkpoint) == expected.split()
    assert all(problem.detail.isprintable() for problem in checkpoint.problems)


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_header_that_is_none_is_one_error(tmp_path: Path, name: str) -> None:
    assert by_library(UNREADABLE[name]) is None
    with pytest.raises(UnreadableError):
        read(tmp_path / "x", UNREADABLE[name])


def test_the_format_is_read_more_strictly_than_the_library_does(tmp_path: Path) -> None:
    same = f'{{"a":{ONE},"a":{ONE}}}'
    assert codes(read(tmp_path / "x", packed(same, FOUR))) == ["duplicate-name"]
    spaced = packed(f' {{"a":{ONE}}}', FOUR)
    assert by_library(spaced) is not None
    checkpoint = read(tmp_path / "x", spaced)
    assert codes(checkpoint) == ["malformed-file"]
    assert by_us(checkpoint) == by_library(spaced)


def test_what_torch_refuses_is_a_problem(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from safetensors.torch import load_file

    for number, header in enumerate(
        (entry("F4", "[4,1]", "[0,2]"), entry(shape=f"[0,{2**63}]", offsets="[0,0]"))
    ):
        content = packed(header, b"ab" if "F4" in header else b"")
        path = tmp_path / str(number)
        checkpoint = read(path, content)
        with pytest.raises((TypeError, library.SafetensorError)):
            load_file(path)
        assert codes(checkpoint) == ["malformed-file"]


def test_one_cause_is_one_problem(tmp_path: Path) -> None:
    header = {
        f"t{i}": {"dtype": "U8", "shape": [10], "data_offsets": [10 * i, 10 * i + 10]} for i in range(68)
    }
    checkpoint = read(tmp_path / "x", packed(json.dumps(header), b"\0" * 95))
    assert len(checkpoint.tensors) == 68
    (problem,) = checkpoint.problems
    assert (problem.code, problem.incomplete) == ("malformed-file", True)
    assert all(part in problem.detail for part in ("truncated", "680", "95", "'t9'", "59"))
    header = {f"t{i}": {"dtype": "U9", "shape": [1], "data_offsets": [i, i + 1]} for i in range(68)}
    assert len(read(tmp_path / "x", packed(json.dumps(header), b"\0" * 68)).problems) == 1


def test_what_stands_before_the_cut_of_a_header_is_read(tmp_path: Path) -> None:
    content = packed(f'{{"a":{ONE},"b":{ONE}}}')[:70]
    checkpoint = read(tmp_path / "x", content)
    assert list(checkpoint.tensors) == [("a",)]
    assert checkpoint.problems[0].incomplete


@pytest.mark.parametrize("opcode", [b"V", b"\x80\x02V"])
def test_a_file_that_runs_as_a_pickle_too_is_named(tmp_path: Path, opcode: bytes) -> None:
    # The zeros of the length end up in a text that goes on to the first newline of the header; its
    # last brackets are an empty dict each, and the bytes of the tensor are the program.
    payload = b"cos\nsystem\n(Vtrue\ntR."
    header = f'{{"t":{{"dtype":"U8","shape":[{len(payload)}],"data_offsets":[0,{len(payload)}]'
    length = int.from_bytes(opcode + (b"\1" if len(opcode) == 1 else b""), "little")
    content = packed(header.ljust(length - 3) + "\n}}", payload)
    assert content.startswith(opcode)
    assert by_library(content) is not None
    assert codes(read(tmp_path / "x", content)) == ["ambiguous-format"]


def test_bytes_of_a_tensor_that_are_a_pickle_are_no_alarm(tmp_path: Path) -> None:
    payload = b"\x80\x02cos\nsystem\nX\4\0\0\0true\x85R."
    header = entry("U8", f"[{len(payload)}]", f"[0,{len(payload)}]")
    assert read(tmp_path / "x", packed(header, payload)).problems == ()


@pytest.mark.parametrize(
    ("limits", "header"),
    [
        (Limits(header_bytes=50), f'{{"a":{ONE}}}'),
        (Limits(objects=5), f'{{"a":{ONE}}}'),
        (Limits(header_bytes=100), f'{{"{"é" * 10}":{ONE}}}'),
    ],
)
def test_a_limit_names_itself_and_how_to_raise_it(tmp_path: Path, limits: Limits, header: str) -> None:
    with pytest.raises(UnreadableError, match=r"--limit (header_bytes|objects)=N"):
        read(tmp_path / "x", packed(header, FOUR), limits)


@pytest.mark.parametrize(
    ("limits", "name"), [(Limits(name_bytes=10), "n" * 11), (Limits(depth=3), ".".join("abcdefg"))]
)
def test_a_limit_on_one_name_is_a_problem(tmp_path: Path, limits: Limits, name: str) -> None:
    checkpoint = read(tmp_path / "x", packed(f'{{"{name}":{ONE}}}', FOUR), limits)
    assert codes(checkpoint) == ["limit-reached"]


def test_only_the_header_is_read(tmp_path: Path) -> None:
    path = tmp_path / "big"
    header = entry("U8", f"[{2**40}]", f"[0,{2**40}]").encode()
    path.write_bytes(packed(header))
    with path.open("r+b") as file:
        file.truncate(8 + len(header) + 2**40)  # sparse
    with LocalFile(str(path)) as source:
        checkpoint = reader.read(Probe(source, Limits()))
    assert checkpoint.problems == ()
    assert checkpoint.tensors[("a",)].nbytes == 2**40


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (packed("{}"), True),
        (packed(" {}"), True),
        (packed(f'{{"a":{ONE}}}')[:20], True),
        (struct.pack("<Q", 2**63) + b'{"a":', True),
        (b'{"a": [[{"b": 1}]]}', False),
        (b"GGUF\3\0\0\0{", False),
        (b"", False),
        (packed("[]"), False),
    ],
)
def test_content_decides(tmp_path: Path, content: bytes, expected: bool) -> None:
    assert sniffed(tmp_path / "x", content) is expected


def mutations() -> st.SearchStrategy[bytes]:
    base = [*TAKEN.values(), *(content for content, _ in REFUSED.values())]
    short = [content for content in base if len(content) < 1000]

    def change(drawn: tuple[bytes, list[tuple[int, int]], int, bytes]) -> bytes:
        content, edits, cut, tail = drawn
        data = bytearray(content)
        for at, value in edits:
            data[at % len(data)] = value
        return bytes(data[: cut % (2 * len(data))]) + tail

    edits = st.lists(
        st.tuples(st.integers(0, 999), st.integers(0, 255) | st.sampled_from(b'"{}[],:0-.\\')), max_size=4
    )
    return st.tuples(st.sampled_from(short), edits, st.integers(0, 2000), st.binary(max_size=3)).map(change)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=mutations())
def test_a_mutated_file_reads_as_the_library_reads_it_or_says_why_not(tmp_path: Path, content: bytes) -> None:
    expected = by_library(content)
    try:
        checkpoint = read(tmp_path / "x", content)
    except CkptAuditError:
        assert expected is None
        return
    if expected is None:
        assert checkpoint.problems
    elif not checkpoint.problems:
        assert by_us(checkpoint) == expected
