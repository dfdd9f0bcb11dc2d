"""Which constructor arguments give a layer tensors of the shapes that are there; None where none do.

One function a family of torch.nn. Each gets the tensors that a module owns directly, name to shape, and
has been promised that the names are right (`registry.LAYERS` says which a layer needs and may have).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from ckptaudit.layers.guess import Arguments, TensorLike

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
Fit = Callable[[Shapes], Arguments | None]


def linear(shapes: Shapes) -> Arguments | None:
    """weight (out, in), bias (out)."""
    weight = shapes["weight"]
    if len(weight) != 2 or shapes.get("bias", weight[:1]) != weight[:1]:
        return None
    return {"in_features": weight[1], "out_features": weight[0], "bias": "bias" in shapes}


def conv1d_transformers(shapes: Shapes) -> Arguments | None:
    """weight (in, out), bias (out): transformers.pytorch_utils.Conv1D(nf, nx)."""
    weight = shapes["weight"]
    if len(weight) != 2 or shapes["bias"] != weight[1:]:
        return None
    return {"nf": weight[1], "nx": weight[0]}


def embedding(shapes: Shapes) -> Arguments | None:
    """weight (number of rows, width)."""
    weight = shapes["weight"]
    return {"num_embeddings": weight[0], "embedding_dim": weight[1]} if len(weight) == 2 else None


def bilinear(shapes: Shapes) -> Arguments | None:
    """weight (out, in1, in2), bias (out)."""
    weight = shapes["weight"]
    if len(weight) != 3 or 0 in weight[:2] or shapes.get("bias", weight[:1]) != weight[:1]:
        return None
    out, in1, in2 = weight
    return {"in1_features": in1, "in2_features": in2, "out_features": out, "bias": "bias" in shapes}


def prelu(shapes: Shapes) -> Arguments | None:
    """weight (number of slopes)."""
    weight = shapes["weight"]
    return {"num_parameters": weight[0]} if len(weight) == 1 else None


def _convolution(dims: int, shapes: Shapes) -> Arguments | None:
    """weight (out, in / groups, *kernel), bias (out)."""
    weight = shapes["weight"]
    if len(weight) != dims + 2 or 0 in weight[1:] or shapes.get("bias", weight[:1]) != weight[:1]:
        return None
    # (n, 1, ...) is depthwise far more often than it is a layer with one channel in.
    groups = weight[0] if weight[1] == 1 else 1
    return {
        "in_channels": weight[1] * groups,
        "out_channels": weight[0],
        "kernel_size": weight[2:],
        "groups": groups,
        "bias": "bias" in shapes,
    }


def ungrouped(arguments: Arguments) -> Arguments:
    """The arguments of a convolution with the same tensors and one group."""
    groups = arguments.get("groups", 1)
    channels = arguments.get("in_channels", 1)
    assert isinstance(groups, int)
    assert isinstance(channels, int)
    return {**arguments, "in_channels": channels // (groups or 1), "groups": 1}


def _transposed(dims: int, shapes: Shapes) -> Arguments | None:
    """weight (in, out / groups, *kernel), bias (out)."""
    weight = shapes["weight"]
    if len(weight) != dims + 2 or 0 in weight:
        return None
    bias = shapes.get("bias", weight[1:2])
    if len(bias) != 1 or bias[0] % weight[1] or bias[0] == 0 or weight[0] % (bias[0] // weight[1]):
        return None
    return {
        "in_channels": weight[0],
        "out_channels": bias[0],
        "kernel_size": weight[2:],
        "groups": bias[0] // weight[1],
        "bias": "bias" in shapes,
    }


def convolution(dims: int) -> Fit:
    """The fit of Conv1d, Conv2d or Conv3d."""
    return partial(_convolution, dims)


def transposed(dims: int) -> Fit:
    """The fit of ConvTranspose1d, 2d or 3d."""
    return partial(_transposed, dims)


def _one_size(shapes: Shapes, *names: str) -> int | None:
    """The length that all of these vectors have."""
    sizes = {shapes[name] for name in names if name in shapes}
    size = sizes.pop() if len(sizes) == 1 else ()
    return size[0] if len(size) == 1 and not sizes else None


def tracked(shapes: Shapes) -> Arguments | None:
    """Batch and instance norm: weight, bias, running_mean, running_var (n), num_batches_tracked ()."""
    size = _one_size(shapes, "weight", "bias", "running_mean", "running_var")
    if size is None or shapes.get("num_batches_tracked", ()) != ():
        return None
    tracks = "running_mean" in shapes
    if any((name in shapes) != tracks for name in ("running_var", "num_batches_tracked")):
        return None
    affine: dict[str, object] = {"affine": "weight" in shapes, "track_running_stats": tracks}
    if "weight" in shapes and "bias" not in shapes:
        affine["bias"] = False
    return {"num_features": size, **affine}


def frozen(shapes: Shapes) -> Arguments | None:
    """torchvision.ops.FrozenBatchNorm2d: weight, bias, running_mean, running_var (n), and no count."""
    size = _one_size(shapes, "weight", "bias", "running_mean", "running_var")
    return None if size is None else {"num_features": size}


def group_norm(shapes: Shapes) -> Arguments | None:
    """weight, bias (n)."""
    size = _one_size(shapes, "weight", "bias")
    if not size:
        return None
    without = {} if "bias" in shapes else {"bias": False}
    return {"num_groups": 1, "num_channels": size, **without}


def layer_norm(shapes: Shapes) -> Arguments | None:
    """weight, bias of the normalized shape."""
    weight = shapes["weight"]
    if not weight or shapes.get("bias", weight) != weight:
        return None
    without = {} if "bias" in shapes else {"bias": False}
    return {"normalized_shape": weight[0] if len(weight) == 1 else weight, **without}


def rms_norm(shapes: Shapes) -> Arguments | None:
    """weight of the normalized shape."""
    weight = shapes["weight"]
    return {"normalized_shape": weight[0] if len(weight) == 1 else weight} if weight else None


def class_weights(shapes: Shapes) -> Arguments | None:
    """A loss with one weight for each class."""
    weight = shapes["weight"]
    return {"weight": TensorLike(weight)} if len(weight) == 1 else None


def any_weights(shapes: Shapes) -> Arguments | None:
    """A loss whose weights may have whatever shape broadcasts."""
    return {name: TensorLike(shape) for name, shape in shapes.items()}


def parameter_list(shapes: Shapes) -> Arguments | None:
    """Parameters called 0, 1, 2, ...; torch looks them up by number."""
    numbers = [str(place) for place in range(len(shapes))]
    if shapes.keys() != set(numbers):
        return None
    return {"values": [TensorLike(shapes[number]) for number in numbers]}
