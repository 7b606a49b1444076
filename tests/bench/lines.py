"""Dispatches of a decode step, L layers: (slope, rest) of `slope * L + rest`, for every text model.

A smaller number is progress: write it down. A larger one needs a reason. Layers of several kinds
make fractions; where the first layers have no experts, the rest is below zero.
"""

__all__ = ["LINES"]

LINES: dict[str, tuple[float, float]] = {
    "DeepseekV2ForCausalLM": (44, -14),
    "DeepseekV3ForCausalLM": (46, -16),
    "Gemma2ForCausalLM": (18, 9),
    "Gemma3ForCausalLM": (18, 8),
    "GemmaForCausalLM": (13, 8),
    "Glm4ForCausalLM": (16, 7),
    "Glm4MoeForCausalLM": (31, -7),
    "Glm4MoeLiteForCausalLM": (38, -13),
    "GptOssForCausalLM": (28, 7),
    "GraniteForCausalLM": (13, 9),
    "GraniteMoeForCausalLM": (21, 9),
    "GraniteMoeHybridForCausalLM": (44, 9),
    "HunYuanDenseV1ForCausalLM": (16, 7),
    "HunYuanMoEV1ForCausalLM": (28, 7),
    "Lfm2ForCausalLM": (14.67, 7),
    "Lfm2MoeForCausalLM": (27.67, -6),
    "LlamaForCausalLM": (13, 7),
    "MistralForCausalLM": (13, 7),
    "MixtralForCausalLM": (21, 7),
    "Phi3ForCausalLM": (16, 7),
    "Phi4MMForCausalLM": (16, 7),
    "PhiForCausalLM": (19, 8),
    "PhimoeForCausalLM": (48, 8),
    "Qwen2ForCausalLM": (14, 7),
    "Qwen3ForCausalLM": (16, 7),
    "Qwen3MoeForCausalLM": (24, 7),
    "Qwen3NextForCausalLM": (57, 7),
    "Qwen3_5ForCausalLM": (41.25, 7),
    "Qwen3_5MoeForCausalLM": (56.25, 7),
    "SmolLM3ForCausalLM": (12.67, 7),
    "Starcoder2ForCausalLM": (17, 7),
}
