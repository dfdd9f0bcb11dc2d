"""Honest things that checkpoints hold, each made by the library whose it is."""

from __future__ import annotations

import argparse
import array
import collections
import contextlib
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import http
import inspect
import io
import ipaddress
import itertools
import logging
import math
import operator
import pathlib
import random
import re
import signal
import string
import time
import types
import typing
import uuid
import zoneinfo
from collections.abc import Callable, Mapping
from typing import Any


class Colour(enum.Enum):
    """An enum of the user's own."""

    RED = 1


class Access(enum.Flag):
    """A flag of the user's own."""

    READ = 1
    WRITE = 2


class Outer:
    """A class with another inside."""

    class Inner:
        """That other."""


class TrainError(Exception):
    """An exception of the user's own."""


@dataclasses.dataclass
class Config:
    """Settings of the user's own."""

    rate: float = 0.1


Pair = collections.namedtuple("Pair", "first second")


def collate(items: list[Any]) -> list[Any]:
    """A function of the user's own."""
    return items


# Kept in a checkpoint as any value is, at protocols 2 and 4.
STANDARD: dict[str, Any] = {
    repr(value)[:60]: value
    for value in (
        *(itertools.count(3), itertools.chain([1], [2]), itertools.repeat(1, 3), itertools.cycle([1])),
        *(iter([1]), enumerate([1]), zip([1], [2], strict=False), reversed([1]), range(3), slice(1, 2)),
        *(type(None), ..., NotImplemented, list[int], dict[str, int], int | None),
        *(typing.List[int], typing.Optional[int], typing.Union[int, str], typing.Any),  # noqa: UP006, UP007, UP045
        *(random.Random(1), array.array("f", [1.0]), time.localtime(0), uuid.UUID(int=1)),
        *(string.Template("a"), io.BytesIO(b"1"), io.StringIO("a"), dataclasses.MISSING, Mapping),
        *(collections.deque([1]), collections.Counter("ab"), collections.ChainMap({}), ValueError("x")),
        *(collections.defaultdict(list), collections.UserDict({1: 2}), OSError(2, "x"), re.compile("a")),
        *(decimal.Decimal(1), fractions.Fraction(1, 2), ipaddress.ip_address("1.1.1.1")),
        *(inspect.signature(collate), http.HTTPStatus.OK, signal.Signals.SIGTERM, zoneinfo.ZoneInfo("UTC")),
        *(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), datetime.timedelta(1), pathlib.Path("/a")),
        *(argparse.Namespace(a=1), types.SimpleNamespace(a=1), contextlib.nullcontext(), len, math.sqrt),
        *(logging.getLogger("a"), logging.getLogger(), operator.itemgetter(1), operator.attrgetter("a")),
        *(operator.add, frozenset([1]), bytearray(b"a"), complex(1, 2), b"abc"),
    )
}
OWN: dict[str, Any] = {
    "an enum": Colour.RED,
    "a flag": Access.READ | Access.WRITE,
    "an inner class": Outer.Inner(),
    "settings": Config(),
    "a named tuple": Pair(1, [2]),
    "an exception": TrainError("x"),
    "a class": Config,
    "a function": collate,
    "a partial": functools.partial(collate, [1]),
    "a factory": collections.defaultdict(collate),
}


