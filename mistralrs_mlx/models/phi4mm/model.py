"""Phi-4-multimodal: Phi-4 mini with an image encoder, an audio encoder and a LoRA for each.

The two adapters are part of the checkpoint. A request with pictures uses the one for vision, also
for its audio; one with audio alone that for speech; a request without media uses neither.

Reference: microsoft/Phi-4-multimodal-instruct, `modeling_phi4mm.py`.
"""

from collections.abc import Mapping, Set

import mlx.core as mx
import mlx.nn as nn

from mistralrs_mlx.layers.lora import LoRALinear, Update
from mistralrs_mlx.layers.mlp import FusedGatedMLP
from mistralrs_mlx.models.multimodal import MultimodalLM
from mistralrs_mlx.models.phi3 import FusedAttention, Phi3
from mistralrs_mlx.models.weights import Drop, Rename, Rule, Transpose

from .audio import AudioEmbedder
from .config import Phi4MMConfig
from .image import ImageEmbedder

__all__ = ["Phi4MM"]

ADAPTED: dict[type[nn.Module], tuple[str, ...]] = {
    FusedAttention: ("qkv_proj", "o_proj"),
    FusedGatedMLP: ("gate_up_proj", "down_proj"),
}
TOWER = r"^model\.embed_tokens_extend\.image_embed\.img_processor\."


class Phi4MM(Phi3, MultimodalLM):
    config_class = Phi4MMConfig
    config: Phi4MMConfig
    names = (
        Drop(rf"{TOWER}(post_layernorm|head)\."),
        Rename(r"^model\.embed_tokens_extend\.(image|audio)_embed\.", r"\1."),
        Rename(r"^image\.(glb_GN|global_img_feature_extensor)$", "image.separator"),
        Rename(r"^image\.(sub_GN|sub_img_feature_extensor)$", "image.newline"),
        Rename(r"^image\.img_processor\.(encoder\.)?", "image.tower."),
        Rename(r"^image\.img_projection(\.0|_up)\.", "image.projection.up."),
        Rename(r"^image\.img_projection(\.2|_down)\.", "image.projection.down."),
        Rename(r"^audio\.audio_projection\.(speech|vision)\.0\.", r"audio.\1.up."),
        Rename(r"^audio\.audio_projection\.(speech|vision)\.2\.", r"audio.\1.down."),
        Rename(r"^audio\.(up|down)_proj_for_(speech|vision)(_speech)?\.", r"audio.\2.\1."),
        Rename(r"^audio\.encoder\.", "audio.tower."),
        Rename(r"^audio\.tower\.encoders\.", "audio.tower.layers."),
        Rename(r"\.net\.0\.linear\.", ".gate_up_proj."),
        Rename(r"\.net\.2\.", ".down_proj."),
        Rename(r"\.self_attn\.(out_proj|linear_out)\.", ".self_attn.o_proj."),
        Rename(r"\.self_attn\.linear_(q|k|v)\.", r".self_attn.\1_proj."),
        Rename(r"\.embed\.conv\.0\.", ".embed.first."),
        Rename(r"\.embed\.conv\.2\.", ".embed.deeper.0.depthwise."),
        Rename(r"\.embed\.conv\.3\.", ".embed.deeper.0.pointwise."),
        Rename(r"\.embed\.conv\.5\.", ".embed.deeper.1.depthwise."),
        Rename(r"\.embed\.conv\.6\.", ".embed.deeper.1.pointwise."),
        Transpose(r"\.embed\.(first|deeper\.\d\.depthwise)\.weight$", (0, 2, 3, 1)),
    )
    dense = (r"^(image|audio)\.", r"\.lora_[AB]\.")
    precise = (r"\.global_(mean|invstd)$",)

    def __init__(self, config: Phi4MMConfig) -> None:
        super().__init__(config)
        self.image = ImageEmbedder(config.vision_config, config.hidden_size)
        self.audio = AudioEmbedder(config.audio_config, config.hidden_size)
        self.slots.names += config.loras
        if config.loras:
            self._wrap()

    @property
    def rules(self) -> tuple[Rule, ...]:
        vision = self.config.vision_config
        unused = "|".join(map(str, range(vision.depth, vision.num_hidden_layers)))
        behind = (Drop(rf"{TOWER}encoder\.layers\.({unused})\."),) if unused else ()
        bare = () if self.config.loras else (Rename(r"\.base_layer\.", "."),)
        return (*behind, *super().rules, *bare)

    def adapter_for(self, kinds: Set[str]) -> str | None:
        if "image" in kinds:
            return "vision"
        return "speech" if "audio" in kinds else None

    def encode(self, kind: str, arrays: Mapping[str, mx.array], adapter: str | None) -> mx.array:
        """An image: `pixels`, `mask` and `size` (see `ImageEmbedder`); audio: `features`."""
        if kind == "image":
            return self.image(arrays["pixels"], arrays["mask"], arrays["size"])
        if kind == "audio":
            return self.audio(arrays["features"], with_pictures=adapter == "vision")
        raise ValueError(f"Phi-4-multimodal takes images and audio, not {kind!r}")

    def _wrap(self) -> None:
        """Put a `LoRALinear` around each linear layer of the decoder."""
        for block in self.model.modules():
            for name in ADAPTED.get(type(block), ()):
                block[name] = self._adapted(block[name])

    def _adapted(self, linear: nn.Linear) -> LoRALinear:
        outputs, inputs = linear.weight.shape
        adapted = LoRALinear(linear, self.slots)
        for name, lora in self.config.loras.items():
            down, up = mx.zeros((lora.r, inputs)), mx.zeros((outputs, lora.r))
            adapted.put(name, Update(down=down, up=up, scale=lora.scale))
        return adapted
