from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptaudit.fold import tree
from ckptaudit.model import Checkpoint, GlobalRef, ModuleMeta, Problem, Span, StateDict
from ckptaudit.reports.inspect.layers import inferred
from ckptaudit.reports.inspect.rows import View, rows
from ckptaudit.reports.inspect.selection import Selection
from ckptaudit.reports.inspect.text import MOST_ROWS, Page, render
from tests.handmade import GPT2, GPT2_PARAMETERS, MLP, checkpoint, gpt2, tensor, training

PLAIN = Page()


def page(found: Checkpoint, how: Page = PLAIN) -> str:
    return render(found, how)


def line(found: Checkpoint, words: str, how: Page = PLAIN) -> str:
    """The one line that has these words."""
    (only,) = [row for row in page(found, how).splitlines() if words in row]
    return only


def mlp() -> Checkpoint:
    return checkpoint({(): ("model", MLP)})


def test_header_and_totals() -> None:
    header, _, totals, *_ = page(mlp()).splitlines()
    assert header.startswith("made.pt  torch zip · state dict · 1000 B · header only, nothing executed")
    facts = (
        "4 tensors",
        "7,946 parameters",
        "31.0 KiB",
        "float32 100 %",
        "device cpu",
        "ties 0",
        "problems 0",
    )
    for fact in facts:
        assert fact in totals.split("   ") or f"  {fact}" in totals


def test_every_module_and_tensor_has_its_row() -> None:
    assert "5,376" in line(mlp(), "─ hidden")
    assert "67.7 %" in line(mlp(), "─ hidden")
    assert "32.3 %" in line(mlp(), "─ output")
    assert len([row for row in page(mlp()).splitlines() if "[10, 256]" in row and "2,560" in row]) == 1


def test_gpt2_folds_and_counts_its_tie_once() -> None:
    fold = line(gpt2(), "h ×12 alike (0-11)")
    assert "85,054,464" in fold
    assert "68.3 %" in fold
    assert "(--expand 'h.5')" in fold
    assert f"{GPT2_PARAMETERS:,} parameters (124.4 M, 163.0 M if untied)" in page(gpt2())
    tie = line(gpt2(), "wte.weight = lm_head.weight")
    assert "one storage, counted once (163.0 M if untied)" in tie
    assert len(page(gpt2()).splitlines()) < 50


def test_rows_inside_a_fold_say_how_often_they_are_there() -> None:
    assert "×12" in line(gpt2(), "─ c_fc")
    assert "2,362,368" in line(gpt2(), "─ c_fc")


def test_an_odd_sibling_stands_out_with_its_difference_only() -> None:
    keys = {**GPT2, "h.5.attn.rotary.inv_freq": (32,)}
    shown = page(checkpoint({(): ("model", keys)}))
    assert "h ×11 alike (0-4, 6-11)" in shown
    assert "5  differs: attn.rotary.inv_freq [32] float32 only here" in shown
    assert shown.count("inv_freq") == 1


def test_tied_layers_in_a_row_add_nothing_the_second_time() -> None:
    keys = {
        f"{place}.{name}": size for place in range(3) for name, size in (("weight", (8, 8)), ("bias", (8,)))
    }
    ties = {f"{place}.{name}": f"0.{name}" for place in (1, 2) for name in ("weight", "bias")}
    shown = page(checkpoint({(): ("model", keys)}, ties))
    assert "72 parameters (216 if untied)" in shown
    assert "0.* = 1.* = 2.*: 2 storages, each counted once (216 if untied)" in shown
    assert "0.weight = 1.weight = 2.weight: one storage" in shown
    assert "×2 alike (1-2)" in shown


def test_a_training_checkpoint_says_what_was_picked_and_what_was_not() -> None:
    shown = page(training())
    assert "picked     model: the model" in shown
    assert "optimizer  4 tensors, 31.0 KiB, 1 setting: optimizer state, no parameters" in shown
    assert "model_ema  4 tensors, 31.0 KiB: an averaged copy, not counted" in shown
    assert "7,946 parameters" in shown
    assert "epoch = 3" in shown
    assert "exp_avg" not in shown


