"""Rewrite the reference values of Phi-4-multimodal. Needs torch and transformers.

    python -m scripts.golden.phi4mm

transformers has the model under other names and without its adapters. So tensors are made under
the published names, renamed, and the adapter that a request turns on is added to the weights. It
computes in float64, since its own float32 is off by up to 1e-4 behind a long clip. Of the two files
beside it, `published.npz` has values of the published code itself, which is not run here.
"""

import gzip
import importlib
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.models.phi4mm_cases import AUDIO_TOKEN, CASES, IMAGE_TOKEN, Case
from tests.models.phi4mm_tiny import weights
from tests.models.tiny import config

__all__ = ["GOLDEN", "RENAMES"]

GOLDEN = Path(__file__).parents[2] / "tests" / "models" / "golden" / "phi4mm"
RENAMES = (
    (r"\.base_layer\.", "."),
    (r"\.glb_GN$", ".global_img_feature_extensor"),
    (r"\.sub_GN$", ".sub_img_feature_extensor"),
    (r"\.img_projection\.0\.", ".img_projection_up."),
    (r"\.img_projection\.2\.", ".img_projection_down."),
    (r"\.audio_projection\.speech\.0\.", ".up_proj_for_speech."),
    (r"\.audio_projection\.speech\.2\.", ".down_proj_for_speech."),
    (r"\.audio_projection\.vision\.0\.", ".up_proj_for_vision_speech."),
    (r"\.audio_projection\.vision\.2\.", ".down_proj_for_vision_speech."),
    (r"\.net\.0\.linear\.", ".gate_up_proj."),
    (r"\.net\.2\.", ".down_proj."),
    (r"\.linear_(q|k|v)\.", r".\1_proj."),
    (r"\.linear_out\.", ".o_proj."),
)


def main() -> None:
    torch, transformers = (importlib.import_module(name) for name in ("torch", "transformers"))
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    stored: dict[str, Any] = {}
    argmax, norms = {}, {}
    for case in CASES:
        model = reference(case.adapter, torch, transformers)
        logits = answer(model, case, torch)
        argmax[case.name] = logits.argmax(-1).tolist()
        norms[case.name] = [round(float(n), 5) for n in np.linalg.norm(logits, axis=-1)]
        stored[case.name] = logits[case.positions]
    made_with = {"torch": torch.__version__, "transformers": transformers.__version__}
    meta = {
        "argmax": argmax,
        "norms": norms,
        "places": places(transformers, torch),
        "made_with": made_with,
    }
    packed = gzip.compress(json.dumps(meta, separators=(",", ":")).encode(), 9, mtime=0)
    path = GOLDEN / "converted.npz"
    np.savez_compressed(path, meta=np.frombuffer(packed, np.uint8), **stored)
    print(f"{path.name}: {path.stat().st_size} bytes")


def reference(adapter: str | None, torch: Any, transformers: Any) -> Any:
    """transformers' model with the published tensors and this adapter in its weights."""
    raw = config("Phi4MMForCausalLM")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(converted(raw)))
        settings = transformers.AutoConfig.from_pretrained(folder)
    settings._attn_implementation = "eager"
    model = transformers.Phi4MultimodalForCausalLM(settings).eval().double()
    held = model.state_dict()
    made = {name: torch.tensor(value) for name, value in merged(raw, adapter).items()}
    made |= {name: held[name] for name in held if ".head." in name}  # which no logit sees
    made["lm_head.weight"] = made["model.embed_tokens.weight"]
    model.load_state_dict(
        {n: v for n, v in made.items() if n in held or ".head." not in n}, strict=True
    )
    return model


