"""What emitted source says, and how short."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptaudit.layers import ModuleLike, TensorLike
from ckptaudit.model import Checkpoint
from ckptaudit.rebuild import plan
from ckptaudit.rebuild.emit import source
from ckptaudit.rebuild.emit.made import made
from ckptaudit.rebuild.plan import Part, Plan
from tests.handmade import MLP, Keys, checkpoint, gpt2, tensor
from tests.rebuild.emitted import linear, planned, strange, tensors

_SAME = tuple(f"class {name}(" for name in ("Skeleton", "Unknown"))


def built(found: Plan) -> str:
    """The source from its first class or function on, helpers left out."""
    text = source(found)
    assert strange(text) == []
    compile(text, "emitted", "exec")
    assert max(map(len, text.splitlines())) <= 100
    blocks = text.split("\n\n\n")
    return "\n\n".join(
        block for block in blocks[1:] if not block.startswith(("class Skeleton", "class Unkn"))
    )


def init(found: Plan) -> list[str]:
    """The statements that make the model itself."""
    block = built(found).split("\n\ndef build")[0].split("\n\nclass ")[-1]
    lines = block.partition("super().__init__()\n")[2].partition("\n\n")[0].splitlines()
    return [line.removeprefix("        ") for line in lines]


def resnet50() -> Checkpoint:
    keys: dict[str, tuple[int, ...]] = {}

    def conv(name: str, norm: str, out: int, into: int, size: int) -> None:
        keys[f"{name}.weight"] = (out, into, size, size)
        keys.update({f"{norm}.{each}": (out,) for each in ("weight", "bias", "running_mean", "running_var")})
        keys[f"{norm}.num_batches_tracked"] = ()

    conv("conv1", "bn1", 64, 3, 7)
    into = 64
    for stage, (width, depth) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 1):
        for block in range(depth):
            at = f"layer{stage}.{block}"
            conv(f"{at}.conv1", f"{at}.bn1", width, into, 1)
            conv(f"{at}.conv2", f"{at}.bn2", width, width, 3)
            conv(f"{at}.conv3", f"{at}.bn3", 4 * width, width, 1)
            if block == 0:
                conv(f"{at}.downsample.0", f"{at}.downsample.1", 4 * width, into, 1)
            into = 4 * width
    keys |= {"fc.weight": (1000, 2048), "fc.bias": (1000,)}
    return checkpoint({(): ("model", keys)})


def test_a_state_dict_is_a_class_that_says_what_is_unknown() -> None:
    text = source(plan(checkpoint({(): ("model", MLP)})))
    assert init(plan(checkpoint({(): ("model", MLP)}))) == [
        "self.hidden = nn.Linear(20, 256)  # likely",
        "self.output = nn.Linear(256, 10)  # likely",
    ]
    assert text.startswith(
        '"""The architecture of made.pt, written by ckptaudit.\n\nLevel: typed skeleton.\n'
    )
    assert "2 likely" in text
    assert "raise NotImplementedError(" in text
    assert 'state = torch.load("made.pt", weights_only=True)\n' in text
    assert "exact" not in text


def test_gpt2_is_a_short_file() -> None:
    text = built(plan(gpt2()))
    assert "self.h = nn.ModuleList(HBlock() for _ in range(12))" in text
    assert "self.c_attn = Conv1D(2304, 768)  # likely" in text
    assert "self.lm_head.weight = self.wte.weight" in text
    assert source(plan(gpt2())).count("\n") < 95


def test_blocks_that_differ_in_widths_share_a_class() -> None:
    text = built(plan(resnet50()))
    assert "class LayerBlock(Skeleton):" in text
    assert "def __init__(self, in_channels, conv1_out_channels, conv3_out_channels):" in text
    assert "[LayerBlock(256, 128, 512), *(LayerBlock2(512, 128) for _ in range(3))]" in text
    assert source(plan(resnet50())).count("\n") < 115


