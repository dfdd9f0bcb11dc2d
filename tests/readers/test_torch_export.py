"""torch.export archives against torch.export.load: tensors, memory, kinds, modules, and what is hostile."""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptaudit.errors import CkptAuditError, UnsupportedFormatError
from ckptaudit.limits import Limits
from ckptaudit.model import Checkpoint
from ckptaudit.readers import read
from ckptaudit.readers.torch_export_payload import _DTYPES

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.filterwarnings("ignore")


class Net(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8, eps=1e-3)
        self.head = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Dropout(0.2))
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.register_buffer("turned", torch.arange(12.0).reshape(3, 4).t()[1:])
        self.register_buffer("brief", torch.ones(4), persistent=False)
        self.plain = torch.ones(4, dtype=torch.float64)
        self.frozen = nn.Parameter(torch.ones(4, dtype=torch.bfloat16), requires_grad=False)

    def forward(self, x: Any) -> Any:
        y = self.head(self.norm(self.conv(x)).mean((2, 3)))
        y = self.second(self.first(y)) + torch.tensor([1.0, 2.0, 3.0, 4.0])
        return y + self.brief + self.plain + self.frozen + self.turned.sum()


def _exported() -> Any:
    batch = torch.export.Dim("batch")
    return torch.export.export(Net().eval(), (torch.ones(2, 3, 8, 8),), dynamic_shapes={"x": {0: batch}})


def _old(program: Any) -> bytes:
    """The zip that torch 2.1 to 2.7 wrote, made by torch's own serializer."""
    parts = torch._export.serde.serialize.serialize(program)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("serialized_exported_program.json", parts.exported_program)
        archive.writestr("serialized_state_dict.pt", parts.state_dict)
        archive.writestr("serialized_constants.pt", parts.constants)
        archive.writestr("serialized_example_inputs.pt", parts.example_inputs)
        archive.writestr("version", ".".join(map(str, torch._export.serde.schema.SCHEMA_VERSION)))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("export")
    program = _exported()
    torch.export.save(program, folder / "new.pt2", extra_files={"note.txt": "hello"})
    (folder / "old.pt2").write_bytes(_old(program))
    return {"new": folder / "new.pt2", "old": folder / "old.pt2"}


def _groups(pairs: Iterable[tuple[object, Hashable]]) -> set[frozenset[object]]:
    found: dict[Hashable, set[object]] = defaultdict(set)
    for name, memory in pairs:
        found[memory].add(name)
    return {frozenset(names) for names in found.values()}


@pytest.mark.parametrize("layout", ["new", "old"])
def test_tensors(files: dict[str, Path], layout: str) -> None:
    checkpoint, loaded = read(files[layout]), torch.export.load(files[layout])
    transient = set(loaded.graph_signature.non_persistent_buffers)
    assert transient == {"brief"}
    theirs = {(name,): part for name, part in loaded.state_dict.items()}
    for name, part in loaded.constants.items():
        theirs[(name,) if name in transient else ("CONSTANTS", name)] = part
    assert checkpoint.format == "torch-export"
    assert checkpoint.problems == ()
    with pytest.raises((RuntimeError, pickle.UnpicklingError)):
        torch.load(files[layout], weights_only=True)
    assert checkpoint.weights_only is False
    assert {
        path: (t.dtype, t.shape, t.stride, t.offset, t.requires_grad, checkpoint.storages[t.storage].device)
        for path, t in checkpoint.tensors.items()
    } == {
        path: (
            str(part.dtype)[6:],
            tuple(part.shape),
            part.stride(),
            part.storage_offset(),
            part.requires_grad,
            str(part.device),
        )
        for path, part in theirs.items()
    }
    assert _groups((path, t.storage) for path, t in checkpoint.tensors.items()) == _groups(
        (path, part.untyped_storage().data_ptr()) for path, part in theirs.items()
    )


