from __future__ import annotations

from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptaudit.match.mapping import Finder, Mapped, parse, rename, renamed


@pytest.mark.parametrize(
    ("key", "mapping", "new"),
    [
        ("output.weight", "output=out", "out.weight"),
        ("output", "output=out", "out"),
        ("outputs.weight", "output=out", None),
        ("module.a.b", "module=", "a.b"),
        ("module", "module=", None),
        ("a.b", "=model", "model.a.b"),
        ("h.11.attn.weight", "h.*.attn=layers.*.attention", "layers.11.attention.weight"),
        ("h.x.attn.weight", "h.*.attn=layers.*.attention", None),
        ("h.1.w", "h.*=flat", "flat.w"),
        ("block1_2.w", "block*_*=b.*.*", "b.1.2.w"),
        ("block 0.w", "block *=block.*", "block.0.w"),
        ("a.b.c", "a.b.=x.", "x.c"),
        ("a(b).c", "a(b)=d", "d.c"),
        ("a..b", "a=x", "x..b"),
        ("a=b.w", "c=d", None),
    ],
)
def test_rename(key: str, mapping: str, new: str | None) -> None:
    assert rename(key, parse(mapping)) == new


@pytest.mark.parametrize("text", ["", "a", "=", ".=.", "a=b*", "h.*=a.*.*"])
def test_no_mapping(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not OLD=NEW|more"):
        parse(text)


@pytest.mark.parametrize(
    ("keys", "maps", "names", "unused"),
    [
        ("a b", [], "a b", []),
        ("a.w b.w", ["a=b", "b=a"], "b.w a.w", []),
        ("a.w", ["a=b", "b=c", "a.w=d"], "b.w", ["b=c", "a.w=d"]),
        ("h.0.w h.1.w", ["h.0=x", "h.*=y.*"], "x.w y.1.w", []),
        # No two keys under one name: the key that is there stays, and so does whoever comes second.
        ("module.w w", ["module="], "module.w w", []),
        ("a.w b.w", ["a=c", "b=c"], "c.w b.w", []),
        ("w a.w a.a.w a.a.a.w", ["a="], "w a.w a.a.w a.a.a.w", []),
        ("a.w x.w b.w", ["x=a", "a=b"], "a.w x.w b.w", []),
    ],
)
def test_renamed(keys: str, maps: list[str], names: str, unused: list[str]) -> None:
    found, left = renamed(keys.split(), [parse(text) for text in maps])
    assert found == dict(zip(keys.split(), names.split(), strict=True))
    assert list(left) == unused


_NAMES = st.text("a1*.", max_size=5)


@given(st.lists(st.tuples(_NAMES, _NAMES).map(lambda pair: Mapped(*pair)), max_size=4), _NAMES)
def test_the_first_that_meets_is_found_as_by_trying_all(maps: list[Mapped], key: str) -> None:
    tried = next(((mapped, new) for mapped in maps if (new := rename(key, mapped)) is not None), None)
    assert Finder(maps).first(key) == tried


@given(st.lists(_NAMES, unique=True), st.lists(st.tuples(_NAMES, _NAMES).map(lambda pair: Mapped(*pair))))
def test_no_key_is_lost(keys: list[str], maps: list[Mapped]) -> None:
    found, _ = renamed(keys, maps)
    assert list(found) == keys
    assert len(set(found.values())) == len(keys)


def test_many_mappings_of_many_keys() -> None:
    keys = [f"h.{number}.attn.weight" for number in range(20_000)] + [".".join("a" * 30_000)]
    start = perf_counter()
    found, unused = renamed(keys, [Mapped(key, f"x{place}") for place, key in enumerate(keys)])
    assert found[keys[-1]] == "x20000"
    assert not unused
    assert perf_counter() - start < 20
