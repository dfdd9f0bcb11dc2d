"""TorchScript against torch.jit.load: tensors, memory, kinds, classes, settings, and what is hostile."""

from __future__ import annotations

import pickle
import zipfile
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptaudit.errors import CkptAuditError, UnsupportedFormatError
from ckptaudit.limits import Limits
from ckptaudit.model import Checkpoint
from ckptaudit.readers import read, torchscript
from ckptaudit.readers.pickle.policy import verdict
from ckptaudit.readers.probe import Probe
from ckptaudit.readers.torchscript_code import classes_in, original_class
from ckptaudit.source import LocalFile

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.filterwarnings("ignore")


class Mixed(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=(1, 0), bias=False)
        self.norm = nn.BatchNorm2d(8, eps=1e-3)
        self.table = {"x": torch.ones(2), "y": torch.zeros(3, dtype=torch.float64)}
        self.groups = [torch.ones(4), torch.ones(5)]
        self.sizes = [1, 2, 3]
        self.scale = 0.5
        self.title = "mixed"
        self.register_buffer("turned", torch.arange(12.0).reshape(3, 4).t()[1:])
        self.register_buffer("brief", torch.ones(3, dtype=torch.bfloat16), persistent=False)
        self.frozen = nn.Parameter(torch.ones(4, dtype=torch.float16), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
        y = self.norm(self.conv(x)).sum() + self.table["x"].sum() + self.groups[0].sum()
        return y * self.scale + len(self.sizes) + len(self.title) + self.turned.sum() + self.brief.sum()


class Shared(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.layers[1].weight = self.layers[0].weight
        self.again = self.layers[0]
        self.by_name = nn.ModuleDict({"a": nn.LayerNorm(4), "b": nn.PReLU()})

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
        for layer in self.layers:
            x = layer(x)
        return self.by_name["b"](self.by_name["a"](self.again(x)))


class Constant(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Dropout())

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
        return self.body(x) + torch.tensor([1.0, 2.0, 3.0])


CONV = "code/__torch__/torch/nn/modules/conv.py"
MODULES: dict[str, Callable[[], Any]] = {
    "mixed": Mixed,
    "shared": Shared,
    "linear": lambda: nn.Linear(3, 2, bias=False),
    "lstm": lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True),
    "gru": lambda: nn.GRU(3, 4),
    "attention": lambda: nn.MultiheadAttention(8, 2),
    "encoder": lambda: nn.TransformerEncoderLayer(8, 2, 16),
    "embedding": lambda: nn.Embedding(7, 3, padding_idx=1),
    "transposed": lambda: nn.ConvTranspose1d(3, 4, 3, stride=2),
    "group norm": lambda: nn.Sequential(nn.GroupNorm(2, 4), nn.InstanceNorm1d(4, track_running_stats=True)),
    "double": lambda: nn.Bilinear(2, 3, 4).double(),
}


def _groups(pairs: Iterable[tuple[str, Hashable]]) -> set[frozenset[str]]:
    found: dict[Hashable, set[str]] = defaultdict(set)
    for name, memory in pairs:
        found[memory].add(name)
    return {frozenset(names) for names in found.values()}


def _expect_same(checkpoint: Checkpoint, path: Path) -> None:
    loaded = torch.jit.load(path)
    theirs = {
        **{name: ("parameter", part) for name, part in loaded.named_parameters(remove_duplicate=False)},
        **{name: ("buffer", part) for name, part in loaded.named_buffers(remove_duplicate=False)},
    }
    ours = {t.key: t for t in checkpoint.tensors.values() if t.kind != "tensor"}
    assert {
        name: (t.path, t.kind, t.dtype, t.shape, t.stride, t.offset, t.requires_grad)
        for name, t in ours.items()
    } == {
        name: ((name,), kind, str(part.dtype)[6:], tuple(part.shape), part.stride(), part.storage_offset(),
               part.requires_grad)
        for name, (kind, part) in theirs.items()
    }  # fmt: skip
    assert _groups((name, t.storage) for name, t in ours.items()) == _groups(
        (name, part.untyped_storage().data_ptr()) for name, (_, part) in theirs.items()
    )
    root = next(found for found in checkpoint.state_dicts if found.root == ())
    assert {path: (meta.cls or "").rpartition(".")[2] for path, meta in root.modules.items()} == {
        path: part.original_name for path, part in loaded.named_modules(remove_duplicate=False)
    }


@pytest.mark.parametrize("name", MODULES)
def test_scripted(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.jit.save(torch.jit.script(MODULES[name]()), path, _extra_files={"note.txt": "hello"})
    checkpoint = read(path)
    assert checkpoint.format == "torchscript"
    assert checkpoint.problems == ()
    assert checkpoint.weights_only is False
    _expect_same(checkpoint, path)


def test_settings_are_those_of_the_module(tmp_path: Path) -> None:
    module = Mixed().eval()
    torch.jit.script(module).save(tmp_path / "model.pt")
    modules = read(tmp_path / "model.pt").state_dicts[0].modules
    conv, norm, root = modules["conv"], modules["norm"], modules[""]
    assert conv.cls == "torch.nn.modules.conv.Conv2d"
    for name in ("stride", "padding", "dilation", "kernel_size"):
        assert (conv.config or {})[name] == getattr(module.conv, name)
    for name in ("groups", "in_channels", "out_channels", "padding_mode"):
        assert (conv.config or {})[name] == getattr(module.conv, name)
    for name in ("eps", "momentum", "affine", "num_features"):
        assert (norm.config or {})[name] == getattr(module.norm, name)
    assert root.config == {"sizes": module.sizes, "scale": module.scale, "title": module.title}
    assert {meta.training for meta in modules.values()} == {False}


def test_attributes_are_tensors_of_their_own(tmp_path: Path) -> None:
    torch.jit.script(Mixed()).save(tmp_path / "model.pt")
    found = {
        t.key: (t.dtype, t.shape) for t in read(tmp_path / "model.pt").tensors.values() if t.kind == "tensor"
    }
    assert found == {
        "table.x": ("float32", (2,)),
        "table.y": ("float64", (3,)),
        "groups.0": ("float32", (4,)),
        "groups.1": ("float32", (5,)),
    }


@pytest.mark.parametrize("frozen", [False, True])
def test_traced_constants(frozen: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    traced = torch.jit.trace(Constant().eval(), torch.ones(2, 4))
    torch.jit.save(torch.jit.freeze(traced) if frozen else traced, path)
    checkpoint = read(path)
    assert checkpoint.problems == ()
    _expect_same(checkpoint, path)
    constants = torch.jit.load(path).code_with_constants[1].const_mapping
    ours = {t.key: t for t in checkpoint.tensors.values() if t.path[0] == "CONSTANTS"}
    assert len(ours) == (3 if frozen else 1)
    assert {name: (t.path, t.dtype, t.shape, t.stride) for name, t in ours.items()} == {
        name: (("CONSTANTS", name), str(part.dtype)[6:], tuple(part.shape), part.stride())
        for name, part in constants.items()
    }
    data = path.read_bytes()
    for name, tensor in ours.items():
        span = checkpoint.storages[tensor.storage].span
        assert span is not None
        assert data[span.start : span.start + span.nbytes] == constants[name].numpy().tobytes()
    assert {found.root: found.role for found in checkpoint.state_dicts} == {
        (): "model",
        ("CONSTANTS",): "other",
    }


def test_packed_weights_of_a_quantized_module(tmp_path: Path) -> None:
    module = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 3)), {nn.Linear})
    torch.jit.script(module).save(tmp_path / "model.pt")
    checkpoint = read(tmp_path / "model.pt")
    weight, bias = module[0].weight(), module[0].bias()
    assert checkpoint.problems == ()
    assert [(t.dtype, t.shape) for t in checkpoint.tensors.values()] == [
        (str(part.dtype)[6:], tuple(part.shape)) for part in (weight, bias)
    ]