def test_two_models_are_both_shown_and_neither_picked() -> None:
    shown = page(checkpoint({("g",): ("model", MLP), ("d",): ("model", MLP)}))
    assert "none: g, d could each be the model" in shown
    assert "15,892 parameters" in shown
    assert "×2 alike (g, d)" in shown


def test_classes_and_widths_of_a_full_model() -> None:
    modules = {
        "": ModuleMeta("", "__main__.MLP"),
        "hidden": ModuleMeta(
            "hidden", "torch.nn.modules.linear.Linear", {"in_features": 20, "out_features": 256}
        ),
        "relu": ModuleMeta("relu", "torch.nn.modules.activation.ReLU", {}),
    }
    found = replace(mlp(), state_dicts=(StateDict((), "model", modules),))
    shown = page(found)
    assert "full model" in shown
    assert "hidden   Linear 20→256" in shown
    assert "relu   ReLU" in shown
    assert "activations" not in shown


def test_layers_of_a_state_dict_are_inferred_and_said_to_be() -> None:
    assert "─ hidden   Linear 20→256  likely " in line(mlp(), "─ hidden")
    assert "the classes of modules: those shown are inferred from names and shapes" in page(mlp())
    assert "settings that no tensor shows" not in page(mlp())
    images = checkpoint({(): ("model", {"stem.weight": (8, 3, 7, 7), "wte.weight": (50, 4)})})
    assert "Conv2d 3→8 7×7  likely" in line(images, "─ stem")
    assert "of Conv2d: groups, stride, padding, dilation, padding_mode; of Embedding: padding_idx" in page(
        images
    )
    nothing = checkpoint({(): ("model", {"a.gain": (8,)})})
    assert "inferred" not in page(nothing)


def test_inferred_layers_are_shown_once_for_folded_blocks() -> None:
    assert line(gpt2(), "─ c_attn").count("Conv1D 768→2304  likely") == 1
    assert "likely" not in line(gpt2(), "h ×12 alike (0-11)")


def test_blocks_that_fold_show_a_layer_only_where_all_seem_to_be_it() -> None:
    keys = {f"b.{number}.norm.{part}": (32,) for number in range(4) for part in ("weight", "bias")}
    alike = checkpoint({(): ("model", keys)})
    assert "LayerNorm 32  likely" in line(alike, "─ norm")
    told = inferred(alike, alike.state_dicts[0])
    told["b.2.norm"] = told["b.2.norm"]._replace(confidence="guess")
    root = tree(alike, alike.state_dicts[0])
    found = list(rows(root, View({}, {}, told=told)))
    assert [row.detail for row in found if row.name == "norm"] == [""]


def test_classes_of_the_file_come_before_what_is_inferred() -> None:
    meta = {"": ModuleMeta("", "mine.Net"), "hidden": ModuleMeta("hidden"), "output": ModuleMeta("output")}
    typed = replace(mlp(), state_dicts=(StateDict((), "model", meta),))
    assert "likely" not in page(typed)
    assert "(model) Net" in page(typed)


def test_problems_and_imports_are_told() -> None:
    found = replace(
        mlp(),
        problems=(Problem("truncated", "the pickle ends\nearly", Span("made.pt", 1234, 1), True),),
        globals=(
            GlobalRef("torch._utils", "_rebuild_tensor_v2", True, Span("made.pt", 0, 1)),
            GlobalRef("os", "system", True, Span("made.pt", 0, 1)),
        ),
        weights_only=False,
    )
    shown = page(found)
    assert r"truncated: the pickle ends\x0aearly (byte 1,234)" in shown
    assert "os.system: dangerous, would be called" in shown
    assert "_rebuild_tensor_v2" not in shown
    assert "torch.load(weights_only=True) refuses this file" in shown
    assert "more can be in the file than is shown" in shown


def test_lazy_parameters_are_unknown_in_shape() -> None:
    base = checkpoint({(): ("model", {"0.weight": (2,)})})
    found = replace(base, tensors={("0.weight",): tensor("0.weight", None, "0", kind="lazy")})
    assert "the shapes of 1 lazy parameter:" in page(found)
    assert "lazy" in line(found, "─ weight")


