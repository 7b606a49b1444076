"""Folders with safetensors files, as the hub has them -> a checkpoint.

MLX reads the files, but only after their headers have been checked here: a damaged one must end in
an error that says so.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx

from mistralrs_mlx.errors import CheckpointError

from .checkpoint import Checkpoint, LazyTensor
from .foreign import restoring
from .prequantized import Quantization, joined
from .texts import folder_texts, read_json, with_tokenizer

__all__ = ["load"]

# Name in a file: bytes of a number, MLX's name. MLX has no 8-bit floats and reads bytes.
_DTYPES = {
    "BOOL": (1, "bool_"), "U8": (1, "uint8"), "I8": (1, "int8"), "F8_E4M3": (1, "uint8"),
    "F8_E8M0": (1, "uint8"), "U16": (2, "uint16"), "I16": (2, "int16"), "F16": (2, "float16"),
    "BF16": (2, "bfloat16"), "U32": (4, "uint32"), "I32": (4, "int32"), "F32": (4, "float32"),
    "U64": (8, "uint64"), "I64": (8, "int64"),
}  # fmt: skip
_LONGEST_HEADER = 100_000_000  # as in the safetensors library
_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_OTHER_LAYOUT = ("consolidated", "adapter")  # Mistral's own files, LoRA adapters
_OTHER_FORMATS = ("*.bin", "*.pth", "*.pt", "*.gguf", "*.npz", "*.h5", "*.msgpack", "*.uqff")


def load(
    folder: Path, *, source: str | None = None, tokenizer_json: str | Path | None = None
) -> Checkpoint:
    """Open a folder. `tokenizer_json` is the path of another tokenizer than the folder's."""
    source = source or str(folder)
    config = _config(folder)
    restore = restoring(config, source)
    quantization = None if restore else Quantization.of_config(config, source)
    tensors: dict[str, LazyTensor] = {}
    places: dict[str, Path] = {}
    for path in _shards(folder):
        for name, tensor in _open(path).items():
            if name in places:
                raise CheckpointError(
                    f"{path} and {places[name].name} both have {name}. Remove the file that does "
                    f"not belong to the model, or add the {_INDEX} that names those that do"
                )
            places[name], tensors[name] = path, tensor
    return Checkpoint(
        source=source,
        config=config,
        tensors=restore(tensors) if restore else joined(tensors, quantization, source),
        text=with_tokenizer(folder_texts(folder, source), tokenizer_json),
        preprocessor_config=_preprocessor(folder),
    )


@dataclass(frozen=True)
class _Entry:
    """What a header says about one tensor."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class _Shard:
    """One file, opened by MLX when its first tensor is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._arrays: dict[str, mx.array] = {}

    def take(self, name: str) -> mx.array:
        """Return a tensor and forget it, so that nobody else keeps it in memory."""
        try:
            if name not in self._arrays:
                self._arrays = dict(mx.load(str(self._path)))  # type: ignore[arg-type]
            array = self._arrays.pop(name)
            mx.eval(array)
        except (RuntimeError, KeyError) as error:
            raise CheckpointError(f"{self._path} changed since it was opened: {error}") from error
        return array


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(
            f"{folder} has no config.json, so it is no folder of a model. {_listed(folder)}"
        )
    return read_json(path)


def _shards(folder: Path) -> list[Path]:
    """Return the files that hold the weights: those of the index, the single one, or all."""
    if (folder / _INDEX).is_file():
        return _indexed(folder / _INDEX)
    if (folder / _SINGLE).is_file():
        return [folder / _SINGLE]
    found = sorted(path for path in folder.glob("*.safetensors") if path.is_file())
    shards = [path for path in found if not path.name.startswith(_OTHER_LAYOUT)]
    if not shards:
        formats = ", ".join(path.name for path in _formats(folder)) or "no weights at all"
        held = ", ".join(path.name for path in found) or formats
        raise CheckpointError(
            f"{folder} has no weights in Hugging Face's safetensors files, such as {_SINGLE}; it "
            f"has {held}. Take another variant of the model (for .gguf files: Which.GGUF)"
        )
    return shards


