"""What the tensors of one module look like: computed once for all modules whose tensors look the same."""

from __future__ import annotations

from dataclasses import dataclass

from ckptaudit.layers.fits import Shapes
from ckptaudit.layers.guess import Arguments
from ckptaudit.layers.registry import Layer, fitting
from ckptaudit.layers.wrappers import Sizes, unwrap

# What a module gives away of the model around it, as bits that can be joined over a subtree.
CONV = (0, 1, 2, 4)  # by the number of dimensions that a kernel has
MATRIX = 8  # a weight of two dimensions
OUT_IN = 16  # a matrix that its bias shows to be (out, in)
IN_OUT = 32  # a matrix that its bias shows to be (in, out)
WIDE = 64  # a dense convolution whose kernel is 3 or more, and odd
STATISTICS = 128  # running statistics
AFFINE = 256  # a weight and a bias that are vectors of one length
VECTOR = 512  # a weight that is a vector, alone
CONVOLUTION = 1 | 2 | 4

Fits = tuple[tuple[Layer, Arguments], ...]

_LARGEST = 2**63


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """Tensors of one module, by name. `fits` is empty where no layer has such, or where shapes are lacking.

    `akin` are the layers that own tensors of these names and shapes but for some that are too many here.
    `attends` says that there are the projections of an attention.
    """

    number: int
    sizes: Sizes
    wrappers: tuple[tuple[str, str], ...]
    fits: Fits
    traits: int
    lazy: bool = False
    akin: tuple[str, ...] = ()
    attends: bool = False

    @property
    def weight(self) -> tuple[int, ...]:
        """The shape of `weight`, or () without one."""
        return self.sizes.get("weight") or ()

    @property
    def width(self) -> int:
        """The length of the vectors of a normalization; 0 for what has none."""
        size = self.sizes.get("weight") or self.sizes.get("running_mean") or ()
        return size[0] if len(size) == 1 else 0


def form_of(number: int, raw: Sizes) -> Form:
    """The form of the tensors that a module, its parametrizations included, owns."""
    sizes, wrappers = unwrap(raw)
    if None in sizes.values():
        return Form(number, sizes, wrappers, (), 0, True)
    shapes = {name: size for name, size in sizes.items() if size is not None}
    if any(not 0 <= length < _LARGEST for shape in shapes.values() for length in shape):
        return Form(number, sizes, wrappers, (), 0)  # a lie of the file, and no layer
    fits = tuple(fitting(shapes))
    akin = () if fits else _akin(shapes)
    attends = "in_proj_weight" in shapes or "q_proj_weight" in shapes
    traits = _traits(shapes) if fits or akin else 0
    return Form(number, sizes, wrappers, fits, traits, False, akin, attends)


def _akin(shapes: Shapes) -> tuple[str, ...]:
    """The layers that `weight` and `bias` alone would be of: a class of one's own adds a `gain`, say."""
    own = {name: shapes[name] for name in ("weight", "bias") if name in shapes}
    if len(own.get("weight", ())) < 2 or len(own) == len(shapes):
        return ()
    return tuple(dict.fromkeys(layer.name for layer, _ in fitting(own)))


def _traits(shapes: Shapes) -> int:
    if "running_mean" in shapes:
        return STATISTICS
    weight = shapes.get("weight", ())
    bias = shapes.get("bias")
    if 3 <= len(weight) <= 5:
        kernel = weight[2:]
        wide = weight[1] > 1 and kernel[-1] > 1 and kernel[-1] % 2
        return CONV[len(kernel)] | (WIDE if wide else 0)
    if len(weight) != 2:
        return 0 if len(weight) != 1 else VECTOR if bias is None else AFFINE
    if bias is None or weight[0] == weight[1]:
        return MATRIX
    return MATRIX | (OUT_IN if bias == weight[:1] else IN_OUT)
