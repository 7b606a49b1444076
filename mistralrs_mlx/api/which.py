"""`Which`: what to load, and from where. One variant per kind of model and of file.

Positional order is the current era's. What only the early era had comes after it, by keyword.
"""

from dataclasses import KW_ONLY
from os import PathLike
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeAlias

from .adapters import LoraAdapter
from .checks import FILES, PATH, enum_rule
from .device_map import MultimodalAutoMapParams, TextAutoMapParams
from .enums import (
    Architecture,
    DiffusionArchitecture,
    EmbeddingArchitecture,
    IsqOrganization,
    ModelDType,
    MultimodalArchitecture,
    SpeechLoaderType,
    VisionArchitecture,
)
from .values import Accepts, Value, Variants, default

__all__ = ["Which"]

GIB = 2**30
DTYPE = enum_rule(ModelDType, absent=ModelDType.Auto)

# What each kind of field takes, and what it then holds.
Place = Accepts[str | PathLike[str], Annotated[str, PATH]]
MaybePlace = Accepts[str | PathLike[str] | None, Annotated[str, PATH] | None]
Files = Accepts[str | PathLike[str] | list[str], Annotated[str | list[str], FILES]]
MaybeFiles = Accepts[
    str | PathLike[str] | list[str] | None, Annotated[str | list[str], FILES] | None
]
DType = Accepts[ModelDType | str | None, Annotated[ModelDType, DTYPE]]
Arch = Accepts[Architecture | str | None, Architecture | None]
Organization = Accepts[IsqOrganization | str | None, IsqOrganization | None]
AutoMap = TextAutoMapParams | MultimodalAutoMapParams | None


class Which(Variants):
    """What to load: `Which.Plain(...)`, `Which.GGUF(...)` and so on. Immutable.

    Each variant takes some of these, and says which in its own documentation:

    Args:
        model_id: A folder, or a repository of the hub, as `"Qwen/Qwen3-4B"`.
        arch: Needed only where `config.json` does not tell: a member, or its name as a string.
        tokenizer_json: A `tokenizer.json` to use instead of the model's own.
        topology: A YAML file with a quantization for each range of layers.
        organization: What `in_situ_quant` takes: all layers, or experts alone (`MoQE`).
        write_uqff: Where to write the quantized model. Not built yet: UQFF.
        from_uqff: A quantized model to read. Not built yet: UQFF.
        dtype: Of what is not quantized. `Auto`: the checkpoint's own; on a CPU float32.
        imatrix: Weights of importance for quantization. Not built yet: quantizing by an importance
            matrix.
        calibration_file: A text to calibrate quantization with. Not built yet: quantizing by
            calibration.
        hf_cache_path: Where downloads from the hub are kept, instead of the hub's own place.
        matformer_config_path: The slices of a MatFormer model. Not built yet: MatFormer slices.
        matformer_slice_name: The slice to load. Not built yet: MatFormer slices.
        auto_map_params: Early era. No effect: a Mac has one memory.
        max_edge: Scale pictures down until no edge is longer, in pixels.
        encoder_cache_memory_bytes: For what encoders made of pictures and sound, in bytes; 512 MiB
            unless given, 0 keeps nothing.
        quantized_model_id: The folder of a GGUF file, or its repository on the hub.
        quantized_filename: The file there, or a list of them; `;` separates names, too.
        tok_model_id: Where the tokenizer and the template are, if not in the file.
        mmproj_filename: The file with the encoders. Not built yet: multimodal GGUF files.
        adapters: Adapters that requests may name. Not built yet: LoRA adapters.
        max_adapters: How many adapters are held.
        max_rank: The highest rank of an adapter.
        max_bytes: What adapters may take in memory, in bytes.
    """

    if TYPE_CHECKING:
        Plain: TypeAlias = "WhichPlain"
        Embedding: TypeAlias = "WhichEmbedding"
        XLora: TypeAlias = "WhichXLora"
        Lora: TypeAlias = "WhichLora"
        GGUF: TypeAlias = "WhichGGUF"
        XLoraGGUF: TypeAlias = "WhichXLoraGGUF"
        LoraGGUF: TypeAlias = "WhichLoraGGUF"
        GGML: TypeAlias = "WhichGGML"
        XLoraGGML: TypeAlias = "WhichXLoraGGML"
        LoraGGML: TypeAlias = "WhichLoraGGML"
        MultimodalPlain: TypeAlias = "WhichMultimodalPlain"
        VisionPlain: TypeAlias = "WhichMultimodalPlain"
        DiffusionPlain: TypeAlias = "WhichDiffusionPlain"
        Speech: TypeAlias = "WhichSpeech"

    _unmatched: ClassVar[tuple[str, ...]] = ("adapter_model_ids", "auto_map_params")  # early era