@pytest.mark.parametrize("layout", ["new", "old"])
def test_kinds_and_roots(files: dict[str, Path], layout: str) -> None:
    checkpoint, signature = read(files[layout]), torch.export.load(files[layout]).graph_signature
    kinds = defaultdict(set)
    for tensor in checkpoint.tensors.values():
        kinds[tensor.kind].add(tensor.key)
    assert kinds["parameter"] == set(signature.parameters)
    assert kinds["buffer"] == set(signature.buffers)
    assert kinds["tensor"] == set(signature.lifted_tensor_constants)
    roles = {found.root: found.role for found in checkpoint.state_dicts}
    assert roles == {(): "model", ("CONSTANTS",): "other"}


@pytest.mark.parametrize("layout", ["new", "old"])
def test_bytes_are_where_the_spans_say(files: dict[str, Path], layout: str) -> None:
    checkpoint, loaded = read(files[layout]), torch.export.load(files[layout])
    content = files[layout].read_bytes()
    for name in ("conv.weight", "turned", "norm.num_batches_tracked", "frozen"):
        span = checkpoint.storages[checkpoint.tensors[(name,)].storage].span
        assert span is not None
        assert span.file == str(files[layout])
        assert content[span.start : span.start + span.nbytes] == bytes(
            loaded.state_dict[name].untyped_storage()
        )


@pytest.mark.parametrize("layout", ["new", "old"])
def test_modules(files: dict[str, Path], layout: str) -> None:
    module = Net().eval()
    modules = read(files[layout]).state_dicts[0].modules
    assert {path: meta.cls for path, meta in modules.items() if path} == {
        path: f"{type(part).__module__}.{type(part).__qualname__}"
        for path, part in module.named_modules()
        if path
    }
    conv, norm, dropout = (modules[name].config or {} for name in ("conv", "norm", "head.2"))
    assert (conv["stride"], conv["padding"]) == (list(module.conv.stride), list(module.conv.padding))
    assert (norm["eps"], norm["momentum"]) == (module.norm.eps, module.norm.momentum)
    assert dropout["p"] == module.head[2].p
    assert modules["norm"].training is False
    assert modules[""].config == {"non_persistent_buffers": ["brief"]}


