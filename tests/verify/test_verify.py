"""Checkpoints against golden records and against one another; processes are only played here."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="runs models")

import ckptaudit  # noqa: E402
from ckptaudit.errors import CkptAuditError  # noqa: E402
from ckptaudit.output import OutputError  # noqa: E402
from ckptaudit.verify import Comparison, processes, record, record_model, verify  # noqa: E402
from ckptaudit.verify.records import RecordError, load  # noqa: E402
from tests.oracle import FIXTURES  # noqa: E402
from tests.verify import helpers  # noqa: E402

NET = "own_nets:Net"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The code beside the files, and processes that are none."""
    helpers.write_code(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(processes, "ask", helpers.here)
    monkeypatch.setattr(processes, "_fit", lambda jobs: False)  # one after the other: settings are global
    sys.modules.pop("own_nets", None)
    yield
    sys.modules.pop("own_nets", None)


@pytest.fixture
def golden(tmp_path: Path) -> str:
    found = record(helpers.save(tmp_path / "net.pt"), "golden.safetensors", model=NET)
    assert (found.verdict, found.reason) == ("equal", "")
    return "golden.safetensors"


def test_round_trip(golden: str, tmp_path: Path) -> None:
    found = verify("net.pt", record=golden, model=NET)
    assert (found.verdict, found.reason, found.first_divergence) == ("equal", "", None)
    assert [stage.name for stage in found.stages] == [
        *("bytes", "structure", "self-consistency", "noise floor", "fresh process", "outputs", "localise")
    ]
    assert found.settings["deterministic_algorithms"] is True
    assert ckptaudit.verify is not None
    first = Path(golden).read_bytes()
    record("net.pt", golden, model=NET)
    assert Path(golden).read_bytes() == first
    safetensors = pytest.importorskip("safetensors.torch")
    assert {name.split(".")[0] for name in safetensors.load_file(golden)} == {"input", "output", "trace"}


@pytest.mark.parametrize(
    ("path", "model", "verdict", "reason", "module"),
    [
        ({"last__weight": 0.5}, NET, "different", "outputs differ", "last"),
        ({"first__bias": 1e-3}, NET, "different", "outputs differ", "first"),
        ({}, "own_nets:steep", "different", "outputs differ", "act"),
        ({}, "own_nets:Lost", "different", "does not determine the outputs", ""),
        ({}, "own_nets:Hidden", "different", "does not determine the outputs", ""),
        ({}, "own_nets:More", "incomplete", "2 missing: more.weight, more.bias", None),
        ({}, "own_nets:Tied", "incomplete", "missing", None),
        ({}, "own_nets:raises", "incomplete", "ValueError: no such size", None),
        ({}, "own_nets:absent", "incomplete", "absent", None),
        ({}, None, "incomplete", "a state dict holds no forward", None),
    ],
)
def test_what_is_not_equal(
    path: dict[str, float], model: str | None, verdict: str, reason: str, module: str | None, golden: str
) -> None:
    found = verify(helpers.save(Path("other.pt"), **path), record=golden, model=model)
    assert found.verdict == verdict, found.reason
    assert reason in found.reason
    if module is not None:
        assert found.first_divergence is not None
        assert found.first_divergence.module == module


def test_what_the_file_does_not_hold_is_named(golden: str) -> None:
    found = verify("net.pt", record=golden, model="own_nets:Lost")
    assert found.first_divergence is not None
    assert found.first_divergence.keys == ("rand_weight",)
    for model, key in (("own_nets:Garbage", "noise"), ("own_nets:Alpha", "alpha")):
        found = verify("net.pt", against="net.pt", model=model)
        assert not found.equal
        assert "does not determine the outputs" in found.reason
        assert found.first_divergence is not None
        assert found.first_divergence.keys == (key,)
    found = verify("net.pt", against="net.pt", model="own_nets:Lost")
    assert (found.verdict, found.equal) == ("different", False)
    assert found.reason.endswith(": rand_weight")


def test_the_seed_of_the_record_does_not_help(tmp_path: Path) -> None:
    """A record of the very numbers that the first of two constructions draws."""
    torch.manual_seed(1)
    import own_nets  # type: ignore[import-not-found]

    helpers.save(tmp_path / "net.pt")
    net = own_nets.Lost()
    net.load_state_dict(helpers.state())
    assert record_model(net, "golden.safetensors").equal
    found = verify("net.pt", record="golden.safetensors", model="own_nets:Lost")
    assert found.verdict == "incomplete"
    assert "rand_weight" in found.reason
    assert found.first_divergence is not None


def test_what_cannot_be_compared_with_itself_is_not_recorded(tmp_path: Path) -> None:
    helpers.save(tmp_path / "net.pt")
    torch.save({"0.weight": torch.randn(8, 6), "0.bias": torch.randn(8)}, "drop.pt")
    for path, model, verdict in (
        ("net.pt", "own_nets:Lost", "incomplete"),
        ("net.pt", "own_nets:More", "incomplete"),
        ("drop.pt", "own_nets:dropping", "stochastic"),
    ):
        assert record(path, "golden.safetensors", model=model).verdict == verdict
        assert not Path("golden.safetensors").exists()


def test_a_tie_that_the_file_does_not_keep() -> None:
    """The model ties two keys; the file has other values under each of them."""
    state = helpers.state()
    torch.save({**state, "twin.weight": torch.randn(8, 6), "twin.bias": torch.randn(8)}, "net.pt")
    found = verify("net.pt", against="net.pt", model="own_nets:Tied")
    assert found.verdict == "incomplete"
    assert "others in the model than in the file: first.weight" in found.reason
    torch.save({**state, "twin.weight": state["first.weight"].clone(), "twin.bias": torch.randn(8)}, "net.pt")
    assert verify("net.pt", against="net.pt", model="own_nets:Tied").equal


def test_maps_and_formats(golden: str) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    renamed = {f"net.{key}": value for key, value in helpers.state().items()}
    safetensors.save_file(renamed, "renamed.safetensors")
    assert verify("renamed.safetensors", record=golden, model=NET, maps=["net="]).equal
    found = verify("renamed.safetensors", record=golden, model=NET)
    assert found.verdict == "incomplete"
    assert "4 missing" in found.reason
    assert verify("renamed.safetensors", against="net.pt", model=NET, maps=["net="]).equal


def test_against_itself_and_a_changed_one(tmp_path: Path) -> None:
    helpers.save(tmp_path / "one.pt")
    helpers.save(tmp_path / "other.pt", first__weight=0.1)
    assert verify("one.pt", against="one.pt", model=NET).equal
    found = verify("other.pt", against="one.pt", model=NET)
    assert (found.verdict, found.outputs[0].mismatched > 0) == ("different", True)
    assert found.first_divergence is not None
    assert found.first_divergence.keys == ("first.weight",)


def test_another_dtype_is_close_and_never_equal(golden: str) -> None:
    found = verify("net.pt", record=golden, model=NET, dtype="bfloat16")
    assert (found.verdict, found.close, found.equal) == ("close (bfloat16)", True, False)
    changed = helpers.save(Path("changed.pt"), last__bias=1e-6)
    assert verify(changed, record=golden, model=NET, dtype="bfloat16").verdict == "different"
    assert verify("net.pt", record=golden, model=NET, dtype="int8").verdict == "incomplete"


def test_whole_modules_need_no_code() -> None:
    for name in ("full_model_sequential_mlp.pt", "full_model_shared.pt", "full_model_bn_dropout_train.pt"):
        assert verify(str(FIXTURES / name), against=str(FIXTURES / name)).equal
    one, other = (str(FIXTURES / f"full_model_bn_dropout_{mode}.pt") for mode in ("train", "eval"))
    found = verify(one, against=other)
    assert found.equal
    assert "train mode" in found.stages[1].detail


def test_a_whole_module_that_is_more_than_its_layers() -> None:
    """A forward of its own, or a hook, in the file: what is rebuilt has neither."""
    import own_nets

    net = torch.nn.Sequential(torch.nn.Linear(6, 3))
    torch.save(net, "plain.pt")
    assert verify("plain.pt", against="plain.pt").equal
    net[0].register_forward_hook(own_nets.hangs)
    torch.save(net, "hooked.pt")
    odd = torch.nn.Sequential(torch.nn.Linear(6, 3))
    odd.load_state_dict(net.state_dict())
    odd.forward = own_nets.raises
    torch.save(odd, "odd.pt")
    for name in ("hooked.pt", "odd.pt"):
        assert verify(name, against="plain.pt").verdict == "incomplete"
        assert verify("plain.pt", against=name).verdict == "incomplete"


def test_given_inputs(golden: str) -> None:
    found = record("net.pt", "two.safetensors", model=NET, inputs=["2x6:float32"])
    assert found.equal
    assert [leaf.shape for case in load("two.safetensors").inputs for leaf in case] == [(2, 6)] * 3
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file({"x": torch.randn(5, 6)}, "inputs.safetensors")
    assert record("net.pt", "three.safetensors", model=NET, inputs_file="inputs.safetensors").equal
    assert [leaf.name for leaf in load("three.safetensors").inputs[0]] == ["x"]
    assert verify("net.pt", record="three.safetensors", model=NET).equal
    assert record("net.pt", "four.safetensors", model=NET, inputs=["2x7"]).verdict == "incomplete"
    with pytest.raises(CkptAuditError, match="is no input"):
        record("net.pt", "five.safetensors", model=NET, inputs=["two by six"])


def resealed(path: str, change: Callable[[dict[str, Any]], None]) -> None:
    """The record with another header, its seal left as it was."""
    data = Path(path).read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    told = json.loads(header["__metadata__"]["ckptaudit.record/1"])
    change(told)
    header["__metadata__"]["ckptaudit.record/1"] = json.dumps(told)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told["body"]["weights"].clear(),
        lambda told: told["body"].update(outputs=[]),
        lambda told: told["body"]["environment"].update(torch="0.1"),
        lambda told: told.update(seal="0" * 64),
        lambda told: told.pop("body"),
        lambda told: told.clear(),
    ],
)
def test_a_record_edited_by_hand_is_refused(change: Any, golden: str) -> None:
    resealed(golden, change)
    with pytest.raises(RecordError):
        verify("net.pt", record=golden, model=NET)


