"""Phi-4-multimodal's config.json in both its forms: Microsoft's and transformers'.

Microsoft's says nothing about the image encoder, which is a constant of the published code, and
calls the audio encoder's sizes otherwise. Here everything bears transformers' names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from mistralrs_mlx.errors import ConfigError
from mistralrs_mlx.models.base import Config
from mistralrs_mlx.models.phi3 import Phi3Config
from mistralrs_mlx.models.towers.conformer import ConformerConfig
from mistralrs_mlx.models.towers.siglip import SiglipConfig

__all__ = ["LoRAConfig", "Phi4MMConfig", "VisionConfig"]

LORAS = {"vision": "vision_lora", "speech": "speech_lora"}  # adapter -> key
AUDIO = {  # Microsoft's names -> transformers'
    "activation": "activation",
    "attention_dim": "hidden_size",
    "attention_heads": "num_attention_heads",
    "chunk_size": "chunk_size",
    "conv_activation": "conv_activation",
    "conv_glu_type": "conv_glu_type",
    "depthwise_multiplier": "depthwise_multiplier",
    "input_size": "input_size",
    "kernel_size": "kernel_size",
    "linear_units": "intermediate_size",
    "num_blocks": "num_blocks",
    "time_reduction": "time_reduction",
}
DISTANCE = 500  # t5_bias_max_distance, where Microsoft's leaves it out
ONLY = {  # what Microsoft's may say about parts that come in one form here
    "batch_norm": False,
    "bias_in_glu": True,
    "causal": True,
    "cnn_layer_norm": True,
    "compression_rate": 8,
    "downsample_rate": 1,
    "ext_pw_kernel_size": 1,
    "hd_transform_order": "sub_glb",
    "image_token_compression_cls": "avg_pool_2d",
    "input_layer": "nemo_conv",
    "projection_cls": "mlp",
    "use_conv_downsample": False,
    "use_hd_transform": True,
    "use_qformer": False,
    "with_learnable_separator": True,
}


@dataclass(frozen=True, kw_only=True)
class LoRAConfig(Config):
    r: int
    lora_alpha: float

    @property
    def scale(self) -> float:
        return self.lora_alpha / self.r


@dataclass(frozen=True, kw_only=True)
class VisionConfig(SiglipConfig):
    feature_layer: int = -2  # whose states are the features; -1 is the last

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side % 2 or not 0 < self.depth <= self.num_hidden_layers:
            raise ConfigError(
                f"VisionConfig: feature_layer {self.feature_layer} of {self.num_hidden_layers} "
                f"layers on {self.side} x {self.side} patches; an even number of patches and one "
                "of the layers, counted from the last, -1, are supported"
            )

    @property
    def depth(self) -> int:
        """How many layers are needed."""
        return self.num_hidden_layers + 1 + self.feature_layer


@dataclass(frozen=True, kw_only=True)
class Phi4MMConfig(Phi3Config):
    vision_config: VisionConfig = field(default_factory=VisionConfig)
    audio_config: ConformerConfig = field(default_factory=ConformerConfig)
    vision_lora: LoRAConfig | None = None
    speech_lora: LoRAConfig | None = None

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        given = dict(raw)
        if "embd_layer" in raw or "audio_processor" in raw:
            given.setdefault("vision_config", _vision(raw))
            given.setdefault("audio_config", _audio(raw))
        for key in LORAS.values():
            given[key] = LoRAConfig.from_dict(raw[key]) if raw.get(key) else None
        return super().from_dict(given)

    @property
    def loras(self) -> dict[str, LoRAConfig]:
        """The adapters that the checkpoint holds, by name; transformers' form has none."""
        return {name: found for name, key in LORAS.items() if (found := getattr(self, key))}


def _vision(raw: Mapping[str, Any]) -> dict[str, Any]:
    embedder = _part(raw, "embd_layer", "image_embd_layer")
    return {"image_size": embedder["crop_size"]} if "crop_size" in embedder else {}


def _audio(raw: Mapping[str, Any]) -> dict[str, Any]:
    _part(raw, "embd_layer", "audio_embd_layer")
    said = _part(raw, "audio_processor", "config")
    distances = said.get("relative_attention_bias_args") or {}
    settings = said.get("nemo_conv_settings") or {}
    audio = {ours: said[theirs] for theirs, ours in AUDIO.items() if theirs in said}
    audio["bias_max_distance"] = distances.get("t5_bias_max_distance", DISTANCE)
    if "conv_channels" in settings:
        audio["nemo_conv_channels"] = settings["conv_channels"]
    return audio


def _part(raw: Mapping[str, Any], outer: str, inner: str) -> dict[str, Any]:
    """A dictionary within a dictionary, empty if absent, whose fixed values are as they must be."""
    part: dict[str, Any] = (raw.get(outer) or {}).get(inner) or {}
    for key, value in ONLY.items():
        if part.get(key, value) != value:
            raise ConfigError(
                f"config.json: {outer}.{inner}.{key} is {part[key]!r}; only {value!r} is supported"
            )
    return part
