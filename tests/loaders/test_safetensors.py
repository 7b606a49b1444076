"""Folders of safetensors: which files count, and what a damaged one says."""

import json
import os
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from mistralrs_mlx.errors import CheckpointError
from mistralrs_mlx.loaders.safetensors import load

ONE = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.float16)}
TWO = {"c": np.arange(8, dtype=np.int64)}
INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a config.json and one file of weights."""
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    save_file(ONE, tmp_path / "model.safetensors")
    return tmp_path


def sharded(folder: Path, index: Mapping[str, str] | None = None) -> Path:
    """Two files instead of one, named as nobody would guess."""
    (folder / "model.safetensors").unlink()
    save_file(ONE, folder / "weights-x.safetensors")
    save_file(TWO, folder / "weights-y.safetensors")
    if index is not None:
        (folder / INDEX).write_text(json.dumps({"weight_map": index}))
    return folder


def raw(path: Path, header: object, data: bytes = b"") -> None:
    """Write a file with any header."""
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def complaint(folder: Path) -> str:
    started = time.perf_counter()
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    assert time.perf_counter() - started < 1
    return str(caught.value)


def test_tensors_come_as_they_were_written(folder: Path) -> None:
    tensors = load(folder).tensors
    assert {name: lazy.shape for name, lazy in tensors.items()} == {"a": (2, 3), "b": (4,)}
    for name, expected in ONE.items():
        read = tensors[name]()
        assert str(read.dtype) == f"mlx.core.{tensors[name].dtype}"
        np.testing.assert_array_equal(np.array(read), expected)


def test_a_tensor_can_be_read_again(folder: Path) -> None:
    lazy = load(folder).tensors["a"]
    assert mx.array_equal(lazy(), lazy())


def test_bfloat16_is_read_without_numpy_knowing_it(folder: Path) -> None:
    weight = mx.array([1.5, -2.0]).astype(mx.bfloat16)
    mx.save_safetensors(str(folder / "model.safetensors"), {"w": weight})
    lazy = load(folder).tensors["w"]
    assert lazy.dtype == "bfloat16"
    assert mx.array_equal(lazy(), weight)


def test_the_index_says_which_files_count(folder: Path) -> None:
    index = {"a": "weights-x.safetensors", "b": "weights-x.safetensors"}
    assert set(load(sharded(folder, index)).tensors) == {"a", "b"}


def test_without_an_index_all_files_count_but_another_layouts(folder: Path) -> None:
    sharded(folder)
    save_file(ONE, folder / "consolidated.safetensors")
    save_file(ONE, folder / "adapter_model.safetensors")
    assert set(load(folder).tensors) == {"a", "b", "c"}


def test_one_name_in_two_files_names_both(folder: Path) -> None:
    sharded(folder)
    save_file(TWO, folder / "copy.safetensors")
    said = complaint(folder)
    assert "copy.safetensors" in said
    assert "weights-y.safetensors" in said


def test_a_file_that_the_index_names_and_nobody_has_is_named(folder: Path) -> None:
    index = {"a": "weights-x.safetensors", "z": "weights-z.safetensors"}
    assert "lacks weights-z.safetensors (1 of 2 files" in complaint(sharded(folder, index))


def test_an_index_that_is_wrong_about_a_tensor_is_named(folder: Path) -> None:
    index = {"a": "weights-x.safetensors", "c": "weights-x.safetensors"}
    assert "places c in weights-x.safetensors" in complaint(sharded(folder, index))


def test_an_index_cannot_lead_out_of_the_folder(folder: Path) -> None:
    assert "not a file of this folder" in complaint(sharded(folder, {"a": "../x.safetensors"}))


def test_a_folder_without_a_config_says_what_it_holds(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert "no config.json" in complaint(folder)
    assert "It holds model.safetensors" in complaint(folder)
    (folder / "x.gguf").touch()
    assert "use Which.GGUF" in complaint(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "m.gguf", "consolidated.safetensors"])
def test_weights_in_another_format_are_named(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    assert f"it has {name}" in complaint(folder)


@pytest.mark.parametrize("content", ["{", "[]", "\xff", '{"a": ' * 100_000])
@pytest.mark.parametrize("name", ["config.json", INDEX, "tokenizer_config.json"])
def test_json_that_is_none_is_damage(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content, encoding="latin-1")
    assert name in complaint(folder)


@pytest.mark.parametrize("part", range(10))
def test_a_file_that_was_cut_off_says_so(folder: Path, part: int) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * part // 10])
    assert "model.safetensors is damaged or cut off" in complaint(folder)


def wrong_headers() -> Iterator[tuple[str, Any, bytes]]:
    good = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    yield "begins at byte 4", {"a": good | {"data_offsets": [4, 12]}}, bytes(12)
    yield "12 follow", {"a": good}, bytes(12)
    yield "take 8 bytes, but 4", {"a": good}, bytes(4)
    yield "should be [3] of F32", {"a": good | {"shape": [3]}}, bytes(8)
    yield "entry for a", {"a": good | {"shape": [-2]}}, bytes(8)
    yield "entry for a", {"a": good | {"shape": [True]}}, bytes(8)
    yield "entry for a", {"a": good | {"data_offsets": [0]}}, bytes(8)
    yield "entry for a", {"a": 3}, b""
    yield "not a JSON object", [1], b""
    yield "type F64, which is not supported", {"a": good | {"dtype": "F64", "shape": [1]}}, bytes(8)


def test_an_empty_file_says_so(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")
    assert "it is empty" in complaint(folder)


@pytest.mark.parametrize(("said", "header", "data"), list(wrong_headers()))
def test_a_header_that_cannot_be_right_is_quoted(
    folder: Path, said: str, header: object, data: bytes
) -> None:
    raw(folder / "model.safetensors", header, data)
    assert said in complaint(folder)


def test_a_git_lfs_pointer_is_told_apart(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "Git LFS pointer" in complaint(folder)


@settings(
    max_examples=200, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_flipped_bytes_raise_nothing_but_checkpoint_errors(
    folder: Path, data: st.DataObject
) -> None:
    path = folder / "model.safetensors"
    save_file(ONE, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 33))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with suppress(CheckpointError):
        for lazy in load(folder).tensors.values():
            lazy()


def test_what_is_no_file_is_not_waited_for(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="no weights"):
        load(folder)


def test_a_file_that_is_cut_after_it_was_opened_says_so(folder: Path) -> None:
    tensors = load(folder).tensors
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="changed since it was opened"):
        tensors["a"]()
