"""A checkpoint of a few hundred kilobytes, written as the hub lays one out, with seeded weights."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

__all__ = ["CHATML", "write_tiny_llama", "write_tokenizer"]

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SENTENCES = ["Why is the sky blue?", "The sky is blue because it scatters light.", "Hello there!"]
CHATML = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "torch_dtype": "float32",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 2,
}


def write_tiny_llama(folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """Write a whole Llama checkpoint into `folder`; `changes` go into config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    config = LLAMA | {"vocab_size": write_tokenizer(folder).get_vocab_size()} | changes
    save_file(_weights(config, seed), folder / "model.safetensors", metadata={"format": "pt"})
    _write(folder / "config.json", config)
    _write(folder / "generation_config.json", {"bos_token_id": 0, "eos_token_id": 2})
    return folder


def write_tokenizer(
    folder: Path,
    *,
    chat_template: str = CHATML,
    eos: str = "<|im_end|>",
    special: Sequence[str] = (),
) -> Tokenizer:
    """Write the two files of a tokenizer that has these tokens, too, at the end."""
    tokenizer = _tokenizer()
    tokenizer.add_special_tokens(list(special))
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = _tokenizer_config() | {"chat_template": chat_template, "eos_token": eos}
    _write(folder / "tokenizer_config.json", settings)
    return tokenizer


def _tokenizer() -> Tokenizer:
    """Byte-level BPE that knows every byte and a few merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES * 4, trainer)
    return tokenizer


def _tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|im_end|>",
        "add_bos_token": False,
        "chat_template": CHATML,
        "model_max_length": 512,
    }


def _weights(config: dict[str, Any], seed: int) -> dict[str, np.ndarray]:
    """Every tensor from one generator, in the order of their names."""
    generator = np.random.default_rng(seed)
    shapes = _shapes(config)
    return {
        name: (1.0 if "norm" in name else 0.0)
        + 0.1 * generator.standard_normal(shapes[name], dtype=np.float32)
        for name in sorted(shapes)
    }


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    dims, hidden, vocab = (
        config["hidden_size"],
        config["intermediate_size"],
        config["vocab_size"],
    )
    kv_dims = dims * config["num_key_value_heads"] // config["num_attention_heads"]
    layer = {
        "input_layernorm": (dims,),
        "post_attention_layernorm": (dims,),
        "self_attn.q_proj": (dims, dims),
        "self_attn.k_proj": (kv_dims, dims),
        "self_attn.v_proj": (kv_dims, dims),
        "self_attn.o_proj": (dims, dims),
        "mlp.gate_proj": (hidden, dims),
        "mlp.up_proj": (hidden, dims),
        "mlp.down_proj": (dims, hidden),
    }
    shapes: dict[str, tuple[int, ...]] = {
        f"model.layers.{index}.{name}.weight": shape
        for index in range(config["num_hidden_layers"])
        for name, shape in layer.items()
    }
    ends = {"model.embed_tokens": (vocab, dims), "model.norm": (dims,)}
    if not config["tie_word_embeddings"]:
        ends["lm_head"] = (vocab, dims)
    return shapes | {f"{name}.weight": shape for name, shape in ends.items()}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