def converted(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The same configuration as transformers writes it."""
    audio = raw["audio_processor"]["config"]
    dims = audio["attention_dim"]
    kept = {
        key: value for key, value in raw.items() if key not in ("embd_layer", "audio_processor")
    }
    return kept | {
        "architectures": ["Phi4MultimodalForCausalLM"],
        "model_type": "phi4_multimodal",
        "sliding_window": None,
        "vision_config": raw["vision_config"]
        | {"crop_size": raw["vision_config"]["image_size"], "image_token_id": IMAGE_TOKEN},
        "audio_config": {
            "audio_token_id": AUDIO_TOKEN,
            "hidden_size": dims,
            "intermediate_size": audio["linear_units"],
            "num_blocks": audio["num_blocks"],
            "num_attention_heads": audio["attention_heads"],
            "ext_pw_out_channel": dims,
            "depthwise_separable_out_channel": dims,
            "nemo_conv_channels": audio["nemo_conv_settings"]["conv_channels"],
            "bias_max_distance": audio["relative_attention_bias_args"]["t5_bias_max_distance"],
        },
    }


def merged(raw: Mapping[str, Any], adapter: str | None) -> dict[str, np.ndarray]:
    """The tensors under transformers' names."""
    held = weights(raw)
    made = {}
    for name, value in held.items():
        if ".lora_" in name:
            continue
        stem = name.removesuffix("base_layer.weight")
        if adapter is not None and stem != name:
            down, up = (held[f"{stem}lora_{part}.{adapter}.weight"] for part in "AB")
            lora = raw[f"{adapter}_lora"]
            value = value + lora["lora_alpha"] / lora["r"] * (up @ down)
        made[renamed(name)] = value
    return made


def renamed(name: str) -> str:
    for pattern, to in RENAMES:
        name = re.sub(pattern, to, name)
    return name


def answer(model: Any, case: Case, torch: Any) -> np.ndarray:
    """Logits (L, V) of a request, whose pictures are padded to one number of tiles."""
    inputs: dict[str, Any] = {"input_ids": torch.tensor([case.tokens])}
    pictures = [medium for medium in case.media if medium.kind == "image"]
    clips = [medium for medium in case.media if medium.kind == "audio"]
    if pictures:
        inputs["image_pixel_values"] = padded([m.arrays["pixels"] for m in pictures], torch)
        inputs["image_pixel_values"] = inputs["image_pixel_values"].permute(0, 1, 4, 2, 3)
        inputs["image_attention_mask"] = padded([m.arrays["mask"] for m in pictures], torch)
        inputs["image_sizes"] = torch.tensor([m.arrays["size"].tolist() for m in pictures])
    if clips:
        inputs["audio_input_features"] = padded([m.arrays["features"] for m in clips], torch)
        inputs["audio_embed_sizes"] = torch.tensor([m.tokens for m in clips])
    with torch.no_grad():
        logits: np.ndarray = model(**inputs, use_cache=False).logits[0].numpy()
    return logits.astype(np.float32)


def padded(arrays: list[Any], torch: Any) -> Any:
    longest = max(len(array) for array in arrays)
    grown = [np.pad(a, [(0, longest - len(a)), *[(0, 0)] * (a.ndim - 1)]) for a in arrays]
    stacked = torch.tensor(np.stack(grown))
    return stacked.double() if stacked.is_floating_point() else stacked


def places(transformers: Any, torch: Any) -> list[list[int]]:
    """Where the encoder puts each row of a tile with 1 to 32 rows, in its table of 32."""
    settings = transformers.models.phi4_multimodal.Phi4MultimodalVisionConfig(
        hidden_size=1, num_attention_heads=1
    )
    module = importlib.import_module(
        "transformers.models.phi4_multimodal.modeling_phi4_multimodal"
    ).Phi4MultimodalVisionEmbeddings(settings)
    module.patch_embedding.weight.data.zero_()
    module.patch_embedding.bias.data.zero_()
    module.position_embedding.weight.data = torch.arange(32.0 * 32)[:, None]
    found = []
    for rows in range(1, 33):
        mask = torch.zeros(1, 32, 32, dtype=torch.bool)
        mask[:, :rows] = True
        with torch.no_grad():
            read = module(torch.zeros(1, 3, 448, 448), mask)
        found.append([int(place) // 32 for place in read.reshape(32, 32)[:rows, 0]])
    return found


if __name__ == "__main__":
    main()
