"""Renames of models made at random, in the ways that happen: what is said to be sure must be true."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from time import perf_counter

import pytest

from ckptaudit.blueprint import Blueprint, Expected
from ckptaudit.match import Match, match
from ckptaudit.match.mapping import parse
from ckptaudit.match.renames import Held, search
from ckptaudit.rules.renamed_keys import renamed_keys
from ckptaudit.saved import saved
from tests.handmade import GPT2, MLP, Keys, checkpoint

Renaming = Callable[[str], str]


def compare(found: Keys, wanted: Keys, *maps: str) -> Match:
    held = checkpoint({(): ("model", found)})
    expected = {key: Expected(shape, "float32") for key, shape in wanted.items()}
    return match(held, saved(held), Blueprint("made", "Made", expected), [parse(text) for text in maps])


def model(random: Random) -> Keys:
    """Keys of a transformer, a residual network or a row of layers."""
    width, hidden = random.sample((6, 8, 12, 16), 2)
    kind = random.choice(("gpt", "vit", "cnn", "row"))
    keys: dict[str, tuple[int, ...]] = {}

    def linear(name: str, out: int, into: int) -> None:
        keys[f"{name}.weight"], keys[f"{name}.bias"] = (out, into), (out,)

    if kind in ("gpt", "vit"):
        keys["wte.weight"] = (random.randint(20, 30), width)
        for block in range(random.randint(1, 12)):
            linear(f"h.{block}.attn.c_attn", 3 * width, width)
            linear(f"h.{block}.attn.c_proj", width, width)
            linear(f"h.{block}.mlp.fc1", hidden, width)
            linear(f"h.{block}.mlp.fc2", width, hidden)
            if kind == "vit":
                keys[f"h.{block}.ln_1.weight"] = keys[f"h.{block}.ln_2.weight"] = (width,)
                keys[f"h.{block}.ln_1.bias"] = keys[f"h.{block}.ln_2.bias"] = (width,)
        keys["lm_head.weight"] = (keys["wte.weight"][0], width)
    elif kind == "cnn":
        for stage in range(1, 4):
            for block in range(random.randint(1, 3)):
                keys[f"layer{stage}.{block}.conv1.weight"] = (width * stage, width, 3, 3)
                for part in ("weight", "bias", "running_mean", "running_var"):
                    keys[f"layer{stage}.{block}.bn1.{part}"] = (width * stage,)
        linear("fc", 10, width)
    else:
        for place in range(0, random.randint(2, 12), 2):
            linear(f"net.{place}", random.choice((4, 5, 6)), random.choice((4, 5, 6)))
        linear("head", 3, 4)
    return keys


def parts(*pairs: tuple[str, str]) -> Renaming:
    def rename(key: str) -> str:
        for old, new in pairs:
            key = re.sub(old, new, key)
        return key

    return rename


WAYS: dict[str, Renaming] = {
    "DataParallel": lambda key: f"module.{key}",
    "torch.compile": lambda key: f"_orig_mod.{key}",
    "both": lambda key: f"module._orig_mod.{key}",
    "FSDP": parts((r"^", "_fsdp_wrapped_module."), (r"((?:h|layer\d|net)\.\d+)", r"\1._fsdp_wrapped_module")),
    "activation checkpoints": parts((r"(h\.\d+|layer\d\.\d+)", r"\1._checkpoint_wrapped_module")),
    "prefix": lambda key: f"model.{key}",
    "long prefix": lambda key: f"backbone.0.body.{key}",
    "blocks": parts((r"^h\.", "layers."), (r"^layer(\d)", r"stage\1"), (r"^net\.", "features.")),
    "layers": parts(
        (r"attn\.c_attn", "self_attn.qkv"), (r"conv1", "conv"), (r"fc1", "up"), (r"^head", "cls")
    ),
    "all at once": parts(
        (r"^h\.(\d+)\.attn\.c_attn", r"encoder.layer.\1.self_attn.qkv"),
        (r"^fc\.", "head."),
        (r"ln_f", "norm"),
    ),
    "swapped": parts((r"fc1", "\0"), (r"fc2", "fc1"), ("\0", "fc2")),
    "digits": parts((r"layer(\d)\.(\d)", r"block\1_\2"), (r"h\.(\d+)", r"block\1")),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("rest", [False, True], ids=["all", "with more on both sides"])
def test_what_is_sure_is_true(way: str, backwards: bool, rest: bool) -> None:
    for seed in range(25):
        keys = model(Random(seed))
        truth = {WAYS[way](key): key for key in keys}
        assert len(truth) == len(keys)
        found: Keys = {old: keys[key] for old, key in truth.items()}
        wanted = keys
        if backwards:
            found, wanted, truth = wanted, found, {key: old for old, key in truth.items()}
        if rest:
            found = {**found, "extra.scale": (7, 7, 7)}
            wanted = {**wanted, "other.gain": (9, 9), "other.shift": (9,)}
        check(found, wanted, truth)


def check(found: Keys, wanted: Keys, truth: dict[str, str]) -> None:
    told = compare(found, wanted)
    pairs = [pair for each in told.renames for pair in each.pairs]
    assert len({old for old, _ in pairs}) == len({new for _, new in pairs}) == len(pairs)
    for each in told.renames:
        for old, new in each.pairs:
            assert found[old] == wanted[new]
            assert each.sure == "guess" or truth[old] == new, (each, truth[old])
    again = compare(found, wanted, *(str(each.mapped) for each in told.renames))
    assert (len(again.missing), len(again.unexpected), len(again.mismatched)) == told.after
    assert again.unused == ()


@pytest.mark.parametrize("way", ["DataParallel", "torch.compile", "both", "FSDP", "prefix", "long prefix"])
@pytest.mark.parametrize("keys", [MLP, GPT2], ids=["mlp", "gpt2"])
def test_wrappers_and_prefixes_are_certain_and_explain_all(way: str, keys: Keys) -> None:
    told = compare({WAYS[way](key): shape for key, shape in keys.items()}, keys)
    assert {each.sure for each in told.renames} == {"certain"}
    assert told.after == (0, 0, 0)
    assert told.ambiguous == ()


MAPS: list[tuple[Keys, Keys, dict[str, str]]] = [
    ({"out.w": (3, 9), "out.b": (3,)}, {"output.w": (3, 9), "output.b": (3,)},
     {"out=output": "likely"}),
    ({f"h.{i}.attn.c_attn.{n}": s for i in range(3) for n, s in (("w", (6, 2)), ("b", (6,)))},
     {f"layers.{i}.self_attn.qkv.{n}": s for i in range(3) for n, s in (("w", (6, 2)), ("b", (6,)))},
     {"h.*.attn.c_attn=layers.*.self_attn.qkv": "likely"}),
    ({"0.weight": (9, 4), "0.bias": (9,), "2.weight": (3, 9), "2.bias": (3,)},
     {"hidden.weight": (9, 4), "hidden.bias": (9,), "output.weight": (3, 9), "output.bias": (3,)},
     {"0=hidden": "guess", "2=output": "guess"}),
    ({"2.weight": (9, 4), "2.bias": (9,)}, {"3.weight": (9, 4), "3.bias": (9,)}, {"2=3": "guess"}),
    ({"ln.gamma": (4,)}, {"ln.weight": (4,)}, {"ln.gamma=ln.weight": "guess"}),
    ({"w": (4, 4), "b": (4,)}, {"fc.w": (4, 4), "fc.b": (4,)}, {"=fc": "certain"}),
    # Half of a prefix's keys have other shapes: the others still go by it, but nothing is certain.
    ({"net.a.w": (1,), "net.b.w": (2,), "net.c.w": (3,)}, {"a.w": (1,), "b.w": (2,), "c.w": (4,)},
     {"net=": "likely"}),
]  # fmt: skip


@pytest.mark.parametrize(("found", "wanted", "maps"), MAPS)
def test_mappings(found: Keys, wanted: Keys, maps: dict[str, str]) -> None:
    told = compare(found, wanted)
    assert {str(each.mapped): each.sure for each in told.renames} == maps


@pytest.mark.parametrize(
    ("found", "wanted", "ambiguous"),
    [
        ("q.w k.w v.w", "query.w key.w value.w", ("q k v", "query key value")),
        ("h.0.q.w h.0.k.w", "h.0.query.w h.0.key.w", ("h.*.q h.*.k", "h.*.query h.*.key")),
        ("old.w", "a.w b.w", ("old", "a b")),
        ("0.w 2.w", "fc1.w fc2.w", ("*", "fc*")),
        ("h.0.w h.1.w h.2.w", "layers.0.w layers.1.w", ("h.*", "layers.*")),
        ("module.w _orig_mod.w", "w", ("module _orig_mod", "")),
    ],
)
def test_ambiguous_ones_are_listed_and_not_guessed(
    found: str, wanted: str, ambiguous: tuple[str, str]
) -> None:
    told = compare(dict.fromkeys(found.split(), (4, 4)), dict.fromkeys(wanted.split(), (4, 4)))
    assert told.renames == ()
    assert [(" ".join(each.found), " ".join(each.expected)) for each in told.ambiguous] == [ambiguous]


@pytest.mark.parametrize("parts", ["w", "attn.w attn.b mlp.w"])
def test_equal_blocks_counted_from_one_are_not_rotated(parts: str) -> None:
    found, wanted = (
        {f"layers.{i}.{part}": (len(part), 3) for i in range(first, first + 4) for part in parts.split()}
        for first in (1, 0)
    )
    told = compare(found, wanted)
    assert told.renames == ()
    assert {name for each in told.ambiguous for name in each.found} == {
        f"layers.4.{part}".rpartition(".")[0] for part in parts.split()
    }


def test_equal_blocks_behind_a_prefix_are_not_rotated() -> None:
    found, wanted = (
        {f"{prefix}layers.{i}.w": (2, 3) for i in range(first, first + 4)}
        for prefix, first in (("model.", 1), ("", 0))
    )
    told = compare(found, wanted)
    assert [str(each.mapped) for each in told.renames] == ["model="]
    assert told.after == (1, 1, 0)


def test_a_layer_of_another_shape_than_those_that_stay_is_guessed() -> None:
    told = compare({"net.0.w": (5, 4), "net.3.w": (3, 5)}, {"net.0.w": (5, 4), "net.2.w": (3, 5)})
    assert [(str(each.mapped), each.sure) for each in told.renames] == [("net.3=net.2", "guess")]
    assert all(finding.fix is None for finding in renamed_keys.check(match=told))


def test_one_mapping_is_told_once_and_what_it_moves_is_not_undecided() -> None:
    blocks = {f"{i}.{name}.w": (2, i + 1) for i in range(3) for name in "ab"}
    told = compare(blocks, {f"h.{key}": size for key, size in blocks.items()} | {"0.c.w": (9,)})
    assert len({each.mapped for each in told.renames}) == len(told.renames)
    headed = compare({"module.a.w": (2,), "module.b.w": (3,), "module.c.w": (4,)},
                     {"a.w": (2,), "b.w": (3,), "c.w": (5,), "d.w": (4,)})  # fmt: skip
    assert headed.ambiguous == ()


def test_blocks_are_moved_by_one_mapping_where_a_prefix_would_move_too_much() -> None:
    keys: Keys = {f"{i}.{name}": (i + 1, 3) for i in range(12) for name in ("w", "b")}
    told = compare({**keys, "wte.w": (9, 3)}, {f"h.{key}": keys[key] for key in keys} | {"wte.w": (9, 3)})
    assert [str(each.mapped) for each in told.renames] == ["*=h.*"]
    assert told.after == (0, 0, 0)


def test_two_prefixes_that_explain_as_much_are_both_seen() -> None:
    keys: Keys = {f"{name}.{i}": (i + 1,) for name in "ab" for i in range(3)}
    told = compare({f"x.{key}" if key[0] == "a" else f"y.{key}": size for key, size in keys.items()}, keys)
    assert {str(each.mapped) for each in told.renames} == {"x=", "y="}
    assert told.after == (0, 0, 0)


def test_a_model_saved_in_half_is_still_itself() -> None:
    renames, _ = search({"a.w": Held((2,), True)}, {"b.w": Held((2,), True)})
    assert [str(each.mapped) for each in renames] == ["b=a"]
    assert search({"a.w": Held((2,), True)}, {"b.w": Held((2,), False)})[0] == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (lambda i: f"module.h.{i}.w", lambda i: f"h.{i}.w"),
        (lambda i: f"h.{i}.c_attn.w", lambda i: f"layers.{i}.qkv.w"),
        (lambda i: f"a{i}x.w", lambda i: f"b{i}y.v"),
        (lambda i: f"p{chr(0x4E00 + i // 9)}.n{i}.w", lambda i: f"n{i}.w"),
        (lambda i: "w", lambda i: f"p{i}.w"),
        (lambda i: f"{chr(0x4E00 + i)}.w", lambda i: f"{chr(0x4E00 + i)}x.w"),
    ],
    ids=["wrapper", "blocks", "numbered", "many prefixes", "one of many", "all alike"],
)
@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.plain
def test_many_keys(old: Callable[[int], str], new: Callable[[int], str], unique: bool) -> None:
    found = {old(i): (i + 1 if unique else 2,) for i in range(20_000)}
    wanted = {new(i): (i + 1 if unique else 2,) for i in range(20_000)}
    start = perf_counter()
    compare(found, wanted)
    assert perf_counter() - start < 20


def test_names_of_many_dots() -> None:
    deep = [".".join(["module"] * 3 + ["a"] * 30_000 + [str(i)]) for i in range(20)]
    start = perf_counter()
    told = compare(
        {key: (i + 1,) for i, key in enumerate(deep)}, {key[21:]: (i + 1,) for i, key in enumerate(deep)}
    )
    assert told.after == (0, 0, 0)
    assert perf_counter() - start < 20
