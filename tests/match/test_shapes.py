from __future__ import annotations

import pytest

from ckptaudit.blueprint import Expected
from ckptaudit.match.shapes import Mismatch, explained

Shape = tuple[int, ...] | None


def causes(rows: dict[str, tuple[Shape, Shape]]) -> dict[str, str]:
    found = [
        Mismatch(key, Expected(wanted, "float32"), Expected(held, "float32"), "")
        for key, (wanted, held) in rows.items()
    ]
    return {each.key: each.cause for each in explained(found)}


@pytest.mark.parametrize(
    ("wanted", "held", "cause"),
    [
        ((3, 4), (4, 3), "transposed"),
        ((768, 2304), (2304, 768), "transposed"),
        ((8, 4, 3, 5), (3, 5, 4, 8), "permuted"),
        ((8, 4), (8, 4, 1, 1), "squeezed"),
        ((), (1,), "squeezed"),
        ((12,), (3, 4), "reshaped"),
        ((10, 4), (12, 4), "rows"),
        ((10,), (12,), "rows"),
        ((4, 10), (4, 12), "resized"),
        ((4, 10), (5, 12), "resized"),
        ((4, 10), (4, 10, 2), "resized"),
        ((4, 10), None, "lazy"),
        ((2**62, 2**62), (2**63, 2**61, 3), "resized"),
    ],
)
def test_one_tensor(wanted: Shape, held: Shape, cause: str) -> None:
    assert causes({"a.weight": (wanted, held)}) == {"a.weight": cause}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"fc.weight": ((1000, 512), (10, 512)), "fc.bias": ((1000,), (10,))}, ["head", "head"]),
        ({"fc.weight": ((9, 5, 1, 1), (7, 5, 1, 1)), "fc.bias": ((9,), (7,))}, ["head", "head"]),
        # A norm has no outputs.
        ({"ln.weight": ((8,), (16,)), "ln.bias": ((8,), (16,))}, ["rows", "rows"]),
        # A larger vocabulary: the tied head grows with the embedding.
        ({"wte.weight": ((10, 4), (12, 4)), "lm_head.weight": ((10, 4), (12, 4))}, ["rows", "rows"]),
        # Another width: what comes out of one layer goes into the next.
        (
            {
                "a.weight": ((256, 20), (128, 20)),
                "a.bias": ((256,), (128,)),
                "b.weight": ((10, 256), (10, 128)),
            },
            ["resized", "resized", "resized"],
        ),
        # What comes out of the layer has no inner size of its own: its bias follows its weight.
        ({"c_attn.weight": ((144, 48), (192, 64)), "c_attn.bias": ((144,), (192,))}, ["resized", "resized"]),
    ],
)
def test_layers(rows: dict[str, tuple[Shape, Shape]], told: list[str]) -> None:
    assert list(causes(rows).values()) == told


def test_sizes_that_differ() -> None:
    row = Mismatch("w", Expected((4, 10, 3), "float32"), Expected((4, 12, 5), "float32"), "")
    assert row.sizes == ((10, 12), (3, 5))
    assert row._replace(found=Expected((4,), "float32")).sizes == ()
    assert row._replace(found=Expected(None, "float32")).sizes == ()
