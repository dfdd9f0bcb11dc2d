"""Where a module stands: beside which others, and inside of what.

Places that look the same get the same number, from the outside in: what is found out about a module in
`layers.0` then holds for its like in `layers.1` to `layers.79`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ckptaudit.layers.form import AFFINE, MATRIX, STATISTICS, VECTOR, WIDE, Form
from ckptaudit.layers.words import kind_of, words

# Norms between matrices are LayerNorm nearly always; between dense convolutions GroupNorm often.
LAYERED, GROUPED = 1024, 2048

# A norm without a bias that is called norm.
UNBIASED = 4096

# Names of what takes a picture apart into patches: convolutions, and LayerNorm after them.
EMBEDDERS = frozenset({"patch", "embed", "embedding", "embeddings", "embeds", "stem"})

# Names deeper than any model's are not taken apart: 30,000 dots would make as many places.
LEVELS = 32


@dataclass(eq=False)
class Place:
    """A module as the surroundings of those directly inside it.

    `traits` are those of all below it, `direct` those of the forms right inside, of which `wide` and
    `affine` are so many, and `wide_below` those one level further in. `norms` is what the norms right
    inside stand between: LAYERED, GROUPED, or neither.
    """

    name: str
    above: Place | None
    inside: dict[str, Form | Place] = field(default_factory=dict)
    traits: int = 0
    direct: int = 0
    wide: int = 0
    wide_below: int = 0
    affine: int = 0
    norms: int = 0
    number: int = -1

    @cached_property
    def listed(self) -> list[tuple[str, Form]]:
        """Those directly inside that own tensors, in the order of the file."""
        return [(name, held) for name, held in self.inside.items() if isinstance(held, Form)]

    @cached_property
    def order(self) -> dict[str, int]:
        """The position of each of them."""
        return {name: position for position, (name, _) in enumerate(self.listed)}

    @cached_property
    def widths(self) -> frozenset[int]:
        """The lengths of the vectors (of normalizations, mostly) directly inside."""
        return frozenset(form.width for _, form in self.listed if form.width)

    @cached_property
    def produced(self) -> dict[int, int]:
        """How many channels come out of weights directly inside: to the traits of these weights, joined."""
        found: dict[int, int] = {}
        for _, form in self.listed:
            if len(form.weight) > 1:
                found[form.weight[0]] = found.get(form.weight[0], 0) | form.traits
        return found

    @cached_property
    def _repeated(self) -> int:
        """The traits that two or more of those inside have."""
        once = twice = 0
        for held in self.inside.values():
            twice |= once & held.traits
            once |= held.traits
        return twice

    def others(self, traits: int) -> int:
        """The traits of those inside without the one that has these `traits`."""
        return self._repeated | self.traits & ~traits

    def outwards(self) -> Iterator[Place]:
        """This place, the one around it, and so on."""
        place: Place | None = self
        while place is not None:
            yield place
            place = place.above

    def nearest(self, wanted: int) -> int:
        """The traits, of those wanted, that the innermost place around has that has any."""
        return next((place.traits & wanted for place in self.outwards() if place.traits & wanted), 0)

    def learn(self, traits: int) -> None:
        """Something below this place has these traits."""
        place: Place | None = self
        while place is not None and place.traits | traits != place.traits:
            place.traits |= traits
            place = place.above


class Places:
    """The places of one state dict, by dotted path."""

    def __init__(self) -> None:
        self._around = Place("", None)  # what the model itself stands in
        self._known: dict[str, Place] = {"": Place("", None)}
        self._numbers: dict[object, int] = {}

    @property
    def known(self) -> Mapping[str, Place]:
        """Every place by its path."""
        return self._known

    def put(self, path: str, form: Form) -> tuple[str, Place]:
        """Say that the module at `path` owns such tensors; its own name, and the place around it."""
        above, _, name = path.rpartition(".")
        place = self._known.get(above) if path else self._around
        if place is None:
            place = self._of(above) if path.count(".") <= LEVELS else self._known[""]
        place.inside[name] = form
        traits = form.traits
        place.direct |= traits
        if traits & (WIDE | AFFINE | VECTOR):
            if traits & WIDE:
                place.wide += 1
                if place.above is not None:
                    place.above.wide_below += 1
            elif traits & AFFINE:
                place.affine += 1
            elif not words(name).last.isdisjoint(("norm", "rmsnorm")):
                traits |= UNBIASED
        if place.traits | traits != place.traits:
            place.learn(traits)
        return name, place

    def _of(self, path: str) -> Place:
        """The place inside the module at `path`, and those it is in, made where they are new."""
        missing = []
        while (place := self._known.get(path)) is None:
            missing.append(path)
            path = path.rpartition(".")[0]
        for path in reversed(missing):
            name = path.rpartition(".")[2]
            inner = self._known[path] = Place(name, place)
            # A module can own tensors and hold modules that do: as a neighbour it counts for the former.
            place.inside.setdefault(name, inner)
            place = inner
        return place

    def settle(self) -> None:
        """Once all modules are put: tell each place what norms there are inside."""
        for place in self._known.values():
            if place.direct & AFFINE:
                around = place.traits & (WIDE | MATRIX)
                dense = place.wide > 1 or (around == WIDE and place.affine > 1)
                if dense and not words(place.name).all & EMBEDDERS:
                    place.norms = GROUPED
                elif around == MATRIX:
                    place.norms = LAYERED
                place.learn(place.norms)
                if place.wide_below > 1 and not place.traits & STATISTICS:
                    place.norms = (
                        GROUPED  # so it is with convolutions in wrappers, but proves nothing for others
                    )

    def number(self, place: Place) -> int:
        """A number that places have in common whose insides and surroundings look the same."""
        unnumbered = []
        around: Place | None = place
        while around is not None and around.number < 0:
            unnumbered.append(around)
            around = around.above
        for place in reversed(unnumbered):
            inside = tuple(place.inside)
            looks = tuple(
                [
                    held.number if isinstance(held, Form) else -1 - held.traits
                    for held in place.inside.values()
                ]
            )
            outer = -1 if place.above is None else place.above.number
            key = (kind_of(place.name), inside, looks, outer)
            place.number = self._numbers.setdefault(key, len(self._numbers))
        return place.number
