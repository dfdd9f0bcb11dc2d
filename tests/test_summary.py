from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ckptaudit.errors import SelectionError
from ckptaudit.model import Checkpoint, Role, Span, StateDict, Storage, TensorMeta
from ckptaudit.readers import read
from ckptaudit.summary import alias_name, overlaps, parameters, pick, select, ties, totals
from tests.handmade import GPT2_PARAMETERS, MLP, Parts, checkpoint, gpt2, tensor, training


def views(*tensors: TensorMeta, storages: list[Storage] | None = None) -> Checkpoint:
    known = storages or [Storage("s", "float32", "cpu", 400, Span("f", 64, 400))]
    return Checkpoint(
        "f",
        "torch-legacy",
        (),
        {item.path: item for item in tensors},
        {item.id: item for item in known},
        (StateDict((), "model"),),
    )


def keys(groups: tuple[tuple[TensorMeta, ...], ...]) -> list[list[str]]:
    return [[item.key for item in group] for group in groups]


def test_gpt2_has_its_published_size() -> None:
    counts = totals(gpt2())
    assert counts.parameters == GPT2_PARAMETERS
    assert counts.untied == GPT2_PARAMETERS + 50257 * 768
    assert counts.bytes_storages == 4 * GPT2_PARAMETERS
    assert (counts.tensors, counts.storages) == (149, 148)


def test_the_first_name_of_a_tie_carries_the_parameters() -> None:
    counts = parameters(gpt2())
    assert counts[("wte.weight",)] == 50257 * 768
    assert counts[("lm_head.weight",)] == 0


def test_optimizer_and_average_are_no_parameters() -> None:
    assert totals(training()).parameters == 20 * 256 + 256 + 256 * 10 + 10


@pytest.mark.parametrize("role", ["other", "ema"])
def test_without_a_model_the_rest_counts(role: Role) -> None:
    found = checkpoint({("a",): (role, MLP), ("optimizer",): ("optimizer", MLP)})
    assert totals(found).parameters == 7946


def test_running_statistics_and_buffers_are_no_parameters() -> None:
    names = ("bn.weight", "bn.running_mean", "bn.running_var", "bn.num_batches_tracked", "my_running_mean")
    found = checkpoint({(): ("model", {name: (4,) for name in names})})
    held = dict(found.tensors)
    held["mask",] = tensor("mask", (9,), "0", kind="buffer")
    assert set(parameters(replace(found, tensors=held))) == {("bn.weight",), ("my_running_mean",)}


@pytest.mark.parametrize(
    ("other", "tied", "overlapping"),
    [
        (tensor("b", (10, 10), "s"), True, False),
        (tensor("b", (100,), "s"), False, True),
        (tensor("b", (10, 10), "s", stride=(1, 10)), False, True),
        (tensor("b", (5, 10), "s", offset=50), False, True),
        (tensor("b", (10, 10), "s", offset=100), False, False),
        (tensor("b", (10, 10), "s", dtype="int32"), False, True),
        (tensor("b", (0, 10), "s"), False, False),
        (tensor("b", None, "s", kind="lazy"), False, False),
    ],
)
def test_two_views_of_one_storage(other: TensorMeta, tied: bool, overlapping: bool) -> None:
    found = views(tensor("a", (10, 10), "s"), other)
    assert keys(ties(found)) == ([["a", "b"]] if tied else [])
    assert keys(overlaps(found)) == ([["a", "b"]] if overlapping else [])


def test_views_without_bytes_in_the_file_tie_by_storage() -> None:
    meta = [Storage("m", "float32", "meta", 16, None), Storage("n", "float32", "meta", 16, None)]
    found = views(tensor("a", (4,), "m"), tensor("b", (4,), "m"), tensor("c", (4,), "n"), storages=meta)
    assert keys(ties(found)) == [["a", "b"]]


def test_a_storage_inside_another_is_the_same_memory() -> None:
    known = [
        Storage("whole", "float32", "cpu", 400, Span("f", 64, 400)),
        Storage("part", "float32", "cpu", 200, Span("f", 264, 200)),
    ]
    found = views(
        tensor("whole", (100,), "whole"),
        tensor("half", (50,), "whole", offset=50),
        tensor("part", (50,), "part"),
        storages=known,
    )
    assert keys(ties(found)) == [["half", "part"]]
    assert keys(overlaps(found)) == [["whole", "half", "part"]]


def test_negative_strides_reach_down() -> None:
    found = views(tensor("a", (4,), "s"), tensor("b", (4,), "s", offset=6, stride=(-1,)))
    assert keys(overlaps(found)) == [["a", "b"]]


def test_ties_across_state_dicts_are_named_in_full() -> None:
    parts: Parts = {("model",): ("model", {"w": (4,)}), ("best",): ("ema", {"w": (4,)})}
    found = checkpoint(parts)
    held = {path: item._replace(storage="0") for path, item in found.tensors.items()}
    found = replace(found, tensors=held)
    assert [alias_name(found)(group) for group in ties(found)] == [["model.w", "best.w"]]


def test_pick() -> None:
    two: Parts = {("generator",): ("model", MLP), ("discriminator",): ("model", MLP)}
    assert pick(checkpoint(two)) is None
    chosen = pick(checkpoint({**two, ("net",): ("model", MLP)}))
    assert chosen is not None
    assert chosen.root == ("net",)
    whole = pick(checkpoint({**two, (): ("model", MLP)}))
    assert whole is not None
    assert whole.root == ()
    assert pick(checkpoint({("optimizer",): ("optimizer", MLP)})) is None


def test_select_narrows_to_one_state_dict() -> None:
    narrowed = select(training(), "model_ema")
    assert {path[0] for path in narrowed.tensors} == {"model_ema"}
    assert set(narrowed.storages) == {item.storage for item in narrowed.tensors.values()}
    assert totals(narrowed).parameters == 7946
    assert narrowed.extras == {}


@pytest.mark.parametrize("name", ["nothing", "w"])
def test_select_says_what_there_is(name: str) -> None:
    found = checkpoint({("a", "w"): ("model", MLP), ("b", "w"): ("model", MLP)})
    with pytest.raises(SelectionError, match=r"a\.w, b\.w"):
        select(found, name)


def test_counts_and_ties_are_torchs_own(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the oracle is torch itself")
    nn = torch.nn
    shared = nn.Linear(8, 8)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), shared, nn.BatchNorm1d(8), shared, nn.Embedding(5, 8))
    model.register_module("head", nn.Linear(8, 5, bias=False))
    model.head.weight = model[5].weight
    path = tmp_path / "model.pt"
    torch.save(model.state_dict(), path)
    by_memory: dict[tuple[int, int], list[str]] = {}
    for key, value in torch.load(path).items():
        by_memory.setdefault((value.data_ptr(), value.numel()), []).append(key)
    found = read(str(path))
    assert keys(ties(found)) == [group for group in by_memory.values() if len(group) > 1]
    assert totals(found).parameters == sum(value.numel() for value in model.parameters())


def test_a_sparse_tensor_does_not_weigh_what_a_dense_one_would() -> None:
    sparse = read(Path(__file__).parent.parent / "fixtures" / "sparse.pt")
    dense = sparse.tensors["dense",]
    assert dense.nbytes == 4 * 4 * 4
    assert totals(sparse).bytes_tensors == dense.nbytes
