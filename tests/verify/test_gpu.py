"""The same model on the CPU and on a GPU: close, and different where weights are."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="runs models")

from ckptaudit.verify import compare_models, record_model  # noqa: E402
from tests.verify.zoo import ARCHITECTURES, build  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_cpu_against_gpu(name: str) -> None:
    found = compare_models(build(name).cuda(), build(name))
    assert found.verdict in ("equal", "close (float32)"), found


@pytest.mark.parametrize("name", ["residual", "convnet", "attention"])
def test_gpu_against_itself_is_bitwise(name: str) -> None:
    assert compare_models(build(name).cuda(), build(name).cuda()).equal


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype: str) -> None:
    model = build("residual")
    half = copy.deepcopy(model).to(getattr(torch, dtype)).cuda()
    assert compare_models(half, model).verdict == f"close ({dtype})"


def test_other_weights_are_different_there_too() -> None:
    model = build("convnet")
    other = copy.deepcopy(model).cuda()
    with torch.no_grad():
        other.down.weight.view(-1)[3] += 1e-4
    found = compare_models(other, model)
    assert found.verdict == "different"
    assert found.first_divergence is not None
    assert "down.weight" in found.first_divergence.keys


def test_record_on_the_cpu(tmp_path: Any) -> None:
    golden = str(tmp_path / "golden.safetensors")
    assert record_model(build("deep").cuda(), golden).equal
