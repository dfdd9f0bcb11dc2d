"""What the layers that are made of other layers are looked for in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ckptaudit.layers.form import Form
from ckptaudit.layers.guess import Arguments, Guess
from ckptaudit.layers.place import Place


@dataclass(frozen=True, slots=True)
class Parts:
    """Forms, places and the guesses made so far, each by path."""

    forms: Mapping[str, Form]
    places: Mapping[str, Place]
    guesses: Mapping[str, Guess]

    def names(self, path: str) -> frozenset[str]:
        """What stands right inside the module at `path`."""
        place = self.places.get(path)
        return frozenset() if place is None else frozenset(place.inside)

    def arguments(self, path: str, layer: str) -> Arguments | None:
        """The arguments with which the module at `path` is, or could be, such a layer of torch.nn."""
        guess = self.guesses.get(path)
        if guess is not None and guess.layer == layer:
            return guess.arguments
        form = self.forms.get(path)
        fits = () if form is None else form.fits
        return next((arguments for fit, arguments in fits if fit.name == layer), None)

    def linear(self, path: str) -> tuple[int, int, bool] | None:
        """The module at `path` as a Linear: features in, features out, and whether there is a bias."""
        found = self.arguments(path, "Linear")
        if found is None:
            return None
        return whole(found["in_features"]), whole(found["out_features"]), bool(found["bias"])


def joined(path: str, *names: str) -> str:
    """The path of a module inside the one at `path`."""
    return ".".join((path, *names) if path else names)


def whole(argument: object) -> int:
    """An argument that is a number."""
    assert isinstance(argument, int)
    return argument
