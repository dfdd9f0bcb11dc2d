from __future__ import annotations

from dataclasses import replace

import pytest

from ckptaudit.audit import Finding, Severity
from ckptaudit.diagram.ids import anchor
from ckptaudit.diagram.parts import Box, Cluster, End, Head
from ckptaudit.diagram.picture import Options, Picture, picture
from ckptaudit.diagram.standing import against
from ckptaudit.model import Storage
from tests.diagram.drawn import FIXTURES, fixture, names
from tests.handmade import GPT2, GPT2_BLOCK, MLP, Keys, checkpoint, gpt2, training


def only(keys: Keys, **options: object) -> Picture:
    return picture(checkpoint({(): ("model", keys)}), Options(**options))  # type: ignore[arg-type]


def heads(drawn: Picture) -> dict[str, Head]:
    """The heads of frames and boxes by their names."""
    found, stack = {}, list(drawn.children)
    while stack:
        part = stack.pop()
        found[part.head.name] = part.head
        stack += part.children if isinstance(part, Cluster) else ()
    return found


def test_a_module_is_a_box_with_its_tensors() -> None:
    drawn = only(MLP)
    hidden, output = drawn.boxes()
    assert (hidden.head.name, hidden.head.layer, hidden.head.confidence) == (
        "hidden",
        "Linear 20→256",
        "likely",
    )
    assert (hidden.head.parameters, hidden.head.nbytes) == (5376, 4 * 5376)
    assert [(row.name, row.shape, row.dtype, row.device) for row in output.rows] == [
        ("weight", (10, 256), "float32", "cpu"),
        ("bias", (10,), "float32", "cpu"),
    ]
    assert hidden.head.anchor == anchor("module", ("hidden",))
    assert hidden.rows[0].anchor == anchor("tensor", ("hidden.weight",))
    assert drawn.notes == ("no order of execution: a state dict has none",)


def test_blocks_fold_and_ties_are_drawn_from_row_to_row() -> None:
    drawn = picture(gpt2())
    assert len(drawn.boxes()) == 10
    assert heads(drawn)["h ×12 alike (0-11)"].times == 12
    assert heads(drawn)["h ×12 alike (0-11)"].parameters == 85_054_464
    (tie,) = drawn.edges
    assert (tie.kind, tie.storages, tie.keys) == ("tie", 1, 2)
    assert tie.tail == End(anchor("module", ("wte",)), anchor("tensor", ("wte.weight",)))
    assert tie.head == End(anchor("module", ("lm_head",)), anchor("tensor", ("lm_head.weight",)))
    assert (drawn.totals.parameters, drawn.totals.untied) == (124_439_808, 163_037_184)


def test_a_block_that_differs_stands_beside_the_fold() -> None:
    drawn = only({**GPT2, "h.5.attn.c_attn.weight": (768, 2000)})
    odd = heads(drawn)["5"]
    assert [(each.name, each.here and each.here[1]) for each in odd.difference] == [
        ("attn.c_attn.weight", (768, 2000))
    ]
    assert "×11 alike (0-4, 6-11)" in heads(drawn)


def test_expand_unfolds_one_and_opens_it() -> None:
    drawn = picture(gpt2(), Options(expand=("h.5",)))
    assert isinstance(next(part for part in drawn.children if part.head.name == "h"), Cluster)
    assert [head.times for name, head in heads(drawn).items() if name == "5"] == [1]
    assert "×11 alike (0-4, 6-11)" in heads(drawn)


@pytest.mark.parametrize(("depth", "boxes"), [(1, 5), (2, 8), (3, 10), (9, 10)])
def test_depth(depth: int, boxes: int) -> None:
    drawn = picture(gpt2(), Options(depth=depth))
    assert len(drawn.boxes()) == boxes
    assert bool(drawn.folded) == (depth < 3)


def test_a_tie_into_a_closed_module_ends_at_it() -> None:
    keys = {**{f"a.{name}": size for name, size in GPT2_BLOCK.items()}, "head.weight": (768, 768)}
    drawn = picture(
        checkpoint({(): ("model", keys)}, {"head.weight": "a.attn.c_proj.weight"}), Options(depth=1)
    )
    (tie,) = drawn.edges
    assert tie.tail == End(anchor("module", ("a",)))
    assert tie.head.row == anchor("tensor", ("head.weight",))


def test_a_tie_inside_of_a_closed_module_is_told_in_it() -> None:
    keys = {"a.x.weight": (3, 3), "a.y.weight": (3, 3), "b.weight": (2,)}
    drawn = picture(checkpoint({(): ("model", keys)}, {"a.y.weight": "a.x.weight"}), Options(depth=1))
    assert drawn.edges == ()
    assert heads(drawn)["a"].note == "1 tie inside: 1 storage, 2 keys"


def test_a_tie_across_all_blocks_is_one_edge_into_the_fold() -> None:
    keys = {f"h.{block}.weight": (3, 3) for block in range(4)}
    ties = {key: "h.0.weight" for key in keys if key != "h.0.weight"}
    drawn = picture(checkpoint({(): ("model", keys)}, ties))
    assert names(drawn) == ["0", "×3 alike (1-3)"]
    assert [(edge.storages, edge.keys) for edge in drawn.edges] == [(1, 4)]


def test_many_ties_of_two_boxes_are_one_edge() -> None:
    names = [f"p{number}x" for number in range(5)]
    keys = {f"{module}.{name}": (number + 1, 2) for module in "ab" for number, name in enumerate(names)}
    drawn = picture(checkpoint({(): ("model", keys)}, {f"b.{name}": f"a.{name}" for name in names}))
    (tie,) = drawn.edges
    assert (tie.storages, tie.keys, tie.tail.row) == (5, 10, "")