def _indexed(index: Path) -> list[Path]:
    weights = read_json(index).get("weight_map")
    if not isinstance(weights, dict) or not all(isinstance(v, str) for v in weights.values()):
        raise CheckpointError(f"{index} has no weight_map from tensors to files. Download it again")
    names = sorted(set(weights.values()))
    if strange := [name for name in names if Path(name).name != name]:
        raise CheckpointError(f"{index} names {strange[0]!r}, which is not a file of this folder")
    shards = [index.with_name(name) for name in names]
    if missing := [path.name for path in shards if not path.is_file()]:
        raise CheckpointError(
            f"{index.parent} lacks {', '.join(missing[:5])} ({len(missing)} of {len(shards)} files "
            f"that {index.name} names). Download the missing ones"
        )
    held = {path.name: _header(path).keys() for path in shards}
    if lost := [name for name, file in weights.items() if name not in held[file]]:
        raise CheckpointError(
            f"{index} places {lost[0]} in {weights[lost[0]]}, which does not have it. Download "
            "both again"
        )
    return shards


def _open(path: Path) -> dict[str, LazyTensor]:
    shard = _Shard(path)
    return {
        name: LazyTensor(
            shape=entry.shape, dtype=_DTYPES[entry.dtype][1], read=partial(shard.take, name)
        )
        for name, entry in _header(path).items()
    }


def _header(path: Path) -> dict[str, _Entry]:
    """Read and check what a file says about itself: its tensors must fill it without a gap."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if not size:
                raise _damaged(path, "it is empty")
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _LONGEST_HEADER):
                raise _damaged(path, f"its header should have {length} bytes, the file has {size}")
            found = json.loads(file.read(length).decode("utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise _damaged(path, f"its header is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise _damaged(path, "its header is not a JSON object")
    entries = {n: _entry(path, n, said) for n, said in found.items() if n != "__metadata__"}
    _check_places(path, entries, size - 8 - length)
    return entries


def _entry(path: Path, name: str, said: object) -> _Entry:
    match said:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [start, stop]} if all(
            type(number) is int and number >= 0 for number in (*shape, start, stop)
        ):
            entry = _Entry(dtype, tuple(shape), start, stop)
        case _:
            raise _damaged(path, f"the header's entry for {name} is {str(said)[:80]}")
    if dtype not in _DTYPES:
        raise CheckpointError(
            f"{path}: tensor {name} has the type {dtype}, which is not supported. Supported are "
            f"{', '.join(_DTYPES)}"
        )
    if stop - start != math.prod(shape) * _DTYPES[dtype][0]:
        raise _damaged(path, f"{name} should be {shape} of {dtype}, but has {stop - start} bytes")
    return entry


def _check_places(path: Path, entries: Mapping[str, _Entry], size: int) -> None:
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.start != end:
            raise _damaged(path, f"{name} begins at byte {entry.start} of the data, not {end}")
        end = entry.stop
    if end != size:
        raise _damaged(path, f"its tensors take {end} bytes, but {size} follow the header")


def _damaged(path: Path, found: str) -> CheckpointError:
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(b"version https://"):
        return CheckpointError(
            f"{path} is a Git LFS pointer, not the file itself. Run `git lfs pull` or download it "
            "again"
        )
    return CheckpointError(f"{path} is damaged or cut off: {found}. Download it again")


def _formats(folder: Path) -> Iterator[Path]:
    return (path for pattern in _OTHER_FORMATS for path in sorted(folder.glob(pattern)))


def _preprocessor(folder: Path) -> dict[str, Any]:
    path = folder / "preprocessor_config.json"
    return read_json(path) if path.is_file() else {}


def _listed(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    if any(name.endswith(".gguf") for name in names):
        return "It has GGUF files: use Which.GGUF"
    return f"It holds {', '.join(names[:8]) or 'nothing'}"