def test_a_record_with_other_bytes_is_refused(golden: str) -> None:
    data = bytearray(Path(golden).read_bytes())
    start = 8 + struct.unpack("<Q", data[:8])[0]
    for place in range(start, len(data), 97):
        edited = data.copy()
        edited[place] ^= 1
        Path(golden).write_bytes(edited)
        with pytest.raises(CkptAuditError):
            load(golden)


@pytest.mark.parametrize("cut", [0, 4, 100, -1, -200])
def test_a_truncated_record_is_refused(cut: int, golden: str) -> None:
    Path(golden).write_bytes(Path(golden).read_bytes()[:cut])
    with pytest.raises(CkptAuditError):
        verify("net.pt", record=golden, model=NET)


def test_files_are_kept_apart(golden: str) -> None:
    with pytest.raises(OutputError, match="not overwritten"):
        record("net.pt", "net.pt", model=NET)
    with pytest.raises(OutputError):
        record("net.pt", "absent/golden.safetensors", model=NET)
    with pytest.raises(RecordError, match="no golden record"):
        verify("net.pt", record="net.pt", model=NET)
    with pytest.raises(CkptAuditError):
        verify("absent.pt", record=golden, model=NET)
    with pytest.raises(ValueError, match="record or against"):
        verify("net.pt")