def test_what_differs_in_too_much_gets_classes_of_its_own() -> None:
    def block(number: int) -> Keys:
        return {f"h.{number}.{name}.weight": (9 * number + at + 2, 3) for at, name in enumerate("abcdef")}

    text = built(plan(checkpoint({(): ("model", {**block(0), **block(1)})})))
    assert "nn.ModuleList([HBlock(), HBlock2()])" in text


def test_numbered_names_are_a_loop() -> None:
    keys: Keys = {f"block {n}.{i}.weight": (4, 4) for n in range(4) for i in (0, 2)}
    text = built(plan(checkpoint({(): ("model", keys)})))
    assert 'for i in range(4):\n            self.add_module(f"block {i}", ' in text


def test_positions_that_are_counted_are_counted() -> None:
    parts = [Part("h", "ModuleList"), *(
        Part(f"h.{n}", cls="net.Block", settings={"layer_idx": n, "width": 8}) for n in range(5)
    )]  # fmt: skip
    text = built(planned(parts, {f"h.{n}.scale": (8,) for n in range(5)}, level="exact config"))
    assert "self.h = nn.ModuleList(Block(i) for i in range(5))" in text
    assert "self.layer_idx = layer_idx" in text
    assert "self.width = 8" in text
    assert 'raise NotImplementedError("the code of net.Block is not in the file")' in text


def test_guesses_and_unknown_arguments_are_said_beside_the_line() -> None:
    parts = [
        linear("a", 3, 2, confidence="guess", alternatives=("Embedding", "RMSNorm")),
        Part("b", "MultiheadAttention", confidence="likely", unknown=("num_heads",),
             arguments={"embed_dim": 4, "num_heads": 1, "bias": False}),
    ]  # fmt: skip
    shapes = {"a.weight": (2, 3), "a.bias": (2,), "b.in_proj_weight": (12, 4), "b.out_proj.weight": (4, 4)}
    assert init(planned(parts, shapes)) == [
        "self.a = nn.Linear(3, 2)  # guess; also fits: Embedding, RMSNorm",
        "self.b = nn.MultiheadAttention(4, 1, bias=False)  # likely; unknown: num_heads",
    ]


SEQUENTIAL = (Part("", "Sequential"), linear("0", 4, 8), Part("1", "ReLU"), linear("2", 8, 1))
SHAPES = {"0.weight": (8, 4), "0.bias": (8,), "2.weight": (1, 8), "2.bias": (1,)}


def test_what_is_all_torch_runs_by_itself() -> None:
    found = planned([part._replace(training=False) for part in SEQUENTIAL], SHAPES, level="exact config")
    assert "return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)).eval()" in built(found)
    assert "it runs as it is" in source(found)
    assert "Skeleton" not in source(found)


def test_one_module_in_two_places_is_made_once() -> None:
    parts = [
        *SEQUENTIAL,
        linear("3", 8, 1, alias="2"),
        Part("4", "Sequential"),
        linear("4.0", 8, 1, alias="2"),
    ]
    found = planned(parts, {**SHAPES, "3.weight": (1, 8), "3.bias": (1,), "4.0.weight": (1, 8)})
    assert "shared = nn.Linear(8, 1)\n" in built(found)
    assert "return nn.Sequential(" in built(found)
    assert "        shared,\n        shared,\n        nn.Sequential(shared),\n" in built(found)
    named = planned([linear("a", 2, 2), linear("b", 2, 2, alias="a")], {"a.weight": (2, 2), "a.bias": (2,)})
    assert init(named) == ["self.a = nn.Linear(2, 2)", "self.b = self.a"]


def test_one_module_in_two_classes_is_put_into_the_second_from_outside() -> None:
    parts = [Part("x", cls="net.X"), linear("x.l", 2, 2), Part("y", cls="net.Y"),
             linear("y.l", 2, 2, alias="x.l")]  # fmt: skip
    assert init(planned(parts, {"x.l.weight": (2, 2), "x.l.bias": (2,)})) == [
        "self.x = X()", "self.y = Y()", "self.y.l = self.x.l",
    ]  # fmt: skip