class WhichPlain(Which, Value):
    """A text model in safetensors."""

    model_id: Place
    arch: Arch = default(None)
    tokenizer_json: MaybePlace = default(None)
    topology: MaybePlace = default(None)
    organization: Organization = default(None)
    write_uqff: MaybePlace = default(None)
    from_uqff: MaybeFiles = default(None)
    dtype: DType = default(ModelDType.Auto)
    imatrix: MaybePlace = default(None)
    calibration_file: MaybePlace = default(None)
    hf_cache_path: MaybePlace = default(None)
    matformer_config_path: MaybePlace = default(None)
    matformer_slice_name: str | None = None
    _: KW_ONLY
    auto_map_params: AutoMap = None


class WhichEmbedding(Which, Value):
    """A model that turns texts into vectors."""

    model_id: Place
    arch: Accepts[EmbeddingArchitecture | str | None, EmbeddingArchitecture | None] = default(None)
    tokenizer_json: MaybePlace = default(None)
    topology: MaybePlace = default(None)
    write_uqff: MaybePlace = default(None)
    from_uqff: MaybeFiles = default(None)
    dtype: DType = default(ModelDType.Auto)
    hf_cache_path: MaybePlace = default(None)
    imatrix: MaybePlace = default(None)
    calibration_file: MaybePlace = default(None)


class WhichXLora(Which, Value):
    """A text model with X-LoRA: adapters that a small classifier mixes for every token."""

    xlora_model_id: Place
    order: Place
    arch: Arch = default(None)
    model_id: MaybePlace = default(None)
    tokenizer_json: MaybePlace = default(None)
    tgt_non_granular_index: int | None = None
    topology: MaybePlace = default(None)
    write_uqff: MaybePlace = default(None)
    from_uqff: MaybeFiles = default(None)
    dtype: DType = default(ModelDType.Auto)
    hf_cache_path: MaybePlace = default(None)
    _: KW_ONLY
    auto_map_params: AutoMap = None


class WhichLora(Which, Value):
    """A text model with LoRA adapters, in either of two forms.

    Current: `Lora(model_id, adapters=[LoraAdapter(...)])`, adapters chosen request by request.
    Early: `Lora(["adapter id"], arch, model_id)` or `adapter_model_ids=[...]`, adapters merged at
    load; without `model_id` the first adapter's own base model is meant.
    """

    model_id: Accepts[str | PathLike[str] | list[str] | None, Annotated[str, PATH] | None] = (
        default(None)
    )
    adapters: Accepts[list[LoraAdapter] | Architecture | str | None, list[LoraAdapter] | None] = (
        default(None)
    )
    arch: Arch = default(None)
    tokenizer_json: MaybePlace = default(None)
    topology: MaybePlace = default(None)
    write_uqff: MaybePlace = default(None)
    from_uqff: MaybeFiles = default(None)
    dtype: DType = default(ModelDType.Auto)
    hf_cache_path: MaybePlace = default(None)
    max_adapters: int = 16
    max_rank: int = 256
    max_bytes: int = 8 * GIB
    _: KW_ONLY
    adapter_model_ids: list[str] | None = None
    auto_map_params: AutoMap = None

    def __post_init__(self) -> None:
        if isinstance(self.model_id, list | tuple):
            self._shift_early_positions()
        super().__post_init__()
        if self.model_id is None and self.adapter_model_ids is None:
            raise TypeError("Which.Lora needs model_id (or, in its early form, adapter_model_ids)")

    def _shift_early_positions(self) -> None:
        """Read the first three as (adapter_model_ids, arch, model_id), their early meaning."""
        ids, second, third = self.model_id, self.adapters, self.arch
        self._put("adapter_model_ids", ids)
        self._put("arch", second)
        self._put("adapters", None)
        self._put("model_id", third)