def test_many_modules_are_summed_up_and_that_is_said() -> None:
    drawn = only({f"layer{number}.weight": (number + 1, 7) for number in range(1000)})
    assert len(drawn.boxes()) == 30
    assert names(drawn)[-1] == "971 modules more"
    assert drawn.folded == ("only counted: 971 modules, the smaller ones (--max-nodes N draws more)",)
    shown = sum(box.head.parameters for box in drawn.boxes())
    assert shown == drawn.totals.parameters


def test_many_tensors_of_one_module_are_counted() -> None:
    (box,) = only({f"w{chr(97 + n % 26)}{chr(97 + n // 26)}": (n + 1,) for n in range(500)}).boxes()
    assert len(box.rows) + box.hidden == 500
    assert len(box.rows) < 20


def test_optimizer_and_average_are_one_box_each() -> None:
    drawn = picture(training())
    assert [part.head.name for part in drawn.children] == ["model", "model_ema", "optimizer"]
    _, _, average, optimizer = drawn.boxes()
    assert (average.head.tensors, average.closed, average.rows) == (4, True, ())
    assert (optimizer.head.tensors, optimizer.head.nbytes) == (4, 31784)
    opened = picture(training(), Options(expand=("optimizer*",)))
    assert "exp_avg" in [row.name for box in opened.boxes() for row in box.rows]


def test_lazy_has_no_shape() -> None:
    drawn = picture(fixture("lazy_half.pt"))
    assert {box.head.name: [row.shape for row in box.rows] for box in drawn.boxes()} == {
        "used": [(3, 6), (3,)],
        "unused": [None, None],
    }


@pytest.mark.parametrize(
    ("color", "legend"),
    [
        ("device", ["cuda:0", "cuda:1"]),
        ("dtype", ["float32"]),
        ("size", ["25 % of all bytes or more", "5 to 25 %"]),
        ("finding", ["no finding"]),
    ],
)
def test_colours_are_told(color: str, legend: list[str]) -> None:
    drawn = picture(fixture("devices_mixed.pt"), Options(color=color))  # type: ignore[arg-type]
    assert [swatch.label for swatch in drawn.legend] == legend
    assert {box.category for box in drawn.boxes()} <= {swatch.key for swatch in drawn.legend}


def test_a_module_on_two_devices_is_mixed() -> None:
    made = checkpoint({(): ("model", MLP)})
    storages = {**made.storages, "1": Storage("1", "float32", "cuda:0", 1024, None)}
    drawn = picture(replace(made, storages=storages))
    assert [box.category for box in drawn.boxes()] == ["mixed", "cpu"]
    assert [swatch.label for swatch in drawn.legend] == ["cpu", "cuda:0", "several devices"]


FINDINGS = (
    Finding("non-finite", Severity.ERROR, "3 values are not finite", ("h.3.mlp.c_fc.weight",)),
    Finding("odd", Severity.WARNING, "this is odd", ("wte",)),
)


def test_findings_colour_what_they_name() -> None:
    drawn = picture(gpt2(), findings=FINDINGS)
    found = heads(drawn)
    assert found["wte"].severity == Severity.WARNING
    assert found["wte"].told == ("warning odd: this is odd",)
    assert found["c_fc"].severity == Severity.ERROR
    rows = {row.name: row.severity for box in drawn.boxes() if box.head.name == "c_fc" for row in box.rows}
    assert rows == {"weight": Severity.ERROR, "bias": None}
    assert found["c_attn"].severity is None
    closed = heads(picture(gpt2(), Options(depth=1), findings=FINDINGS))
    assert closed["h ×12 alike (0-11)"].severity == Severity.ERROR
    assert (drawn.totals.errors, drawn.totals.warnings) == (1, 1)


def test_against_a_reference() -> None:
    own = fixture("mlp_out.pt")
    drawn = picture(own, match=against(own, str(FIXTURES / "mlp.params")))
    found = heads(drawn)
    assert {name: head.standing for name, head in found.items()} == {
        "hidden": "",
        "out": "unexpected",
        "output": "missing",
    }
    (rename,) = drawn.edges
    assert (rename.kind, rename.sure, rename.keys) == ("rename", "likely", 2)
    assert (rename.tail.part, rename.head.part) == (found["out"].anchor, found["output"].anchor)
    assert drawn.totals.tensors == 4
    assert drawn.totals.parameters == 7946


def test_order_is_drawn_where_the_file_tells_it() -> None:
    drawn = picture(fixture("full_model_sequential_mlp.pt"))
    assert [edge.kind for edge in drawn.edges] == ["order", "order"]
    exported = picture(fixture("mlp.pt2"))
    assert [edge.kind for edge in exported.edges] == ["order"]
    assert exported.notes[0].startswith("grey arrows: order of execution, where the exported program")
    assert picture(fixture("sequential_mlp.pt")).edges == ()
    assert picture(fixture("full_model_mlp.pt")).edges == ()


@pytest.mark.parametrize("name", ["python_list.pt", "fourier.pt"])
def test_nothing_is_a_picture_too(name: str) -> None:
    drawn = picture(fixture(name))
    assert drawn.boxes() == ()
    assert drawn.notes == ("nothing to draw: no tensor, and no module that is known",)


def test_anchors_are_unique() -> None:
    for made in (gpt2(), training(), fixture("zoo.pt"), fixture("train_ckpt_ema.pt")):
        boxes = picture(made).boxes()
        anchors = [box.head.anchor for box in boxes] + [row.anchor for box in boxes for row in box.rows]
        assert len(anchors) == len(set(anchors))
        assert all(isinstance(box, Box) for box in boxes)