def test_ties_stand_in_the_class_that_holds_both() -> None:
    shapes = {f"h.{n}.{name}.weight": (2, 2) for n in range(3) for name in "ab"}
    given = {"in_features": 2, "out_features": 2, "bias": False}
    parts = [linear(key.removesuffix(".weight"), 2, 2, arguments=given) for key in shapes]
    ties = tuple((f"h.{n}.a.weight", f"h.{n}.b.weight") for n in range(3))
    text = built(planned(parts, shapes, ties=ties))
    assert text.count("self.b.weight = self.a.weight") == 1
    assert "HBlock() for _ in range(3)" in text


def test_memory_that_is_shared_otherwise_is_a_remark() -> None:
    rows = {"a": tensor("a", (2, 3), "0"), "b": tensor("b", (3, 2), "0")}
    text = built(planned(tensors=rows, ties=(("a", "b"),)))
    assert "# b and a share memory in the file" in text


def test_dtypes_are_said_once_where_all_are_the_same() -> None:
    half = tensors(SHAPES, dtype="float16")
    assert built(planned(SEQUENTIAL, tensors=half)).count("float16") == 1
    some = {**half, **tensors({"2.weight": (1, 8), "2.bias": (1,)})}
    assert "nn.Linear(4, 8).to(torch.float16)" in built(planned(SEQUENTIAL, tensors=some))
    odd = {**tensors(SHAPES), "0.weight": tensor("0.weight", (8, 4), "0", dtype="int8")}
    text = built(planned([part._replace(cls="torch.nn.X") for part in SEQUENTIAL], tensors=odd))
    assert "model[0].weight = nn.Parameter(" in text
    assert "        torch.empty(8, 4, dtype=torch.int8),\n        requires_grad=False,\n" in text


def test_a_guess_by_shapes_does_not_hold_for_weights_that_are_no_numbers_to_compute_with() -> None:
    rows = tensors({"l.weight": (2, 3), "l.bias": (2,)}, dtype="int8")
    assert "self.l = L()  # as Linear" in built(planned([linear("l", 3, 2)], tensors=rows))


def test_frozen_parameters_and_mixed_modes_are_kept() -> None:
    rows = tensors(SHAPES, kind="parameter", requires_grad=False)
    rows["2.bias"] = rows["2.bias"]._replace(requires_grad=True)
    modes = [part._replace(training=part.path == "2" or not part.path) for part in SEQUENTIAL]
    text = built(planned(modes, tensors=rows))
    assert "nn.Linear(4, 8).requires_grad_(False).eval()" in text
    assert "model[2].weight.requires_grad_(False)" in text
    assert "nn.ReLU().eval()" in text
    whole = built(planned(SEQUENTIAL, tensors=tensors(SHAPES, kind="parameter", requires_grad=False)))
    assert whole.count("requires_grad_(False)") == 1


def test_tensors_that_no_layer_owns_are_registered() -> None:
    rows = {
        "cls_token": tensor("cls_token", (1, 1, 8), "0"),
        "mask": tensor("mask", (4, 4), "1", kind="buffer"),
        "steps": tensor("steps", (), "2", dtype="int64"),
        "lazy": tensor("lazy", None, "3", kind="lazy"),
        "two words": tensor("two words", (2,), "4"),
        "a.b": tensor("a.b", (2,), "5"),
        "a": tensor("a", (2,), "6"),
    }
    assert init(planned(tensors=rows)) == [
        "self.cls_token = nn.Parameter(torch.empty(1, 1, 8))",
        'self.register_buffer("mask", torch.empty(4, 4))',
        'self.register_buffer("steps", torch.empty((), dtype=torch.int64))',
        "self.lazy = nn.UninitializedParameter()",
        'self.register_parameter("two words", nn.Parameter(torch.empty(2)))',
        "self.a = A()",
        'self._parameters["a"] = nn.Parameter(torch.empty(2))',
    ]


