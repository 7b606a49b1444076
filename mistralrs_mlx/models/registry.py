"""The table of architectures: what checkpoints call them, what mistral.rs does, where they are.

Everything that lists, documents or picks architectures reads this table. Looking one up imports
nothing; `load` imports the one module.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mistralrs_mlx.errors import UnsupportedArchitecture

if TYPE_CHECKING:
    from mistralrs_mlx.media.processing import Processor

    from .base import CausalLM
    from .embedder import Encoder

__all__ = [
    "EMBEDDING",
    "MULTIMODAL",
    "TABLE",
    "Entry",
    "by_member",
    "by_name",
    "embedder_of",
    "of_config",
]

EMBEDDING = "embedding"  # the kind of what makes vectors of texts
MULTIMODAL = "multimodal"  # the kind of what reads more than text


@dataclass(frozen=True)
class Entry:
    """One architecture."""

    name: str  # in the `architectures` of a config.json
    model_type: str  # in the `model_type` of a config.json
    place: str  # module:class, below mistralrs_mlx.models
    member: str | None  # of mistral.rs's enums; None: it has none for this
    kind: str = "text"
    processor: str | None = None  # module:class that reads its media, below mistralrs_mlx.models
    older: tuple[str, ...] = ()  # other names that published files have in `architectures`

    def load(self) -> "type[CausalLM]":
        """Import the module and return the class."""
        found: type[CausalLM] = self._class()
        return found

    def load_encoder(self) -> "type[CausalLM] | type[Encoder]":
        """The same for what is to make vectors: an encoder, or a text model to be read as one."""
        found: type[CausalLM] | type[Encoder] = self._class()
        return found

    def load_processor(self) -> "type[Processor] | None":
        """Import the module of what reads pictures and sound, if there is any."""
        return None if self.processor is None else _imported(self.processor)

    def _class(self) -> Any:
        return _imported(self.place)


TABLE: tuple[Entry, ...] = (
    Entry("BertModel", "bert", "bert:Bert", None, EMBEDDING),
    Entry(
        "DeepseekV2ForCausalLM", "deepseek_v2", "deepseek_v2:DeepseekV2", "Architecture.DeepseekV2"
    ),
    Entry(
        "DeepseekV3ForCausalLM", "deepseek_v3", "deepseek_v3:DeepseekV3", "Architecture.DeepseekV3"
    ),
    Entry("DistilBertModel", "distilbert", "distilbert:DistilBert", None, EMBEDDING),
    Entry("Gemma2ForCausalLM", "gemma2", "gemma2:Gemma2", "Architecture.Gemma2"),
    Entry("Gemma3ForCausalLM", "gemma3_text", "gemma3_text:Gemma3Text", None),
    Entry(
        "Gemma3TextModel",
        "gemma3_text",
        "embedding_gemma:EmbeddingGemma",
        "EmbeddingArchitecture.EmbeddingGemma",
        EMBEDDING,
    ),
    Entry("GemmaForCausalLM", "gemma", "gemma:Gemma", "Architecture.Gemma"),
    Entry("Glm4ForCausalLM", "glm4", "glm4:Glm4", "Architecture.GLM4"),
    Entry("Glm4MoeForCausalLM", "glm4_moe", "glm4_moe:Glm4Moe", "Architecture.GLM4Moe"),
    Entry(
        "Glm4MoeLiteForCausalLM",
        "glm4_moe_lite",
        "glm4_moe_lite:Glm4MoeLite",
        "Architecture.GLM4MoeLite",
    ),
    Entry("GptOssForCausalLM", "gpt_oss", "gpt_oss:GptOss", "Architecture.GptOss"),
    Entry("GraniteForCausalLM", "granite", "granite:Granite", None),
    Entry("GraniteMoeForCausalLM", "granitemoe", "granitemoe:GraniteMoe", None),
    Entry(
        "GraniteMoeHybridForCausalLM",
        "granitemoehybrid",
        "granitemoehybrid:GraniteMoeHybrid",
        "Architecture.GraniteMoeHybrid",
    ),
    Entry(
        "HunYuanDenseV1ForCausalLM",
        "hunyuan_v1_dense",
        "hunyuan_v1_dense:HunYuanDenseV1",
        "Architecture.HunYuanDenseV1",
    ),
    Entry(
        "HunYuanMoEV1ForCausalLM",
        "hunyuan_v1_moe",
        "hunyuan_v1_moe:HunYuanMoEV1",
        "Architecture.HunYuanMoEV1",
    ),
    Entry("Lfm2ForCausalLM", "lfm2", "lfm2:Lfm2", "Architecture.Lfm2"),
    Entry("Lfm2MoeForCausalLM", "lfm2_moe", "lfm2_moe:Lfm2Moe", "Architecture.Lfm2Moe"),
    Entry("LlamaForCausalLM", "llama", "llama:Llama", "Architecture.Llama"),
    Entry("MPNetModel", "mpnet", "mpnet:MPNet", None, EMBEDDING),
    Entry("MistralForCausalLM", "mistral", "mistral:Mistral", "Architecture.Mistral"),
    Entry("MixtralForCausalLM", "mixtral", "mixtral:Mixtral", "Architecture.Mixtral"),
    Entry("Phi3ForCausalLM", "phi3", "phi3:Phi3", "Architecture.Phi3"),
    Entry(
        "Phi4MMForCausalLM",
        "phi4mm",
        "phi4mm.model:Phi4MM",
        "MultimodalArchitecture.Phi4MM",
        MULTIMODAL,
        processor="phi4mm.processor:Phi4MMProcessor",
        older=("Phi4MultimodalForCausalLM",),
    ),
    Entry("PhiForCausalLM", "phi", "phi:Phi", "Architecture.Phi2"),
    Entry(
        "PhimoeForCausalLM",
        "phimoe",
        "phimoe:Phimoe",
        "Architecture.Phi3_5MoE",
        older=("PhiMoEForCausalLM",),
    ),
    Entry("Qwen2ForCausalLM", "qwen2", "qwen2:Qwen2", "Architecture.Qwen2"),
    Entry("Qwen3ForCausalLM", "qwen3", "qwen3:Qwen3", "Architecture.Qwen3"),
    Entry("Qwen3Model", "qwen3", "qwen3:Qwen3", "EmbeddingArchitecture.Qwen3Embedding", EMBEDDING),
    Entry("Qwen3MoeForCausalLM", "qwen3_moe", "qwen3_moe:Qwen3Moe", "Architecture.Qwen3Moe"),
    Entry("Qwen3NextForCausalLM", "qwen3_next", "qwen3_next:Qwen3Next", "Architecture.Qwen3Next"),
    Entry("Qwen3_5ForCausalLM", "qwen3_5_text", "qwen3_5:Qwen3_5", None),
    Entry("Qwen3_5MoeForCausalLM", "qwen3_5_moe_text", "qwen3_5_moe:Qwen3_5Moe", None),
    Entry("RobertaModel", "roberta", "roberta:Roberta", None, EMBEDDING),
    Entry("SmolLM3ForCausalLM", "smollm3", "smollm3:SmolLM3", "Architecture.SmolLm3"),
    Entry(
        "Starcoder2ForCausalLM", "starcoder2", "starcoder2:Starcoder2", "Architecture.Starcoder2"
    ),
    Entry("XLMRobertaModel", "xlm-roberta", "roberta:Roberta", None, EMBEDDING),
)


def by_name(name: str) -> Entry:
    """The architecture with this Hugging Face name."""
    return _find("name", name)


def by_member(member: str) -> Entry:
    """The architecture that a member of mistral.rs's enums stands for."""
    return _find("member", member.replace("VisionArchitecture.", "MultimodalArchitecture."))