def of_numpy() -> dict[str, Any]:
    """What numpy makes."""
    import numpy as np

    values = [
        *(np.float32(1), np.int64(1), np.bool_(1), np.str_("a"), np.longdouble(1), np.datetime64("2020")),
        *(np.array([1]), np.array(["a"]), np.array([None, {}], dtype=object), np.ma.array([1], mask=[0])),
        *(np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")]), np.rec.array([(1, 2)]), np.dtype("f4")),
        *(np.random.default_rng(0), np.random.RandomState(0), np.random.get_state(), np.random.PCG64(1)),
        *(np.random.SeedSequence(1), np.random.Generator(np.random.MT19937(3)), np.random.Philox(1)),
        *(np.random.SFC64(1), np.float32, np.mean, np.add, np.polynomial.Polynomial([1, 2])),
    ]
    return {f"{type(value).__name__} {value!r}"[:60]: value for value in values}


def of_torch() -> dict[str, Any]:
    """What torch makes, beside plain tensors."""
    import torch
    import torch.nn.functional as F  # noqa: N812
    from torch import distributions, nn, optim
    from torch.ao import quantization
    from torch.nn.utils import parametrizations, prune

    ones, eye, lin = torch.ones(2), torch.eye(2), nn.Linear(2, 2)
    params = [nn.Parameter(ones)]
    sgd = functools.partial(optim.SGD, params, lr=0.1, momentum=0.9)
    made: dict[str, Callable[[], Any]] = {
        "weight norm": lambda: nn.utils.weight_norm(nn.Linear(2, 2)),
        "spectral norm": lambda: nn.utils.spectral_norm(nn.Linear(2, 2)),
        "parametrized": lambda: parametrizations.weight_norm(nn.Linear(2, 2)).parametrizations,
        "pruned": lambda: prune.l1_unstructured(nn.Linear(2, 2), "weight", 0.5),
        "packed sequence": lambda: nn.utils.rnn.pack_sequence([ones]),
        "quantized tensor": lambda: torch.quantize_per_tensor(ones, 0.1, 0, torch.quint8),
        "quantized channels": lambda: torch.quantize_per_channel(eye, ones, ones * 0, 0, torch.qint8),
        "quantized module": lambda: quantization.quantize_dynamic(nn.Sequential(lin), {nn.Linear}),
        "quantization settings": lambda: quantization.get_default_qat_qconfig("fbgemm"),
        "fused": lambda: torch.ao.nn.intrinsic.ConvReLU2d(nn.Conv2d(1, 1, 1), nn.ReLU()),
        "sparse": eye.to_sparse,
        "compressed": eye.to_sparse_csr,
        "nested": lambda: torch.nested.nested_tensor([ones]),
        "meta": lambda: ones.to("meta"),
        "lazy": lambda: nn.LazyLinear(2),
        "buffer": lambda: nn.Buffer(ones),
        "scaler": lambda: torch.amp.GradScaler("cpu"),
        "data set": lambda: torch.utils.data.Subset(torch.utils.data.TensorDataset(ones), [0]),
        "loader": lambda: torch.utils.data.DataLoader([1, 2]),
        "several results": lambda: eye.max(0),
        "averaged": lambda: optim.swa_utils.AveragedModel(lin),
        "distribution": lambda: distributions.MultivariateNormal(ones, eye),
        "transformed": lambda: distributions.TransformedDistribution(
            distributions.Normal(0.0, 1.0), [distributions.transforms.TanhTransform()]
        ),
        "parallel": lambda: nn.DataParallel(lin),
        "transformer": lambda: nn.Transformer(8, 2, 1, 1, 8),
        "version": lambda: torch.__version__,
        "optimizer": sgd,
        "cyclic": lambda: optim.lr_scheduler.CyclicLR(sgd(), 0.1, 0.2),
        "one cycle": lambda: optim.lr_scheduler.OneCycleLR(sgd(), 0.1, 10),
        "a chain of schedules": lambda: optim.lr_scheduler.ChainedScheduler(
            [optim.lr_scheduler.ExponentialLR(sgd(), 0.9)]
        ),
        "annealed": lambda: optim.swa_utils.SWALR(sgd(), 0.1),
    }
    functions = [
        *(torch.relu, torch.tanh, torch.cat, torch.einsum, torch.Tensor.relu, torch.Tensor.__add__),
        *(F.relu, F.gelu, F.silu, F.conv2d, F.one_hot, F.scaled_dot_product_attention, F.leaky_relu_),
        *(torch.special.expit, torch.linalg.norm, nn.init.xavier_uniform_),
        *(functools.partial(F.softmax, dim=1), functools.partial(nn.LayerNorm, eps=1e-6)),
    ]
    return {name: make() for name, make in made.items()} | {repr(found)[:60]: found for found in functions}