def test_tensors_of_no_state_dict_are_named() -> None:
    unsaved = {
        "mask": tensor("mask", (2, 2), "0", kind="buffer"),
        "constant": tensor("constant", (3,), "1"),
        "layers.0.weight": tensor("layers.0.weight", (2, 2), "2"),
    }
    found = planned([Part("", cls="net.Net")], name="Net", level="exact config", unsaved=unsaved)
    assert init(found) == [
        "# in no state dict: not loaded",
        'self.register_buffer("mask", torch.empty(2, 2), persistent=False)',
        "self.constant = torch.empty(3)  # in no state dict: not loaded",
        "# not made, as no module holds them: layers.0.weight; in no state dict: not",
        "# loaded",
    ]
    assert "In no state dict, so not loaded: mask, constant, layers.0.weight." in source(found)


def test_layers_that_were_changed_are_put_right() -> None:
    rows = {"0.weight": (8, 5), "0.scale": (2,), "2.weight": (1, 8), "2.bias": (1,)}
    text = built(planned([*SEQUENTIAL[:-1], SEQUENTIAL[-1]._replace(settings={"gain": 2.5})], rows))
    assert "    model[0].weight = nn.Parameter(torch.empty(8, 5))\n" in text
    assert "    model[0].scale = nn.Parameter(torch.empty(2))\n" in text
    assert '    model[0].register_parameter("bias", None)\n' in text
    assert "    model[2].gain = 2.5\n" in text


@pytest.mark.parametrize(
    ("wrapper", "shapes", "code"),
    [
        ("weight_norm", {"weight_g": (2, 1), "weight_v": (2, 3)}, "nn.utils.weight_norm(nn.Linear(3, 2))"),
        ("weight_norm", {"weight_g": (1, 3), "weight_v": (2, 3)},
         "nn.utils.weight_norm(nn.Linear(3, 2), dim=1)"),
        ("weight_norm", {"weight_g": (), "weight_v": (2, 3)},
         "nn.utils.weight_norm(nn.Linear(3, 2), dim=None)"),
        ("spectral_norm(n_power_iterations=3)", {"weight_orig": (2, 3), "weight_u": (2,), "weight_v": (3,)},
         "nn.utils.spectral_norm(nn.Linear(3, 2), n_power_iterations=3)"),
        ("spectral_norm(eps=os.getcwd())", {"weight_orig": (2, 3), "weight_u": (2,), "weight_v": (3,)},
         "nn.utils.spectral_norm(nn.Linear(3, 2))"),
        ("prune", {"weight_orig": (2, 3), "weight_mask": (2, 3)},
         'prune.identity(nn.Linear(3, 2), "weight")'),
        ("parametrizations.weight_norm",
         {"parametrizations.weight.original0": (2, 1), "parametrizations.weight.original1": (2, 3)},
         "nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))"),
        ("parametrizations.orthogonal",
         {"parametrizations.weight.original": (2, 3), "parametrizations.weight.0.base": (2, 3)},
         "nn.utils.parametrizations.orthogonal(nn.Linear(3, 2))"),
    ],
)  # fmt: skip
def test_wrappers_are_applied(wrapper: str, shapes: Keys, code: str) -> None:
    part = linear("l", 3, 2, wrappers=((wrapper, "weight"),))
    found = planned([part], {"l.bias": (2,), **{f"l.{name}": size for name, size in shapes.items()}})
    text = built(found)
    assert f"self.l = {code}" in text.replace("(\n            ", "(").replace("\n        )", ")")
    assert "nn.Parameter" not in text


def test_an_unknown_wrapper_leaves_a_class() -> None:
    part = linear("l", 3, 2, wrappers=(("parametrizations.unknown", "weight"),))
    text = built(planned([part], {"l.bias": (2,), "l.parametrizations.weight.original": (2, 3)}))
    assert "self.l = L()  # as Linear" in text
    assert "self.original = nn.Parameter(torch.empty(2, 3))" in text