def test_devices_have_a_column_where_they_are_mixed() -> None:
    found = mlp()
    moved = {**found.storages, "2": found.storages["2"]._replace(device="cuda:1")}
    shown = page(replace(found, storages=moved))
    assert "devices cpu, cuda:1" in shown
    assert "cuda:1" in line(replace(found, storages=moved), "[10, 256]")


def test_depth_expand_include_and_order() -> None:
    assert "c_fc" not in page(gpt2(), Page(depth=2))
    expanded = page(gpt2(), Page(expand=("h.5",), depth=2))
    assert "×11 alike (0-4, 6-11)" in expanded
    assert "─ 5 " in expanded
    inner = page(gpt2(), Page(expand=("h.5.attn",)))
    assert "×11 alike (0-4, 6-11)" in inner
    narrowed = page(gpt2(), Page(Selection(include=("*.c_proj.*",))))
    assert "─ c_proj" in narrowed
    assert "─ wpe" not in narrowed


def test_order() -> None:
    found = checkpoint({(): ("model", {"b.w": (2,), "a.w": (9,), "a.b": (3,), "c.w": (50,)})})

    def order(how: Selection) -> list[str]:
        rows = [row.split("─ ")[1].split()[0] for row in page(found, Page(how)).splitlines() if "─ " in row]
        return [name for name in rows if name != "w"]

    assert order(Selection(order="name")) == ["a", "b", "b", "c"]
    assert order(Selection(order="size")) == ["c", "a", "b", "b"]
    assert order(Selection(order="file")) == ["b", "a", "b", "c"]


@settings(max_examples=50)
@given(st.text(st.characters(codec=None)), st.booleans())
def test_no_name_acts_on_the_terminal(name: str, colour: bool) -> None:
    base = checkpoint({(): ("model", {f"{name}.weight": (2,), "other": (3,)})})
    found = replace(base, path=name, extras={(name,): name}, problems=(Problem(name, name),))
    # With colour rich writes escape sequences of its own, and no others.
    shown = page(found, Page(colour=colour)).replace("\x1b[", "") if colour else page(found)
    acting = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert not acting & {unicodedata.category(char) for char in shown.replace("\n", "")}


def test_markup_of_rich_is_text() -> None:
    assert "[bold red]x[/]" in page(checkpoint({(): ("model", {"[bold red]x[/].w": (2,)})}))
    assert ":smile:" in page(checkpoint({(): ("model", {":smile:.w": (2,)})}))


def test_names_are_whole_where_piped_and_fit_on_a_terminal() -> None:
    long = "n" * 3000
    found = checkpoint({(): ("model", {f"{long}.weight": (2,), **MLP})})
    assert long in page(found)
    for width in (60, 80, 200):
        assert all(len(row) <= width for row in page(found, Page(width=width)).splitlines())


def test_numbers_are_never_cut_on_a_terminal() -> None:
    for width in (80, 100):
        assert f"{GPT2_PARAMETERS - 2 * 768 - 50257 * 768 - 1024 * 768:,}" in page(gpt2(), Page(width=width))


def test_many_tensors_stay_readable() -> None:
    alike = checkpoint({(): ("model", {f"t{place}": (4, 4) for place in range(20_000)})})
    assert "t ×20,000 alike (0-19999)" in page(alike)
    assert len(page(alike).splitlines()) < 20
    different = checkpoint({(): ("model", {f"t{place}": (place + 1,) for place in range(2000)})})
    shown = page(different)
    assert f"only the first {MOST_ROWS} rows are shown" in shown
    assert len(shown.splitlines()) < MOST_ROWS + 20


@pytest.mark.parametrize("path", [(), (0,), ("x",)])
def test_a_bare_tensor(path: tuple[str | int, ...]) -> None:
    base = checkpoint({})
    held = {path: tensor("", (3,), "0")._replace(path=path, key=".".join(map(str, path)))}
    shown = page(replace(base, tensors=held))
    assert "(saved object)" in shown
    assert "[3]" in shown
    assert "3 parameters" in shown
