"""The rules on keys, on the small systems: what each says, and that torch's strict loading agrees.

Every file is compared with the class itself, with the whole model where that was saved, and with its lock.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import pytest

from ckptaudit.blueprint import child, load, lock
from ckptaudit.blueprint import module as module_reference
from ckptaudit.gate import check
from ckptaudit.isolated import ChildError
from ckptaudit.isolated.inside import RefusalError

torch = pytest.importorskip("torch", reason="the oracle is torch itself")

FIXTURES = Path(__file__).parent.parent / "fixtures"
NETS = """
    from systems import *
    def my_sequential(): return MySequential(*small_blocks())
    def module_list(): return ModuleListNet(*small_blocks())
    def python_list(): return PythonListNet(*small_blocks())
    def six(): return nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
"""


class Row(NamedTuple):
    """A file, the model it is loaded into, a whole model of that class if there is one, and the verdict."""

    file: str
    model: str
    whole: str
    says: dict[str, str]  # rule -> part of what it tells


OUT = {
    "missing-keys": "output.weight [10, 256]",
    "unexpected-keys": "out.weight [10, 256], out.bias [10]",
    "renamed-keys": "out.* -> output.* (likely, 2 keys). With it nothing is missing",
}
HEAD = {"shape-mismatch": "5 outputs instead of 2, a resized head"}
LAZY = {"shape-mismatch": "not initialized in the file"}

ROWS = (
    Row("mlp.params", "MLP", "full_model_mlp.pt", {}),
    Row("mlp_out.pt", "MLP", "full_model_mlp.pt", OUT),
    Row("my_sequential.pt", "my_sequential", "full_model_my_sequential.pt", {}),
    Row("module_list.pt", "module_list", "full_model_module_list.pt", {}),
    Row("python_list.pt", "python_list", "full_model_python_list.pt",
        {"lost-on-save": "4 tensors of PythonListNet are in no state dict: python_list.0.weight"}),
    Row("fixed_hidden_mlp.pt", "FixedHiddenMLP", "full_model_fixed_hidden_mlp.pt",
        {"lost-on-save": "is in no state dict: rand_weight [20, 20], a plain attribute"}),
    Row("shared.pt", "shared", "full_model_shared.pt", {}),
    Row("shared.safetensors", "shared", "full_model_shared.pt", {"absent-tie": "4.weight (= 2.weight)"}),
    Row("shared_submodule.pt", "SharedSubmodule", "full_model_shared_submodule.pt", {}),
    Row("lazy.pt", "lazy", "full_model_lazy.pt", {}),
    Row("lazy_loaded.pt", "lazy", "full_model_lazy.pt", {}),
    Row("lazy.pt", "sequential_mlp", "full_model_sequential_mlp.pt", LAZY),
    Row("lazy_half.pt", "LazyHalf", "", {}),
    Row("frozen.pt", "frozen", "full_model_frozen.pt", {}),
    Row("frozen_new_head.pt", "frozen", "full_model_frozen.pt", HEAD),
    Row("train_ckpt.pt", "six", "", {}),
    Row("sequential_mlp.pt", "MLP", "full_model_mlp.pt",
        {"missing-keys": "4 keys", "unexpected-keys": "4 keys", "renamed-keys": "0.* -> hidden.* (guess, 2"}),
)  # fmt: skip
IDS = [f"{row.file} into {row.model}" for row in ROWS]
ALWAYS = {"lazy-parameter", "weights-only-refused"}


@pytest.fixture(autouse=True)
def nets(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The code, importable; and the child's answer without the child, which would import torch each time."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "nets_of_systems.py").write_text(dedent(NETS))
    path = list(sys.path)
    for each in (FIXTURES, folder):
        monkeypatch.syspath_prepend(each)

    def ask(name: str, request: dict[str, Any], subject: str, seconds: float, folder: str) -> dict[str, Any]:
        try:
            return child.describe(request)
        except RefusalError as refusal:
            raise ChildError(subject, str(refusal)) from None

    monkeypatch.setattr(module_reference, "ask", ask)
    yield
    sys.path[:] = path
    sys.modules.pop("nets_of_systems", None)


def verdict(file: str, against: str) -> dict[str, str]:
    (report,) = check(str(FIXTURES / file), against=against, select=["keys"]).files
    told: dict[str, str] = {}
    for finding in report.findings:
        told[finding.rule] = f"{told.get(finding.rule, '')}{finding.message}\n"
    assert report.audited
    return told


def assert_says(told: dict[str, str], says: dict[str, str], leaving_out: set[str]) -> None:
    assert told.keys() - leaving_out == says.keys() - leaving_out
    for rule in told.keys() - leaving_out:
        assert says[rule] in told[rule]


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_against_code(row: Row) -> None:
    assert_says(verdict(row.file, f"module:nets_of_systems:{row.model}"), row.says, set())


@pytest.mark.parametrize("row", [row for row in ROWS if row.whole])
def test_against_the_whole_model(row: Row) -> None:
    assert_says(verdict(row.file, str(FIXTURES / row.whole)), row.says, set())


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_against_a_lock(row: Row, tmp_path: Path) -> None:
    path = tmp_path / "weights.lock.json"
    path.write_text(lock.dump(load(f"module:nets_of_systems:{row.model}")))
    # A lock knows what a state dict holds, and not what none of them does.
    assert_says(verdict(row.file, str(path)), row.says, {"lost-on-save"})


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_torch_says_the_same(row: Row) -> None:
    import nets_of_systems

    model = getattr(nets_of_systems, row.model)()
    loaded = state_dict_of(FIXTURES / row.file)
    (report,) = check(
        str(FIXTURES / row.file), against=f"module:nets_of_systems:{row.model}", select=["keys"]
    ).files
    told = {rule: {key for each in report.findings if each.rule == rule for key in each.keys}
            for rule in ("missing-keys", "unexpected-keys", "shape-mismatch", "absent-tie")}  # fmt: skip
    try:
        wrong = model.load_state_dict(loaded, strict=False)
        missing, unexpected, sizes = wrong.missing_keys, wrong.unexpected_keys, set()
    except (RuntimeError, ValueError, AttributeError) as error:
        missing, unexpected = (), ()
        sizes = {key for key in loaded if key in str(error)} or set(loaded)
    assert set(missing) == told["missing-keys"] | told["absent-tie"]
    assert set(unexpected) == told["unexpected-keys"]
    assert sizes == told["shape-mismatch"]


def state_dict_of(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    loaded = torch.load(path, weights_only=False)
    return loaded.get("model", loaded)


def test_what_none_of_its_state_dicts_holds_is_told_of_the_whole_model_too() -> None:
    (report,) = check(str(FIXTURES / "full_model_python_list.pt"), select=["lost-on-save"]).files
    assert [finding.keys for finding in report.findings] == [
        ("python_list.0.weight", "python_list.0.bias", "python_list.2.weight", "python_list.2.bias")
    ]


def test_of_a_training_checkpoint_the_report_says_what_was_picked() -> None:
    (report,) = check(str(FIXTURES / "train_ckpt.pt"), against=str(FIXTURES / "train_ckpt.pt")).files
    assert report.picked == "model"
    assert report.coverage is not None
    assert (report.coverage.tensors, report.coverage.of_tensors) == (4, 4)


def test_a_function_holds_no_parameters() -> None:
    against = "module:nets_of_systems:small_blocks"
    report = check(str(FIXTURES / "mlp.params"), against=against)
    assert report.exit_code == 3
    assert any("gives a tuple, not an nn.Module" in each.message for each in report.files[0].findings)
