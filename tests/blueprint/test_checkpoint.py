from __future__ import annotations

from pathlib import Path

import pytest

from ckptaudit.blueprint import Expected, load
from ckptaudit.blueprint.checkpoint import of_checkpoint
from ckptaudit.errors import CkptAuditError, SelectionError
from tests.handmade import GPT2, MLP, checkpoint, gpt2, training, write_safetensors

FIXTURES = Path(__file__).parents[2] / "fixtures"


def test_all_that_it_holds_is_expected() -> None:
    found = of_checkpoint(gpt2(), "folder/gpt2.pt")
    assert found.tensors == {key: Expected(shape, "float32") for key, shape in GPT2.items()}
    assert found.ties == (("wte.weight", "lm_head.weight"),)
    assert found.name == "gpt2.pt"


def test_of_a_training_checkpoint_the_model_counts() -> None:
    assert list(of_checkpoint(training(), "x").tensors) == list(MLP)


def test_several_models_are_not_chosen_among() -> None:
    two = checkpoint({("generator",): ("model", MLP), ("discriminator",): ("model", MLP)})
    with pytest.raises(SelectionError, match="generator, discriminator"):
        of_checkpoint(two, "x")


@pytest.mark.parametrize(
    ("name", "model", "keys", "lost"),
    [
        ("full_model_mlp.pt", "MLP", list(MLP), []),
        ("full_model_python_list.pt", "PythonListNet", [], ["python_list.0.weight", "python_list.0.bias"]),
        (
            "full_model_fixed_hidden_mlp.pt",
            "FixedHiddenMLP",
            ["linear.weight", "linear.bias"],
            ["rand_weight"],
        ),
        ("train_ckpt_ema.pt::ema_state_dict", "train_ckpt_ema.pt::ema_state_dict", None, []),
        ("sharded_safetensors", "sharded_safetensors", None, []),
    ],
)
def test_fixtures(name: str, model: str, keys: list[str] | None, lost: list[str]) -> None:
    found = load(str(FIXTURES / name))
    assert found.name == model
    assert keys is None or list(found.tensors) == keys
    assert list(found.lost)[: len(lost)] == lost
    assert found.tensors or lost


def test_a_shape_that_is_not_known_yet() -> None:
    found = load(str(FIXTURES / "lazy.pt"))
    assert {each.shape for each in found.tensors.values()} == {None}
    assert [each.nbytes for each in found.tensors.values()] == [0] * 4


def test_a_file_that_is_not_whole_is_no_reference(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "x", MLP)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CkptAuditError, match="x"):
        load(str(path))
