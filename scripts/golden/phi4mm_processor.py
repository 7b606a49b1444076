"""Rewrite what the reference processors make of pictures and clips that formulas draw.

    python scripts/golden/phi4mm_processor.py

Needs torch, torchvision and transformers. Its features differ from those of the code that was
published with the model in one bin of the highest band; that bin is left out here as it is there.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # as a script, Python sees only this file's folder

from tests.models.phi4mm_media import CLIPS, PICTURES, clip, picture, places  # noqa: E402

GOLDEN = ROOT / "tests" / "models" / "golden" / "phi4mm_processor.json"
MODULE = "transformers.models.phi4_multimodal"
LEFT_OUT = 246  # the bin of 7690 Hz, where the published filters end


def main() -> None:
    see = importlib.import_module(f"{MODULE}.image_processing_phi4_multimodal")
    hear = importlib.import_module(f"{MODULE}.feature_extraction_phi4_multimodal")
    seeing, hearing = see.Phi4MultimodalImageProcessor(), hear.Phi4MultimodalFeatureExtractor()
    hearing.mel_filters[LEFT_OUT:] = 0
    facts = {
        "images": [seen(seeing, *size) for size in PICTURES],
        "clips": [heard(hearing, seconds) for rate, seconds in CLIPS if rate == 16000],
    }
    lines = (
        f'"{name}": [\n' + ",\n".join(map(json.dumps, all)) + "\n]" for name, all in facts.items()
    )
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def seen(processor: Any, width: int, height: int) -> dict[str, Any]:
    made = processor(
        [picture(width, height)], return_tensors="pt", input_data_format="channels_last"
    )
    pixels = made["image_pixel_values"][0].permute(0, 2, 3, 1).numpy()
    return {
        "size": [width, height],
        "tokens": int(made["num_img_tokens"][0]),
        "grid": made["image_sizes"][0].tolist(),
        "mask": made["image_attention_mask"][0].sum((1, 2)).int().tolist(),
        "mean": round(float(pixels.mean(dtype=np.float64)), 6),
        "values": np.round(pixels.ravel()[places(pixels.size)].astype(float), 5).tolist(),
    }


def heard(extractor: Any, seconds: float) -> dict[str, Any]:
    made = extractor(clip(16000, seconds), sampling_rate=16000, return_tensors="np")
    features = made["audio_input_features"][0]
    return {
        "seconds": seconds,
        "tokens": int(made["audio_embed_sizes"][0]),
        "frames": len(features),
        "mean": round(float(features.mean(dtype=np.float64)), 5),
        "values": np.round(features.ravel()[places(features.size)].astype(float), 5).tolist(),
    }


if __name__ == "__main__":
    main()