def of_config(config: Mapping[str, Any]) -> Entry:
    """The architecture of a config.json: by `architectures`, or by `model_type` without those."""
    names = config.get("architectures") or []
    known = {name: entry for entry in TABLE for name in (entry.name, *entry.older)}
    for name in names:
        if name in known:
            return known[name]
    if names:
        return _find("name", names[0])
    if "model_type" not in config:
        raise UnsupportedArchitecture("config.json names neither architectures nor a model_type")
    return _find("model_type", config["model_type"])


def embedder_of(config: Mapping[str, Any]) -> Entry:
    """The architecture that makes vectors by a config.json; that may be one of a text model.

    `model_type` counts for more than `architectures`, where any class with the layers may stand.
    """
    model_type, names = config.get("model_type"), config.get("architectures") or []
    entries = [entry for entry in TABLE if entry.kind == EMBEDDING]
    for entry in entries:
        if entry.model_type == model_type or (model_type is None and entry.name in names):
            return entry
    return of_config(config if model_type is None else {"model_type": model_type})


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"{__package__}.{module}"), name)


def _find(key: str, value: str) -> Entry:
    # What embeds shares its model_type with the text models that it was made of: those go last.
    entries = sorted(TABLE, key=lambda entry: entry.kind != EMBEDDING)
    choices = {name: entry for entry in entries if (name := getattr(entry, key)) is not None}
    if value in choices:
        return choices[value]
    near = get_close_matches(value, choices, n=3, cutoff=0.4) or sorted(choices)
    listed = ", ".join(f'"{name}"' for name in near)
    raise UnsupportedArchitecture(
        f'Unsupported architecture "{value}"; nearest: {listed}. See docs/supported-models.md'
    )