def test_module_called_twice_keeps_its_name(tmp_path: Path) -> None:
    class Twice(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(4, eps=1e-3)

        def forward(self, x: Any) -> Any:
            return self.norm(self.norm(x))

    torch.export.save(torch.export.export(Twice(), (torch.ones(2, 4),)), tmp_path / "twice.pt2")
    modules = read(tmp_path / "twice.pt2").state_dicts[0].modules
    assert set(modules) == {"", "norm"}
    assert (modules["norm"].config or {})["eps"] == 1e-3


def test_several_programs(tmp_path: Path) -> None:
    small = torch.export.export(nn.Linear(2, 3), (torch.ones(1, 2),))
    large = torch.export.export(nn.Linear(5, 7), (torch.ones(1, 5),))
    path = tmp_path / "two.pt2"
    torch.export.pt2_archive._package.package_pt2(path, exported_programs={"small": small, "large": large})
    assert {p: t.shape for p, t in read(path).tensors.items()} == {
        ("small", "weight"): (3, 2),
        ("small", "bias"): (3,),
        ("large", "weight"): (7, 5),
        ("large", "bias"): (7,),
    }


def test_dtypes_are_those_of_the_schema() -> None:
    to_dtype = torch._export.serde.serialize._SERIALIZE_TO_TORCH_DTYPE
    assert {int(number): str(dtype)[6:] for number, dtype in to_dtype.items()} == _DTYPES


def _rewrite(path: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """A copy of an archive with other bytes in its records; a record for which None is given is left out."""
    out = path.with_name(f"changed-{path.name}")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = change(name.partition("/")[2] or name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return out


def _edit(path: Path, record: str, edit: Callable[[dict[str, Any]], object]) -> Checkpoint:
    """The checkpoint in a copy whose JSON `record` was edited."""

    def change(name: str, data: bytes) -> bytes:
        if name != record:
            return data
        document = json.loads(data)
        edit(document)
        return json.dumps(document).encode()

    return read(_rewrite(path, change))


WEIGHTS = "data/weights/model_weights_config.json"


def _bias(document: dict[str, Any]) -> dict[str, Any]:
    meta: dict[str, Any] = document["config"]["conv.bias"]["tensor_meta"]
    return meta


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('ran')",))


@pytest.mark.parametrize(
    ("layout", "record"), [("new", "data/sample_inputs/model.pt"), ("old", "serialized_example_inputs.pt")]
)
def test_names_in_the_sample_inputs_are_seen(files: dict[str, Path], layout: str, record: str) -> None:
    buffer = io.BytesIO()
    torch.save(_Evil(), buffer)
    changed = _rewrite(files[layout], lambda name, data: buffer.getvalue() if name == record else data)
    found = {(ref.module, ref.name, ref.called): ref.span for ref in read(changed).globals}
    span = found["builtins", "exec", True]
    assert changed.read_bytes()[span.start : span.start + span.nbytes] in (
        b"cbuiltins\nexec\n",
        b"c__builtin__\nexec\n",
    )


def test_pickled_payload(files: dict[str, Path]) -> None:
    def use_pickle(document: dict[str, Any]) -> None:
        document["config"]["plain"]["use_pickle"] = True
        document["config"]["plain"]["path_name"] = "opaque_obj_0"

    path = _rewrite(files["new"], lambda name, data: data)
    with zipfile.ZipFile(path, "a") as archive:
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{root}/data/constants/opaque_obj_0", pickle.dumps(_Evil()))
    checkpoint = _edit(path, "data/constants/model_constants_config.json", use_pickle)
    assert ("builtins", "exec") in {(ref.module, ref.name) for ref in checkpoint.globals}


@pytest.mark.parametrize(
    "meta",
    [
        {"sizes": [{"as_int": -1}]},
        {"sizes": [{"as_int": 2**70}]},
        {"sizes": "many"},
        {"strides": []},
        {"dtype": 99},
        {"dtype": [7]},
        {"device": None},
        {"storage_offset": {"as_int": True}},
    ],
)
def test_impossible_tensor_is_a_problem(files: dict[str, Path], meta: dict[str, Any]) -> None:
    checkpoint = _edit(
        files["new"], WEIGHTS, lambda doc: doc["config"]["conv.bias"]["tensor_meta"].update(meta)
    )
    assert ("conv.bias",) not in checkpoint.tensors
    assert ("conv.weight",) in checkpoint.tensors
    assert ["'conv.bias'" in problem.detail for problem in checkpoint.problems] == [True]


def test_view_past_its_record(files: dict[str, Path]) -> None:
    sizes = {"sizes": [{"as_int": 9}]}
    checkpoint = _edit(
        files["new"], WEIGHTS, lambda doc: doc["config"]["conv.bias"]["tensor_meta"].update(sizes)
    )
    assert [problem.code for problem in checkpoint.problems] == ["tensor-outside-storage"]


def test_empty_record_is_said(files: dict[str, Path]) -> None:
    checkpoint = read(_rewrite(files["new"], lambda name, data: b"" if name.endswith("weight_0") else data))
    assert [problem.code for problem in checkpoint.problems] == ["storage-size-mismatch"]


@pytest.mark.parametrize("record", [WEIGHTS, "models/model.json", "data/weights/weight_0"])
def test_missing_or_broken_record(files: dict[str, Path], record: str) -> None:
    missing = _rewrite(files["new"], lambda name, data: None if name == record else data)
    if record.startswith("models/"):
        with pytest.raises(UnsupportedFormatError):
            read(missing)
    else:
        assert any(problem.incomplete for problem in read(missing).problems)
    if record.endswith(".json"):
        deep = _rewrite(files["new"], lambda name, data: b"[" * 200_000 if name == record else data)
        assert "limit-reached" in {problem.code for problem in read(deep).problems}


def test_compiled_code(files: dict[str, Path], tmp_path: Path) -> None:
    path = _rewrite(files["new"], lambda name, data: data)
    with zipfile.ZipFile(path, "a") as archive:
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{root}/data/aotinductor/model/model.so", b"\x7fELF")
    assert "native-code" in {problem.code for problem in read(path).problems}
    only = _rewrite(path, lambda name, data: None if name.startswith("models/") else data)
    with pytest.raises(UnsupportedFormatError, match="AOTInductor"):
        read(only)


def test_limit_on_json(files: dict[str, Path]) -> None:
    assert {problem.incomplete for problem in read(files["new"], Limits(json_bytes=5000)).problems} == {True}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_changed_bytes_never_end_in_a_traceback(files: dict[str, Path], data: st.DataObject) -> None:
    record = data.draw(
        st.sampled_from(
            ["models/model.json", WEIGHTS, "data/sample_inputs/model.pt", "serialized_state_dict.pt"]
        )
    )
    edits = data.draw(st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 255)), min_size=1, max_size=6))

    def change(name: str, content: bytes) -> bytes:
        if name != record:
            return content
        changed = bytearray(content)
        for at, value in edits:
            changed[at % len(changed)] = value
        return bytes(changed)

    checkpoint = read(_rewrite(files["old" if record.startswith("serialized") else "new"], change))
    assert checkpoint.format == "torch-export"