def test_extra_state_and_other_values() -> None:
    extra = {"l._extra_state": {"a": 1}, "_extra_state": 3, "step": 7}
    found = planned([linear("l", 2, 2)], {"l.weight": (2, 2), "l.bias": (2,)}, extra=extra)
    text = source(found)
    assert "class LinearWithState(ExtraState, nn.Linear):" in text
    assert "class Model(PlainKeys, ExtraState, Skeleton):" in text
    assert "del state[" not in text.partition('"""\n\n')[0]
    assert "Keys of the state dict that hold no tensor, and are left out: step." in text


def test_arguments_that_are_tensors_and_modules() -> None:
    given = {"d_model": 4, "nhead": 2, "dim_feedforward": 8}
    layer = ModuleLike("TransformerEncoderLayer", given)
    parts = [
        Part("e", "TransformerEncoder", arguments={"encoder_layer": layer, "num_layers": 3}),
        Part("loss", "CrossEntropyLoss", arguments={"weight": TensorLike((5,))}),
        Part("act", layer.layer, arguments={**given, "activation": "torch.nn.functional.silu"}),
        Part("bad", layer.layer, arguments={**given, "activation": "torch.hub.load"}),
    ]
    shapes = {f"act.{name}": shape for name, shape in (made(layer.layer, given) or {}).items()}
    text = built(planned(parts, {**shapes, "loss.weight": (5,)})).replace("\n", "").replace("  ", "")
    assert "nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, dim_feedforward=8),3,)" in text
    assert "self.loss = nn.CrossEntropyLoss(weight=torch.empty(5))" in text
    assert "activation=nn.functional.silu" in text
    assert "hub" not in text


def test_the_state_dict_is_where_the_file_has_it() -> None:
    rows = {key: tensor(key, shape, key, ("model",)) for key, shape in MLP.items()}
    assert 'torch.load("made.pt", weights_only=True)["model"]' in source(planned(tensors=rows))
    kept = planned(tensors=tensors(MLP), checkpoint="a/b.safetensors")
    assert 'safetensors.torch.load_model(model, "b.safetensors")' in source(kept)
    whole = replace(planned([Part("", cls="net.Net")], MLP), level="exact config")
    assert 'state = rebuild("made.pt").module.state_dict()' in source(whole)


def test_user_classes_keep_their_last_names() -> None:
    classes = {"": "net.Net", "a": "one.print", "b": "two.Net", "c": "three.<locals>.My Block",
               "d": "four.class", "e": "five._Dense", "f": "six.Skeleton", "g": "seven.é"}  # fmt: skip
    parts = [Part(path, cls=cls) for path, cls in classes.items()]
    assert init(planned(parts, name="Net")) == [
        "self.a = print2()",
        "self.b = Net2()",
        "self.c = MyBlock()",
        "self.d = class2()",
        "self.e = _Dense()",
        "self.f = Skeleton2()",
        "self.g = Module()",
    ]


def test_what_runs_is_said_as_far_as_it_is_true() -> None:
    exact = planned(SEQUENTIAL, SHAPES, level="exact config")
    assert "it runs as it is" in source(exact)
    hooked = [*SEQUENTIAL[:-1], SEQUENTIAL[-1]._replace(hooks=("forward hook net.spy",), odd=("table",))]
    text = source(planned(hooked, SHAPES, level="exact config"))
    assert "it runs without what is named below" in text
    assert "# hooks not rebuilt: forward hook net.spy; attributes not rebuilt: table\n" in text
    listed = planned([Part("", "ModuleList"), *SEQUENTIAL[1:]], SHAPES, level="exact config")
    assert "it runs" not in source(listed)
    assert "only if the layers are what they seem" in source(planned(SEQUENTIAL, SHAPES))
    assert "\nimport torch\n" not in source(exact)
