"""A tiny Phi-4-multimodal in Microsoft's layout: tensors, random inputs, a whole folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tests.models.detweights import integers, tensors
from tests.models.tiny import config
from tests.tiny_checkpoint import write_tokenizer

__all__ = ["PHI4", "image", "shapes", "sound", "weights", "write_tiny_phi4mm"]

NAME = "Phi4MMForCausalLM"
IMAGE, AUDIO = "model.embed_tokens_extend.image_embed.", "model.embed_tokens_extend.audio_embed."
SPECIAL = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
SOFT = ("<|endoftext10|>", "<|endoftext11|>")  # what stands for a picture's tokens, and a clip's
PHI4 = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def weights(raw: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Every tensor of the checkpoint that this config.json describes."""
    return tensors(shapes(raw))


def image(name: str, mask: np.ndarray, height: int, width: int, size: int) -> dict[str, np.ndarray]:
    """What `encode` takes: random tiles, the whole picture first; `mask` is that of the tiles."""
    count, side = 1 + height * width, mask.shape[-1]
    pixels = _unit(name, count, 3, size, size).transpose(0, 2, 3, 1)
    whole = np.ones((1, side, side), mask.dtype)
    return {
        "pixels": pixels,
        "mask": np.concatenate([whole, mask]),
        "size": np.array([height * size, width * size]),
    }


def sound(name: str, frames: int) -> dict[str, np.ndarray]:
    """What `encode` takes: random features."""
    return {"features": _unit(name, frames, 80)}


