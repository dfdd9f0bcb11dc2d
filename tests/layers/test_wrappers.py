"""What torch puts around a parameter, by hooks and by parametrizations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.layers.models import made, shapes_of, told, told_of

torch = pytest.importorskip("torch", reason="the oracle is torch itself")
prune = pytest.importorskip("torch.nn.utils.prune")
nn = torch.nn
utils = nn.utils
new = utils.parametrizations

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated"),
    pytest.mark.filterwarnings("ignore:.*is deprecated"),
]


def _pruned(layer: Any) -> Any:
    return prune.l1_unstructured(layer, "weight", 0.5)


WRAPPERS: dict[str, list[Callable[[Any], Any]]] = {
    "weight_norm": [
        utils.weight_norm,
        lambda layer: utils.weight_norm(layer, dim=1),
        lambda layer: utils.weight_norm(layer, dim=None),
    ],
    "spectral_norm": [utils.spectral_norm],
    "prune": [_pruned, lambda layer: prune.ln_structured(layer, "weight", 0.5, n=2, dim=0)],
    "parametrizations.weight_norm": [new.weight_norm, lambda layer: new.weight_norm(layer, dim=None)],
    "parametrizations.spectral_norm": [new.spectral_norm],
    "parametrizations.orthogonal": [
        new.orthogonal,
        lambda layer: new.orthogonal(layer, orthogonal_map="householder"),
    ],
    "parametrizations.unknown": [lambda layer: new.orthogonal(layer, use_trivialization=False)],
}
EACH = [
    pytest.param(name, wrap, id=f"{name}-{place}")
    for name, wraps in WRAPPERS.items()
    for place, wrap in enumerate(wraps)
]
LAYERS: list[Callable[[], Any]] = [
    lambda: nn.Linear(3, 4),
    lambda: nn.Linear(3, 4, bias=False),
    lambda: nn.Conv1d(4, 6, 3),
    lambda: nn.Conv2d(4, 6, 3, groups=2),
    lambda: nn.ConvTranspose2d(4, 6, 2),
]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("name", "wrap"), EACH)
def test_the_layer_inside_is_told(name: str, wrap: Callable[[Any], Any], layer: Callable[[], Any]) -> None:
    plain, wrapped = layer(), wrap(layer())
    for module, path in ((wrapped, ""), (nn.ModuleDict({"body": wrapped}), "body")):
        guess = told_of(module)[path]
        assert guess.layer == type(plain).__name__
        assert guess.wrappers == ((name, "weight"),)
        assert shapes_of(made(guess.layer, guess.arguments)) == shapes_of(plain)


def test_nothing_inside_a_parametrization_is_a_module_of_the_model() -> None:
    assert told_of(nn.Sequential(new.spectral_norm(nn.Linear(3, 4)))).keys() == {"0"}


def test_other_parameters_than_weights_are_wrapped_too() -> None:
    recurrent = utils.weight_norm(nn.LSTM(3, 4), "weight_hh_l0")
    guess = told_of(recurrent)[""]
    assert (guess.layer, guess.wrappers) == ("LSTM", (("weight_norm", "weight_hh_l0"),))
    both = new.weight_norm(new.spectral_norm(nn.Bilinear(3, 4, 5), "weight"), "bias")
    assert told_of(both)[""].wrappers == (
        ("parametrizations.spectral_norm", "weight"),
        ("parametrizations.weight_norm", "bias"),
    )


@pytest.mark.parametrize(
    "shapes",
    [
        {"a.weight_g": (4, 2), "a.weight_v": (4, 3)},  # norms of no slices
        {"a.weight_g": (4, 1)},
        {"a.weight_orig": (4, 3)},
        {"a.weight_orig": (4, 3), "a.weight_mask": (3, 4)},
        {"a.parametrizations.weight.0.base": (4, 4)},
        {"a.parametrizations.original": (4, 4)},
    ],
)
def test_what_only_looks_like_a_wrapper_is_none(shapes: dict[str, Any]) -> None:
    (guess,) = told(shapes).values()
    assert guess.layer is None
    assert guess.wrappers == ()
