"""What weights are going to take is known before any is read."""

from dataclasses import replace
from pathlib import Path

import pytest

from mistralrs_mlx.api.enums import ModelDType
from mistralrs_mlx.errors import CheckpointError
from mistralrs_mlx.loaders.checkpoint import Checkpoint, Tensor
from mistralrs_mlx.loaders.load import LoadOptions, load
from mistralrs_mlx.quant.spec import Spec
from tests.loaders.handmade import folder_contents, made, packed


@pytest.fixture
def checkpoint(tiny_llama: Path) -> Checkpoint:
    return made(*folder_contents(tiny_llama)[:2])


OPTIONS = {
    "as it is": LoadOptions(),
    "in half precision": LoadOptions(dtype=ModelDType.F16),
    "quantized": LoadOptions(in_situ_quant="Q4K"),
    "quantized to floats": LoadOptions(in_situ_quant="MXFP4", dtype=ModelDType.BF16),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_a_model_takes_what_was_told_before(checkpoint: Checkpoint, options: LoadOptions) -> None:
    told: list[int] = []
    assert [load(checkpoint, options, room=told.append).nbytes] == told


def test_packed_tensors_keep_their_size(tiny_llama: Path) -> None:
    config, weights = folder_contents(tiny_llama)[:2]
    name, told = "model.layers.0.mlp.up_proj.weight", list[int]()
    weights = {**weights, name: packed(weights[name], Spec(8))}
    assert [load(made(config, weights), room=told.append).nbytes] == told


def test_weights_that_have_no_room_are_not_read(checkpoint: Checkpoint) -> None:
    def read() -> Tensor:
        raise AssertionError("a tensor was read")

    def full(nbytes: int) -> None:
        raise CheckpointError(f"{nbytes} bytes are too many")

    tensors = {name: replace(tensor, read=read) for name, tensor in checkpoint.tensors.items()}
    with pytest.raises(CheckpointError, match="bytes are too many"):
        load(replace(checkpoint, tensors=tensors), room=full)