def test_a_cut_checkpoint_is_not_equal(golden: str) -> None:
    data = Path("net.pt").read_bytes()
    Path("cut.pt").write_bytes(data[: len(data) // 2])
    try:
        found: Comparison | None = verify("cut.pt", record=golden, model=NET)
    except CkptAuditError:
        found = None
    assert found is None or found.verdict == "incomplete"


@pytest.mark.parametrize(
    "made",
    [
        lambda: torch.randn(3, 2, dtype=torch.complex128),
        lambda: torch.randn(3).to(torch.float8_e5m2),
        lambda: torch.zeros(0, 3),
        lambda: torch.tensor(True),
        lambda: torch.tensor([1, 2], dtype=torch.uint16),
    ],
)
def test_records_keep_every_dtype(made: Callable[[], Any]) -> None:
    class Give(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return {"kept": made_once, "x": x * 2, "number": 3.5, "none": None}

    made_once = made()
    assert record_model(Give(), "kept.safetensors", torch.randn(2, 3)).equal
    leaf = {leaf.name: leaf for leaf in load("kept.safetensors", values=True).outputs[0]}
    assert leaf["kept"].value.dtype == made_once.dtype
    assert torch.equal(leaf["kept"].value.to(torch.complex128), made_once.to(torch.complex128))
    assert leaf["number"].value == 3.5
