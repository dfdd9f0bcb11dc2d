"""Checkpoints and files put together by hand, for tests that are about what is told of them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any

from ckptaudit.model import Checkpoint, ModuleMeta, Role, Span, StateDict, Storage, TensorMeta
from ckptaudit.model import Path as Place

Keys = Mapping[str, tuple[int, ...]]
Parts = Mapping[Place, tuple[Role, Keys]]
MLP: Keys = {
    "hidden.weight": (256, 20),
    "hidden.bias": (256,),
    "output.weight": (10, 256),
    "output.bias": (10,),
}

GPT2_BLOCK: Keys = {
    "ln_1.weight": (768,),
    "ln_1.bias": (768,),
    "attn.c_attn.weight": (768, 2304),
    "attn.c_attn.bias": (2304,),
    "attn.c_proj.weight": (768, 768),
    "attn.c_proj.bias": (768,),
    "ln_2.weight": (768,),
    "ln_2.bias": (768,),
    "mlp.c_fc.weight": (768, 3072),
    "mlp.c_fc.bias": (3072,),
    "mlp.c_proj.weight": (3072, 768),
    "mlp.c_proj.bias": (768,),
}
GPT2: Keys = {
    "wte.weight": (50257, 768),
    "wpe.weight": (1024, 768),
    **{f"h.{block}.{name}": size for block in range(12) for name, size in GPT2_BLOCK.items()},
    "ln_f.weight": (768,),
    "ln_f.bias": (768,),
    "lm_head.weight": (50257, 768),
}
# As the model is published: https://huggingface.co/openai-community/gpt2 (124 M; the head is tied).
GPT2_PARAMETERS = 124_439_808


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a tensor in row-major order."""
    return tuple(accumulate(reversed(shape[1:]), lambda a, b: a * b, initial=1))[::-1] if shape else ()


def tensor(
    key: str, shape: tuple[int, ...] | None, storage: str, root: Place = (), **more: Any
) -> TensorMeta:
    """A contiguous float32 tensor, unless `more` says otherwise."""
    facts = {"dtype": "float32", "stride": contiguous(shape or ()), "offset": 0, **more}
    return TensorMeta(path=(*root, key), key=key, shape=shape, storage=storage, **facts)


def checkpoint(parts: Parts, ties: Mapping[str, str] | None = None, **more: Any) -> Checkpoint:
    """State dicts of float32 tensors by their root, each in a storage of its own but for `ties`."""
    tensors: dict[Place, TensorMeta] = {}
    storages: dict[str, Storage] = {}
    for root, (_, keys) in parts.items():
        for key, shape in keys.items():
            name = str(len(storages))
            if key in (ties or {}):
                name = tensors[(*root, (ties or {})[key])].storage
            else:
                nbytes = 4 * prod(shape)
                storages[name] = Storage(
                    name, "float32", "cpu", nbytes, Span("made.pt", 10**9 * len(storages), nbytes)
                )
            tensors[(*root, key)] = tensor(key, shape, name, root)
    state_dicts = tuple(StateDict(root, role, _modules(keys)) for root, (role, keys) in parts.items())
    facts = {"files": (Span("made.pt", 0, 1000),), "state_dicts": state_dicts, **more}
    return Checkpoint("made.pt", "torch-zip", tensors=tensors, storages=storages, **facts)


def _modules(keys: Keys) -> dict[str, ModuleMeta]:
    if any(key.count(".") > 99 for key in keys):
        return {}  # a reader does not list 30,000 modules of one name either
    paths = [".".join(key.split(".")[:end]) for key in keys for end in range(key.count(".") + 1)]
    return {path: ModuleMeta(path, version=1) for path in paths}


def gpt2() -> Checkpoint:
    """GPT-2 (small) with its tied head."""
    return checkpoint({(): ("model", GPT2)}, {"lm_head.weight": "wte.weight"})


def training() -> Checkpoint:
    """What a training script saves: model, averaged copy, optimizer, and where it was."""
    moments = {f"state.{place}.exp_avg": shape for place, shape in enumerate(MLP.values())}
    return checkpoint(
        {("model",): ("model", MLP), ("model_ema",): ("ema", MLP), ("optimizer",): ("optimizer", moments)},
        extras={("epoch",): 3, ("args", "lr"): 0.001, ("optimizer", "param_groups", 0, "lr"): 0.1},
    )


def write_safetensors(path: Path, keys: Keys) -> Path:
    """A safetensors file of float32 zeros, after the format's own page.

    https://huggingface.co/docs/safetensors/index#format
    """
    header, end = {}, 0
    for key, shape in keys.items():
        start, end = end, end + 4 * prod(shape)
        header[key] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
    return path
