"""Bad and good files, each with its reference, for the rules on keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.hostile import assemble as a
from tests.rules.case import FIXTURES, Case, bad, fixture, good
from tests.rules.structure import saved, state


def _against(
    shapes: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]
) -> Callable[[Path], Path]:
    """A state dict, and beside it, under the name REFERENCE, what is expected of it."""

    def build(folder: Path) -> Path:
        _written(expected)(folder).rename(folder / REFERENCE)
        return _written(shapes)(folder)

    return build


def _written(shapes: dict[str, tuple[int, ...]]) -> Callable[[Path], Path]:
    sizes = [shape[0] * (shape[1] if len(shape) == 2 else 1) for shape in shapes.values()]
    return saved(state(shapes), sizes)


def _tie(values: bytes) -> Callable[[Path], Path]:
    """Two tensors where the model has one; `values` are the bytes of the second."""

    def build(folder: Path) -> Path:
        rows = a.items(a.text("in.weight"), a.tensor(), a.text("out.weight"), a.tensor())
        saved(rows)(folder).rename(folder / REFERENCE)
        path = _written({"in.weight": (4,), "out.weight": (4,)})(folder)
        data = path.read_bytes()
        at = data.index(bytes(16), data.index(b"a/data/1"))
        path.write_bytes(data[:at] + values + data[at + 16 :])
        return path

    return build


def _tied_and_longer(folder: Path) -> Path:
    rows = a.items(a.text("in.weight"), a.tensor(), a.text("out.weight"), a.tensor())
    saved(rows)(folder).rename(folder / REFERENCE)
    return _written({"in.weight": (6,), "out.weight": (6,)})(folder)


def _in_half(folder: Path) -> Path:
    _written({"weight": (4,)})(folder).rename(folder / REFERENCE)
    return saved(a.items(a.text("weight"), a.tensor(a.storage("0", 4, "HalfStorage"))), [2])(folder)


REFERENCE = "expected.pt"  # in the folder of the file
_LAYER = {"a.weight": (3, 4), "a.bias": (3,)}
_MLP = str(FIXTURES / "mlp.params")
_QKV = ("q", "k", "v")

CASES: tuple[Case, ...] = (
    bad(
        "not-compared",
        "error",
        "no such file",
        fixture("mlp.params"),
        "No such file",
        against="gone.json",
    ),
    bad(
        "not-compared",
        "error",
        "no reference to code",
        fixture("mlp.params"),
        "no reference to code",
        against="module:nothing",
    ),
    bad(
        "not-compared",
        "error",
        "of two models, which",
        fixture("closure_network.pt"),
        "head, layers could each be the model",
        against=_MLP,
    ),
    good("not-compared", "a checkpoint", fixture("mlp.params"), against=_MLP),
    bad(
        "missing-keys",
        "error",
        "another name",
        fixture("mlp_out.pt"),
        "2 keys",
        "output.weight [10, 256]",
        "all of them are there under another name",
        against=_MLP,
    ),
    bad(
        "missing-keys",
        "error",
        "one key less",
        _against({"a.weight": (3, 4)}, _LAYER),
        "1 key",
        "a.bias [3]",
        against=REFERENCE,
    ),
    good("missing-keys", "all there", fixture("mlp.safetensors"), against=_MLP),
    good("missing-keys", "mapped", fixture("mlp_out.pt"), against=_MLP, map=["out=output"]),
    bad(
        "unexpected-keys",
        "error",
        "another name",
        fixture("mlp_out.pt"),
        "2 keys",
        "out.bias [10]",
        against=_MLP,
    ),
    bad(
        "unexpected-keys",
        "error",
        "two keys mapped onto one",
        _against({"wte.w": (4, 2), "wpe.w": (4, 2)}, {"wte.w": (4, 2), "wpe.w": (4, 2)}),
        "two tensors under one name: wte.w as wpe.w",
        against=REFERENCE,
        map=["wte=wpe"],
    ),
    bad(
        "unexpected-keys",
        "error",
        "the shape of a key by its new name",
        _against({"a.w": (4, 2), "b.w": (3,)}, {"b.w": (3,)}),
        "a.x [4, 2]",
        against=REFERENCE,
        map=["a.w=a.x"],
    ),
    bad(
        "unexpected-keys",
        "note",
        "a mapping that fits nothing",
        fixture("mlp.params"),
        "foo=bar",
        against=_MLP,
        map=["foo=bar"],
    ),
    good(
        "unexpected-keys",
        "optimizer state is no key",
        fixture("train_ckpt.pt"),
        against=str(FIXTURES / "train_ckpt.pt"),
    ),
    bad(
        "shape-mismatch",
        "error",
        "transposed",
        _against({"a.weight": (4, 3)}, {"a.weight": (3, 4)}),
        "transposed",
        "[4, 3] for [3, 4]",
        against=REFERENCE,
    ),
    bad(
        "shape-mismatch",
        "error",
        "a resized head",
        fixture("frozen_new_head.pt"),
        "a resized head",
        "4.weight",
        "4.bias",
        against=str(FIXTURES / "frozen.pt"),
    ),
    bad(
        "shape-mismatch",
        "error",
        "rows appended",
        _against({"e.weight": (12, 4)}, {"e.weight": (10, 4)}),
        "2 rows more than expected (appended?)",
        against=REFERENCE,
    ),
    bad(
        "shape-mismatch",
        "error",
        "tied keys are one tensor",
        _tied_and_longer,
        "in.weight [6] for [4], out.weight [6] for [4]: 6 elements instead of 4",
        against=REFERENCE,
    ),
    bad(
        "shape-mismatch",
        "error",
        "another width throughout",
        _against({"a.weight": (6, 6), "b.weight": (5, 6)}, {"a.weight": (4, 4), "b.weight": (5, 4)}),
        "6 instead of 4",
        against=REFERENCE,
    ),
    good(
        "shape-mismatch",
        "the model does not know yet",
        fixture("lazy_loaded.pt"),
        against=str(FIXTURES / "lazy.pt"),
    ),
    bad(
        "dtype-mismatch",
        "warning",
        "half",
        _in_half,
        "1 tensor is float16",
        "expected float32",
        against=REFERENCE,
    ),
    good("dtype-mismatch", "the same", fixture("mlp.params"), against=_MLP),
    bad(
        "renamed-keys",
        "note",
        "a layer",
        fixture("mlp_out.pt"),
        "out.* -> output.*",
        "likely",
        "nothing is missing",
        against=_MLP,
    ),
    bad(
        "renamed-keys",
        "note",
        "a wrapper",
        _against({f"module.{key}": shape for key, shape in _LAYER.items()}, _LAYER),
        "module.* -> *",
        "certain",
        against=REFERENCE,
    ),
    bad(
        "renamed-keys",
        "note",
        "could be each",
        _against(
            {f"{name}_proj.weight": (4, 4) for name in _QKV},
            dict.fromkeys(("query.weight", "key.weight", "value.weight"), (4, 4)),
        ),
        "not decided",
        "q_proj",
        "query",
        against=REFERENCE,
    ),
    good("renamed-keys", "nothing to rename", fixture("mlp.params"), against=_MLP),
    bad("diverged-tie", "error", "other values", _tie(b"\1" * 16), "differ", against=REFERENCE),
    bad("diverged-tie", "note", "a copy", _tie(bytes(16)), "equal bytes", against=REFERENCE),
    good("diverged-tie", "still tied", fixture("shared.pt"), against=str(FIXTURES / "shared.pt")),
    bad(
        "absent-tie",
        "note",
        "safetensors keeps one name",
        fixture("shared.safetensors"),
        "4.weight (= 2.weight)",
        against=str(FIXTURES / "shared.pt"),
    ),
    good("absent-tie", "both names", fixture("shared.pt"), against=str(FIXTURES / "shared.pt")),
    bad(
        "lost-on-save",
        "error",
        "a plain list",
        fixture("python_list.pt"),
        "in a plain container",
        "python_list.0.weight",
        against=str(FIXTURES / "full_model_python_list.pt"),
    ),
    bad(
        "lost-on-save",
        "warning",
        "a plain attribute",
        fixture("fixed_hidden_mlp.pt"),
        "rand_weight [20, 20]",
        "plain attribute",
        against=str(FIXTURES / "full_model_fixed_hidden_mlp.pt"),
    ),
    bad(
        "lost-on-save",
        "note",
        "non-persistent buffers",
        fixture("tiny_gpt.pt"),
        "h.0.mask",
        "non-persistent buffers",
        against=str(FIXTURES / "full_model_tiny_gpt.pt"),
    ),
    bad(
        "lost-on-save",
        "note",
        "in the file itself",
        fixture("full_model_fixed_hidden_mlp.pt"),
        "rand_weight",
        "would be in no state dict",
    ),
    good("lost-on-save", "a ModuleList", fixture("full_model_module_list.pt")),
    good(
        "lost-on-save",
        "all of it is saved",
        fixture("mlp.params"),
        against=str(FIXTURES / "full_model_mlp.pt"),
    ),
)
