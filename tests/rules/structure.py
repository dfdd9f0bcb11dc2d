"""Bad and good files for the rules on structure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from tests.hostile import assemble as a
from tests.hostile.case import raw
from tests.hostile.containers import Entry, zipped
from tests.rules.case import Case, bad, fixture, good

_NN = ("weight", "bias")


def saved(body: bytes, storages: Iterable[int] = (4,)) -> Callable[[Path], Path]:
    """A torch zip around the object `body`, its storages of so many floats each."""
    sizes = tuple(storages)
    entries = [Entry("a/data.pkl", a.whole(body)), Entry("a/version", b"3\n")]
    entries += [Entry(f"a/data/{key}", bytes(4 * numel)) for key, numel in enumerate(sizes)]
    return raw(lambda: zipped(entries))


def state(shapes: dict[str, tuple[int, ...]], first: int = 0, device: str = "cpu") -> bytes:
    """A dict of float32 tensors, each with a storage of its own, numbered from `first`."""
    rows = []
    for key, (name, shape) in enumerate(shapes.items(), first):
        numel = shape[0] * (shape[1] if len(shape) == 2 else 1)
        stride = (shape[1], 1) if len(shape) == 2 else (1,)
        rows += [a.text(name), a.tensor(a.storage(str(key), numel, device=device), shape, stride)]
    return a.items(*rows)


def _state_dict(names: Iterable[str]) -> Callable[[Path], Path]:
    names = list(names)
    return saved(state(dict.fromkeys(names, (4,))), [4] * len(names))


def _training(moments: dict[int, tuple[int, ...]], listed: list[int]) -> Callable[[Path], Path]:
    model = {"0.weight": (3, 4), "0.bias": (3,)}
    entries = []
    key = len(model)
    for index, shape in moments.items():
        entries += [a.number(index), state({"exp_avg": shape}, key)]
        key += 1
    group = a.items(
        a.text("lr"), a.number(1), a.text("params"), a.MARK + b"".join(map(a.number, listed)) + a.LIST
    )
    optimizer = a.items(a.text("state"), a.items(*entries), a.text("param_groups"), a.MARK + group + a.LIST)
    body = a.items(a.text("model"), state(model), a.text("optimizer"), optimizer)
    sizes = [
        shape[0] * (shape[1] if len(shape) == 2 else 1) for shape in (*model.values(), *moments.values())
    ]
    return saved(body, sizes)


_SLICE = a.items(a.text("w"), a.tensor(a.storage("0", 1000), (10,), (1,)))
_COLUMN = a.items(a.text("w"), a.tensor(a.storage("0", 1000), (10,), (100,)))
_HALF = a.items(
    *(a.text("0.weight"), a.tensor(), a.text("1.weight"), a.tensor(a.storage("1", 8, "HalfStorage"), (8,))),
    *(a.text("2.weight"), a.tensor(a.storage("2"))),
)


def _two_models(folder: Path) -> Path:
    """Two state dicts, each with a tie."""
    models = []
    for key, name in enumerate("ab"):
        tensor = a.tensor(a.storage(str(key)))
        models += [a.text(name), a.items(a.text("in.weight"), tensor, a.text("out.weight"), tensor)]
    return saved(a.items(*models), [4, 4])(folder)


CASES: tuple[Case, ...] = (
    bad("no-tensors", "warning", "an empty file", fixture("empty.safetensors"), "no tensor"),
    bad("no-tensors", "warning", "layers in a plain list", fixture("python_list.pt"), "no tensor"),
    good("no-tensors", "one tensor", fixture("x_file.pt")),
    bad("tied-weights", "note", "a shared layer", fixture("shared.pt"), "2.* = 4.*", "4 keys"),
    bad(
        "tied-weights",
        "note",
        "whole modules",
        fixture("shared_submodule.pt"),
        "shared_layer1.* = shared_layer2.*",
    ),
    bad("tied-weights", "note", "one of two models", _two_models, "b: in.weight = out.weight: one storage"),
    good("tied-weights", "branches of one shape", fixture("parallel_block.pt")),
    good("tied-weights", "one layer called twice", fixture("fixed_hidden_mlp.pt")),
    bad("overlapping-storage", "warning", "views of one memory", fixture("views.pt"), "share bytes"),
    good("overlapping-storage", "a tie is no overlap", fixture("shared.pt")),
    bad(
        "oversized-storage",
        "warning",
        "the beginning of a storage",
        saved(_SLICE, [1000]),
        "w: 40 B",
        "3.9 KiB",
    ),
    bad("oversized-storage", "warning", "every hundredth element", saved(_COLUMN, [1000]), "3.9 KiB wasted"),
    good("oversized-storage", "views that cover it", fixture("views.pt")),
    good("oversized-storage", "a state dict", fixture("mlp.params")),
    bad("lazy-parameter", "warning", "never run", fixture("lazy.pt"), "4 parameters", "0.weight"),
    bad("lazy-parameter", "warning", "a branch that never ran", fixture("lazy_half.pt"), "2 parameters"),
    good("lazy-parameter", "run once", fixture("lazy_loaded.pt")),
    bad("meta-tensor", "error", "without values", fixture("meta.pt"), "meta device"),
    good("meta-tensor", "with values", fixture("mlp.params")),
    bad("device-mismatch", "warning", "two devices", fixture("devices_mixed.pt"), "2 devices", "cuda:1"),
    bad("device-mismatch", "warning", "two devices, legacy", fixture("devices_mixed.legacy.pt"), "2 devices"),
    bad(
        "device-mismatch",
        "error",
        "another than expected",
        fixture("devices_cuda.pt"),
        "cuda:0",
        "expected cpu",
        expect_device="cpu",
    ),
    bad(
        "device-mismatch",
        "error",
        "another number",
        fixture("devices_missing.pt"),
        "cuda:7",
        expect_device="cuda:0",
    ),
    good("device-mismatch", "all on a GPU, and nothing expected", fixture("devices_cuda.pt")),
    good("device-mismatch", "any GPU", fixture("devices_missing.pt"), expect_device="cuda"),
    bad("mixed-dtype", "note", "one layer in half", saved(_HALF, [4, 4, 4]), "1 is float16", "1.weight"),
    good("mixed-dtype", "counters are no weights", fixture("bn_dropout.pt")),
    bad(
        "wrapped-keys",
        "warning",
        "DataParallel",
        _state_dict(f"module.{name}" for name in _NN),
        "all 2 keys",
        "module.",
    ),
    bad(
        "wrapped-keys",
        "warning",
        "torch.compile inside",
        _state_dict([f"enc._orig_mod.{name}" for name in _NN] + ["head.weight"]),
        "2 keys",
        "enc._orig_mod.",
    ),
    bad(
        "wrapped-keys",
        "warning",
        "every block",
        _state_dict(f"h.{block}._checkpoint_wrapped_module.{name}" for block in range(12) for name in _NN),
        "all 24 keys begin with h.*._checkpoint_wrapped_module.",
    ),
    good(
        "wrapped-keys",
        "a part of the model called module",
        _state_dict(["enc.module.weight", "enc.other.weight"]),
    ),
    good("wrapped-keys", "an averaged model", fixture("ema.pt")),
    bad(
        "optimizer-mismatch",
        "warning",
        "shapes that the model does not have",
        _training({0: (3, 5), 1: (3,)}, [0, 1]),
        "1 parameter",
        "[3, 5]",
    ),
    bad(
        "optimizer-mismatch",
        "warning",
        "state for more parameters",
        _training({0: (3, 4), 1: (3,), 2: (3,)}, [0, 1, 2]),
        "3 parameters",
        "model has 2",
    ),
    bad(
        "optimizer-mismatch",
        "warning",
        "state that no group lists",
        _training({0: (3, 4), 7: (3,)}, [0, 1]),
        "no group lists",
        "7",
    ),
    good("optimizer-mismatch", "Adam after a step", fixture("train_ckpt.pt")),
    good("optimizer-mismatch", "a frozen parameter has no state", _training({1: (3,)}, [0, 1])),
)