class WhichGGUF(Which, Value):
    """A model in GGUF: the repository or folder, and the file or files in it."""

    quantized_model_id: Place
    quantized_filename: Files
    tok_model_id: MaybePlace = default(None)
    topology: MaybePlace = default(None)
    dtype: DType = default(ModelDType.Auto)
    _: KW_ONLY
    tokenizer_json: MaybePlace = default(None)
    mmproj_filename: MaybeFiles = default(None)
    organization: Organization = default(None)
    write_uqff: MaybePlace = default(None)
    imatrix: MaybePlace = default(None)
    calibration_file: MaybePlace = default(None)
    max_edge: int | None = None
    adapters: list[LoraAdapter] | None = None
    max_adapters: int = 16
    max_rank: int = 256
    max_bytes: int = 8 * GIB
    hf_cache_path: MaybePlace = default(None)
    matformer_config_path: MaybePlace = default(None)
    matformer_slice_name: str | None = None
    encoder_cache_memory_bytes: int | None = None
    auto_map_params: AutoMap = None


class WhichXLoraGGUF(Which, Value):
    """X-LoRA over a GGUF model."""

    quantized_model_id: Place
    quantized_filename: Files
    xlora_model_id: Place
    order: Place
    tok_model_id: MaybePlace = default(None)
    tgt_non_granular_index: int | None = None
    topology: MaybePlace = default(None)
    dtype: DType = default(ModelDType.Auto)
    _: KW_ONLY
    auto_map_params: AutoMap = None


class WhichLoraGGUF(Which, Value):
    """LoRA adapters merged into a GGUF model, in the order that a file gives."""

    quantized_model_id: Place
    quantized_filename: Files
    adapters_model_id: Place
    order: Place
    tok_model_id: MaybePlace = default(None)
    topology: MaybePlace = default(None)
    dtype: DType = default(ModelDType.Auto)
    _: KW_ONLY
    auto_map_params: AutoMap = None


class WhichGGML(Which, Value):
    """A model in GGML, the format before GGUF."""

    quantized_model_id: Place
    quantized_filename: Place
    tok_model_id: Place
    tokenizer_json: MaybePlace = default(None)
    gqa: int = 1
    topology: MaybePlace = default(None)
    dtype: DType = default(ModelDType.Auto)
    _: KW_ONLY
    auto_map_params: AutoMap = None


class WhichXLoraGGML(Which, Value):
    """X-LoRA over a GGML model."""

    quantized_model_id: Place
    quantized_filename: Place
    xlora_model_id: Place
    order: Place
    tok_model_id: MaybePlace = default(None)
    tokenizer_json: MaybePlace = default(None)
    tgt_non_granular_index: int | None = None
    gqa: int = 1
    topology: MaybePlace = default(None)
    dtype: DType = default(ModelDType.Auto)
    _: KW_ONLY
    auto_map_params: AutoMap = None


class WhichLoraGGML(Which, Value):
    """LoRA adapters merged into a GGML model."""

    quantized_model_id: Place
    quantized_filename: Place
    adapters_model_id: Place
    order: Place
    tok_model_id: MaybePlace = default(None)
    tokenizer_json: MaybePlace = default(None)
    gqa: int = 1
    topology: MaybePlace = default(None)
    dtype: DType = default(ModelDType.Auto)
    _: KW_ONLY
    auto_map_params: AutoMap = None


class WhichMultimodalPlain(Which, Value):
    """A model in safetensors that also reads images, audio or video. Early: `VisionPlain`."""

    model_id: Place
    arch: Accepts[
        MultimodalArchitecture | VisionArchitecture | str | None, MultimodalArchitecture | None
    ] = default(None)
    tokenizer_json: MaybePlace = default(None)
    topology: MaybePlace = default(None)
    write_uqff: MaybePlace = default(None)
    from_uqff: MaybeFiles = default(None)
    dtype: DType = default(ModelDType.Auto)
    max_edge: int | None = None
    calibration_file: MaybePlace = default(None)
    imatrix: MaybePlace = default(None)
    hf_cache_path: MaybePlace = default(None)
    matformer_config_path: MaybePlace = default(None)
    matformer_slice_name: str | None = None
    organization: Organization = default(None)
    encoder_cache_memory_bytes: int | None = None
    _: KW_ONLY
    auto_map_params: AutoMap = None


class WhichDiffusionPlain(Which, Value):
    """A model that draws images."""

    model_id: Place
    arch: Accepts[DiffusionArchitecture | str, DiffusionArchitecture]
    dtype: DType = default(ModelDType.Auto)


class WhichSpeech(Which, Value):
    """A model that speaks."""

    model_id: Place
    arch: Accepts[SpeechLoaderType | str, SpeechLoaderType]
    dac_model_id: MaybePlace = default(None)
    dtype: DType = default(ModelDType.Auto)


if not TYPE_CHECKING:
    Which.VisionPlain = Which.MultimodalPlain