def shapes(raw: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors under Microsoft's names."""
    dims = raw["hidden_size"]
    ends = {"model.embed_tokens.weight": (raw["vocab_size"], dims), "model.norm.weight": (dims,)}
    return {**ends, **_decoder(raw), **_vision(raw), **_audio(raw)}


def write_tiny_phi4mm(folder: Path, **changes: Any) -> Path:
    """Write a whole checkpoint: real tiles of 448 pixels and 80 mels, but a small vocabulary.

    The tokens of pictures and clips have the text that they have in the published vocabulary.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = write_tokenizer(
        folder, chat_template=PHI4, eos="<|end|>", special=(*SPECIAL, *SOFT)
    )
    ends = {"bos_token_id": 0, "eos_token_id": tokenizer.token_to_id("<|end|>")}
    vocabulary = tokenizer.get_vocab_size()
    raw = config(NAME, vocab_size=vocabulary, max_position_embeddings=8192, **ends)
    raw["vision_config"] = raw["vision_config"] | {"image_size": 448}
    raw["embd_layer"] = {"image_embd_layer": {"crop_size": 448}}
    raw |= changes
    save_file(weights(raw), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(raw, indent=1))
    (folder / "generation_config.json").write_text(json.dumps(ends))
    return folder


def _unit(name: str, *shape: int) -> np.ndarray:
    numbers = integers(f"in:{name}", int(np.prod(shape)))
    return (numbers.astype(np.float32) / np.float32(128)).reshape(shape)


def _decoder(raw: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    dims, hidden, heads = raw["hidden_size"], raw["intermediate_size"], raw["num_attention_heads"]
    joined = (heads + 2 * raw["num_key_value_heads"]) * (dims // heads)
    linear = {
        "self_attn.qkv_proj": (joined, dims),
        "self_attn.o_proj": (dims, dims),
        "mlp.gate_up_proj": (2 * hidden, dims),
        "mlp.down_proj": (dims, hidden),
    }
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (dims,),
        "post_attention_layernorm.weight": (dims,),
    }
    for name, (outputs, inputs) in linear.items():
        layer[f"{name}.base_layer.weight"] = (outputs, inputs)
        for adapter in ("vision", "speech"):
            rank = raw[f"{adapter}_lora"]["r"]
            layer[f"{name}.lora_A.{adapter}.weight"] = (rank, inputs)
            layer[f"{name}.lora_B.{adapter}.weight"] = (outputs, rank)
    return _numbered("model.layers", raw["num_hidden_layers"], layer)


def _vision(raw: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    vision = raw["vision_config"]
    dims, hidden, side = vision["hidden_size"], vision["intermediate_size"], 14
    layer = {
        **_norms("layer_norm1", "layer_norm2", dims=dims),
        **{key: value for p in "qkv" for key, value in _linear(f"self_attn.{p}_proj", dims, dims)},
        **dict(_linear("self_attn.out_proj", dims, dims)),
        **dict(_linear("mlp.fc1", dims, hidden)),
        **dict(_linear("mlp.fc2", hidden, dims)),
    }
    tower = {
        "embeddings.patch_embedding.weight": (dims, 3, side, side),
        "embeddings.patch_embedding.bias": (dims,),
        "embeddings.position_embedding.weight": ((vision["image_size"] // side) ** 2, dims),
        **_numbered("encoder.layers", vision["num_hidden_layers"], layer),
        **_norms("post_layernorm", "head.layernorm", dims=dims),
        "head.probe": (1, 1, dims),
    }
    return {
        f"{IMAGE}glb_GN": (1, 1, dims),
        f"{IMAGE}sub_GN": (1, 1, 1, dims),
        **{f"{IMAGE}img_processor.{name}": shape for name, shape in tower.items()},
        **_projection(f"{IMAGE}img_projection", dims, raw["hidden_size"]),
    }


def _audio(raw: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    audio = raw["audio_processor"]["config"]
    dims, mels = audio["attention_dim"], audio["input_size"]
    channels = audio["nemo_conv_settings"]["conv_channels"]
    buckets = 2 * audio["relative_attention_bias_args"]["t5_bias_max_distance"]
    tower = {
        "encoder_embedding.global_mean": (mels,),
        "encoder_embedding.global_invstd": (mels,),
        **_convolution("embed.conv.0", channels, 1, 3, 3),
        **_convolution("embed.conv.2", channels, 1, 3, 3),
        **_convolution("embed.conv.3", channels, channels, 1, 1),
        **_convolution("embed.conv.5", channels, 1, 3, 3),
        **_convolution("embed.conv.6", channels, channels, 1, 1),
        **dict(_linear("embed.out", channels * mels // 8, dims)),
        "relative_attention_bias_layer.bias_values.weight": (buckets, audio["attention_heads"]),
        **_numbered("encoders", audio["num_blocks"], _conformer(dims, audio["linear_units"])),
    }
    return {
        **{f"{AUDIO}encoder.{name}": shape for name, shape in tower.items()},
        **_projection(f"{AUDIO}audio_projection.speech", dims, raw["hidden_size"]),
        **_projection(f"{AUDIO}audio_projection.vision", dims, raw["hidden_size"]),
    }


def _conformer(dims: int, hidden: int) -> dict[str, tuple[int, ...]]:
    halves = ("feed_forward_in", "feed_forward_out")
    return {
        **_norms("layer_norm_att", "layer_norm", "conv.layer_norm", dims=dims),
        **_norms(*(f"{half}.layer_norm" for half in halves), dims=dims),
        **{k: v for half in halves for k, v in _linear(f"{half}.net.0.linear", dims, 2 * hidden)},
        **{k: v for half in halves for k, v in _linear(f"{half}.net.2", hidden, dims)},
        **{k: v for p in "qkv" for k, v in _linear(f"self_attn.linear_{p}", dims, dims)},
        **dict(_linear("self_attn.linear_out", dims, dims)),
        "conv.glu.b1": (1, dims, 1),
        "conv.glu.b2": (1, dims, 1),
        **_convolution("conv.glu.ext_pw_conv_1d", 2 * dims, dims, 1),
        **_convolution("conv.ext_pw_conv_1d", dims, dims, 1),
        **_convolution("conv.dw_sep_conv_1d.dw_conv", dims, 1, 3),
        **_convolution("conv.dw_sep_conv_1d.pw_conv", dims, dims, 1),
    }


def _linear(name: str, inputs: int, outputs: int) -> list[tuple[str, tuple[int, ...]]]:
    return [(f"{name}.weight", (outputs, inputs)), (f"{name}.bias", (outputs,))]


def _convolution(name: str, outputs: int, *rest: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, *rest), f"{name}.bias": (outputs,)}


def _norms(*names: str, dims: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{leaf}": (dims,) for name in names for leaf in ("weight", "bias")}


def _projection(name: str, width: int, dims: int) -> dict[str, tuple[int, ...]]:
    return dict([*_linear(f"{name}.0", width, dims), *_linear(f"{name}.2", dims, dims)])


def _numbered(
    name: str, count: int, layer: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{n}.{key}": shape for n in range(count) for key, shape in layer.items()}