@settings(max_examples=30, deadline=None)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3), st.lists, max_leaves=5
    )
)
def test_any_json_for_any_part(files: dict[str, Path], value: Any) -> None:
    def replace_parts(document: dict[str, Any]) -> None:
        document["graph_module"]["graph"]["nodes"][0]["metadata"] = value
        document["graph_module"]["graph"]["nodes"][1]["inputs"] = value
        document["graph_module"]["signature"]["input_specs"][0] = value

    checkpoint = _edit(files["new"], "models/model.json", replace_parts)
    assert ("conv.weight",) in checkpoint.tensors


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0.01, 0.99))
def test_cut_off(files: dict[str, Path], share: float) -> None:
    content = files["new"].read_bytes()
    part = files["new"].with_name("part.pt2")
    part.write_bytes(content[: int(len(content) * share)])
    try:
        checkpoint = read(part)
    except CkptAuditError:
        return
    assert any(problem.incomplete for problem in checkpoint.problems)
    whole = {t.key: t for t in read(files["new"]).tensors.values()}
    assert all(whole[t.key].shape == t.shape for t in checkpoint.tensors.values())


def test_shared_limit_of_all_json(files: dict[str, Path]) -> None:
    with zipfile.ZipFile(files["new"]) as archive:
        sizes = {name.partition("/")[2]: archive.getinfo(name).file_size for name in archive.namelist()}
    enough = sum(size for name, size in sizes.items() if name.endswith(".json"))
    assert read(files["new"], Limits(json_bytes=enough)).problems == ()
    assert "limit-reached" in {
        problem.code for problem in read(files["new"], Limits(json_bytes=enough - 1)).problems
    }


def test_torch_zip_is_not_taken(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "plain.pt")
    assert read(tmp_path / "plain.pt").format == "torch-zip"


def test_sizes_that_are_code_are_told(tmp_path: Path) -> None:
    class Doubled(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x, x])

    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(Doubled(), (torch.ones(4, 2),), dynamic_shapes=({0: batch},))
    path = tmp_path / "dynamic.pt2"
    torch.export.save(program, path)
    assert "code-in-expression" not in {problem.code for problem in read(path).problems}
    evil = tmp_path / "evil.pt2"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(evil, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("models/model.json"):
                assert b'"expr_str"' in data
                # The name is escaped, as JSON allows.
                data = re.sub(rb'"expr_str": ?"[^"]*"', rb'"expr\\u005fstr": "__import__(0)"', data)
            target.writestr(name, data)
    assert "code-in-expression" in {problem.code for problem in read(evil).problems}