def test_state_of_its_own(tmp_path: Path) -> None:
    module = torch.ao.nn.quantized.Conv2d(3, 4, 3, stride=2)
    torch.jit.script(nn.Sequential(module)).save(tmp_path / "model.pt")
    meta = read(tmp_path / "model.pt").state_dicts[0].modules["0"]
    for name in ("in_channels", "out_channels", "groups", "zero_point"):
        assert (meta.config or {})[name] == getattr(module, name)
    assert (meta.config or {})["stride"] == module.stride


def test_lite_interpreter(tmp_path: Path) -> None:
    path = tmp_path / "model.ptl"
    torch.jit.script(Mixed())._save_for_lite_interpreter(str(path), _use_flatbuffer=False)
    checkpoint = read(path)
    assert checkpoint.problems == ()
    _expect_same(checkpoint, path)


def test_names_are_known(tmp_path: Path) -> None:
    torch.jit.script(Mixed()).save(tmp_path / "model.pt")
    found = {(ref.module, ref.name) for ref in read(tmp_path / "model.pt").globals}
    assert ("torch.jit._pickle", "restore_type_tag") in found
    assert {verdict(*name) for name in found} == {"known"}


def _rewrite(path: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """A copy of an archive with other bytes in its records; a record for which None is given is left out."""
    out = path.with_name("changed.pt")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = change(name.partition("/")[2], old.read(name))
            if data is not None:
                new.writestr(name, data)
    return out


def test_class_without_code_stays_a_name(tmp_path: Path) -> None:
    torch.jit.script(nn.Sequential(nn.Linear(2, 2))).save(tmp_path / "model.pt")
    changed = _rewrite(tmp_path / "model.pt", lambda name, data: None if "linear" in name else data)
    checkpoint = read(changed)
    assert "Linear" in {ref.name for ref in checkpoint.globals if ref.module.startswith("__torch__.")}
    assert {t.key: t.shape for t in checkpoint.tensors.values()} == {"0.weight": (2, 2), "0.bias": (2,)}


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('ran')",))


@pytest.mark.parametrize("record", ["data.pkl", "constants.pkl", "traced_inputs.pkl", ".debug_pkl"])
def test_foreign_names_are_seen_and_nothing_runs(record: str, tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(Constant(), torch.ones(1, 4)), tmp_path / "model.pt")
    evil = pickle.dumps(_Evil(), protocol=2)
    checkpoint = read(
        _rewrite(tmp_path / "model.pt", lambda name, data: evil if name.endswith(record) else data)
    )
    assert ("builtins", "exec", True) in {(ref.module, ref.name, ref.called) for ref in checkpoint.globals}


def test_before_torch_1_4(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "old.pt", "w") as archive:
        archive.writestr("old/version", "1")
        archive.writestr("old/model.json", "{}")
    with pytest.raises(UnsupportedFormatError, match=r"torch 1\.0 to 1\.3"):
        read(tmp_path / "old.pt")


def test_plain_checkpoint_is_not_torchscript(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "plain.pt")
    assert read(tmp_path / "plain.pt").format == "torch-zip"


def test_limit_on_code(tmp_path: Path) -> None:
    torch.jit.script(Mixed()).save(tmp_path / "model.pt")
    checkpoint = read(tmp_path / "model.pt", Limits(inflated_bytes=500))
    assert "limit-reached" in {problem.code for problem in checkpoint.problems}
    assert "conv.weight" in {t.key for t in checkpoint.tensors.values()}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("script") / "model.pt"
    torch.jit.save(torch.jit.script(Mixed()), path)
    return path


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bytes_never_end_in_a_traceback(saved: Path, data: st.DataObject) -> None:
    record = data.draw(st.sampled_from(["data.pkl", "constants.pkl", CONV]))
    edits = data.draw(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=6))

    def change(name: str, content: bytes) -> bytes:
        if name != record:
            return content
        changed = bytearray(content)
        for at, value in edits:
            changed[at % len(changed)] = value
        return bytes(changed)

    try:
        checkpoint = read(_rewrite(saved, change))
    except CkptAuditError:
        return
    assert checkpoint.format == "torchscript"


