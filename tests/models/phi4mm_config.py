"""Phi-4-multimodal's config.json in Microsoft's layout, tiny."""

from typing import Any

__all__ = ["PHI4MM"]

PHI4MM: dict[str, Any] = {
    "model_type": "phi4mm",
    "tie_word_embeddings": True,
    "partial_rotary_factor": 0.75,
    "sliding_window": 262144,
    "original_max_position_embeddings": 64,
    "rope_scaling": {
        "type": "longrope",
        "short_factor": [1.0, 1.05, 1.1, 1.3, 1.5, 2.0],
        "long_factor": [1.2, 1.5, 2.0, 4.0, 8.0, 16.0],
    },
    "vision_config": {  # the published file leaves it out: its values are constants of the code
        "hidden_size": 40,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 112,
    },
    "embd_layer": {
        "image_embd_layer": {"crop_size": 112, "hd_transform_order": "sub_glb"},
        "audio_embd_layer": {"compression_rate": 8, "projection_cls": "mlp"},
    },
    "audio_processor": {
        "config": {
            "attention_dim": 24,
            "attention_heads": 2,
            "linear_units": 36,
            "num_blocks": 2,
            "input_size": 80,
            "nemo_conv_settings": {"conv_channels": 20},
            "relative_attention_bias_args": {"t5_bias_max_distance": 10},
        },
    },
    "vision_lora": {"r": 8, "lora_alpha": 16},
    "speech_lora": {"r": 12, "lora_alpha": 18},
}