def _probe(source: LocalFile) -> Probe | None:
    probe = Probe(source, Limits())
    try:
        return probe if probe.archive else None
    except CkptAuditError:
        return None


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0.01, 0.99))
def test_cut_off(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    part = saved.with_name("part.pt")
    part.write_bytes(content[: int(len(content) * share)])
    with LocalFile(str(part)) as source:
        probe = _probe(source)
        if probe is None or not torchscript.sniff(probe):
            return  # cut before the module tree: no reader can tell what it was
        checkpoint = torchscript.read(probe)
    assert any(problem.incomplete for problem in checkpoint.problems)
    whole = read(saved).tensors
    for path, tensor in checkpoint.tensors.items():
        assert (whole[path].dtype, whole[path].shape, whole[path].stride) == (
            tensor.dtype,
            tensor.shape,
            tensor.stride,
        )


def test_cut_before_the_constants_is_read_in_full(saved: Path, tmp_path: Path) -> None:
    content = saved.read_bytes()
    (tmp_path / "part.pt").write_bytes(content[: content.index(b"constants.pkl") - 30])
    with LocalFile(str(tmp_path / "part.pt")) as source:
        probe = Probe(source, Limits())
        assert torchscript.sniff(probe)
        checkpoint = torchscript.read(probe)
    assert checkpoint.tensors == read(saved).tensors


def test_classes_in_text() -> None:
    found = classes_in(
        "class A(Module):\n"
        '  __parameters__ = ["weight", ]\n'
        '  __buffers__ = ["mean", "var", ]\n'
        "  stride : Final[Tuple[int, int]] = (2, 3)\n"
        "  eps : Final[float] = 1.0000000000000001e-05\n"
        '  mode : Final[str] = "ze\\"ros"\n'
        "  odd : Final[int] = f(1)\n"
        "  def __setstate__(self, state) -> NoneType:\n"
        "    self.groups = (state)[8]\n"
        "class B:\n"
        "  x : int\n"
    )
    assert found["A"].parameters == ["weight"]
    assert found["A"].buffers == ["mean", "var"]
    assert found["A"].constants == {"stride": (2, 3), "eps": 1e-05, "mode": 'ze"ros'}
    assert found["A"].state_names == {8: "groups"}
    assert (found["A"].base, found["B"].base) == ("Module", "")


@pytest.mark.parametrize("module", ["torch.nn.modules.conv", "__main__", "pkg.sub"])
def test_original_class_undoes_the_naming_of_torch(module: str) -> None:
    cls = type("Layer", (), {"__module__": module})
    qualified, _, name = torch._jit_internal._qualified_name(cls).rpartition(".")
    assert original_class(qualified, name) == (module, "Layer")
    assert original_class(f"{qualified}.___torch_mangle_12", name) == (module, "Layer")
