"""The Python API of mistral.rs, running on Apple's MLX.

Names are loaded when first used, so that importing the package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .version import __version__

if TYPE_CHECKING:
    from .api.adapters import (
        LoraAdapter,
        LoraAdapterError,
        LoraAdapterGeneration,
        LoraAdapterInfo,
        LoraResidentGenerationInfo,
        LoraRuntimeStatus,
    )
    from .api.agents import (
        AgenticToolCallRecord,
        AgentToolApproval,
        AgentToolApprovalDecision,
        AgentToolMetadata,
        CodeExecutionConfig,
        SandboxPolicy,
        ShellConfig,
        ShellSkillMount,
    )
    from .api.anymoe import AnyMoeConfig, AnyMoeExpertType
    from .api.calibration import CalibrationStatus
    from .api.details import ModelDetails
    from .api.device_map import MultimodalAutoMapParams, TextAutoMapParams, VisionAutoMapParams
    from .api.enums import (
        AgentPermission,
        AgentToolApprovalDecisionKind,
        AgentToolKind,
        AgentToolSource,
        Architecture,
        CodeExecutionPermission,
        DiffusionArchitecture,
        EmbeddingArchitecture,
        ImageGenerationResponseFormat,
        IsqOrganization,
        ModelDType,
        MultimodalArchitecture,
        NetworkMode,
        PagedCacheType,
        SearchContextSize,
        SpeechLoaderType,
        ToolCallType,
        ToolChoice,
        VisionArchitecture,
    )
    from .api.files import File, FileSource, InputFile, RequestedFile
    from .api.mcp import McpClientConfigPy, McpServerConfigPy, McpServerSourcePy
    from .api.media_generation import ImageChoice, ImageGenerationResponse, SpeechGenerationResponse
    from .api.requests import ChatCompletionRequest, CompletionRequest, EmbeddingRequest
    from .api.responses import (
        CalledFunction,
        ChatCompletionChunkResponse,
        ChatCompletionResponse,
        Choice,
        ChunkChoice,
        CompletionChoice,
        CompletionChunkChoice,
        CompletionChunkResponse,
        CompletionResponse,
        Delta,
        Logprobs,
        PromptTokensDetails,
        ResponseLogprob,
        ResponseMessage,
        ToolCallResponse,
        TopLogprob,
        Usage,
    )
    from .api.search import ApproximateUserLocation, WebSearchOptions, WebSearchUserLocation
    from .api.which import Which
    from .auto import auto_which
    from .demo import demo_model
    from .errors import (
        Canceled,
        CheckpointError,
        ConfigError,
        InsufficientMemory,
        MissingExtra,
        MistralRsMlxError,
        ModelUnloaded,
        RequestError,
        TemplateError,
        TokenizerError,
        UnknownModel,
        UnsupportedArchitecture,
        WeightMismatch,
    )
    from .runner import Runner

__all__ = [
    "AgentPermission",
    "AgentToolApproval",
    "AgentToolApprovalDecision",
    "AgentToolApprovalDecisionKind",
    "AgentToolKind",
    "AgentToolMetadata",
    "AgentToolSource",
    "AgenticToolCallRecord",
    "AnyMoeConfig",
    "AnyMoeExpertType",
    "ApproximateUserLocation",
    "Architecture",
    "CalibrationStatus",
    "CalledFunction",
    "Canceled",
    "ChatCompletionChunkResponse",
    "ChatCompletionRequest",
    "ChatCompletionResponse",
    "CheckpointError",
    "Choice",
    "ChunkChoice",
    "CodeExecutionConfig",
    "CodeExecutionPermission",
    "CompletionChoice",
    "CompletionChunkChoice",
    "CompletionChunkResponse",
    "CompletionRequest",
    "CompletionResponse",
    "ConfigError",
    "Delta",
    "DiffusionArchitecture",
    "EmbeddingArchitecture",
    "EmbeddingRequest",
    "File",
    "FileSource",
    "ImageChoice",
    "ImageGenerationResponse",
    "ImageGenerationResponseFormat",
    "InputFile",
    "InsufficientMemory",
    "IsqOrganization",
    "Logprobs",
    "LoraAdapter",
    "LoraAdapterError",
    "LoraAdapterGeneration",
    "LoraAdapterInfo",
    "LoraResidentGenerationInfo",
    "LoraRuntimeStatus",
    "McpClientConfigPy",
    "McpServerConfigPy",
    "McpServerSourcePy",
    "MissingExtra",
    "MistralRsMlxError",
    "ModelDType",
    "ModelDetails",
    "ModelUnloaded",
    "MultimodalArchitecture",
    "MultimodalAutoMapParams",
    "NetworkMode",
    "PagedCacheType",
    "PromptTokensDetails",
    "RequestError",
    "RequestedFile",
    "ResponseLogprob",
    "ResponseMessage",
    "Runner",
    "SandboxPolicy",
    "SearchContextSize",
    "ShellConfig",
    "ShellSkillMount",
    "SpeechGenerationResponse",
    "SpeechLoaderType",
    "TemplateError",
    "TextAutoMapParams",
    "TokenizerError",
    "ToolCallResponse",
    "ToolCallType",
    "ToolChoice",
    "TopLogprob",
    "UnknownModel",
    "UnsupportedArchitecture",
    "Usage",
    "VisionArchitecture",
    "VisionAutoMapParams",
    "WebSearchOptions",
    "WebSearchUserLocation",
    "WeightMismatch",
    "Which",
    "__version__",
    "auto_which",
    "demo_model",
]

_NAMES = {  # module: what it gives; the same as above, for run time
    "api.adapters": (
        "LoraAdapter LoraAdapterError LoraAdapterGeneration LoraAdapterInfo "
        "LoraResidentGenerationInfo LoraRuntimeStatus"
    ),
    "api.agents": (
        "AgentToolApproval AgentToolApprovalDecision AgentToolMetadata AgenticToolCallRecord "
        "CodeExecutionConfig SandboxPolicy ShellConfig ShellSkillMount"
    ),
    "api.anymoe": "AnyMoeConfig AnyMoeExpertType",
    "api.calibration": "CalibrationStatus",
    "api.details": "ModelDetails",
    "api.device_map": "MultimodalAutoMapParams TextAutoMapParams VisionAutoMapParams",
    "api.enums": (
        "AgentPermission AgentToolApprovalDecisionKind AgentToolKind AgentToolSource "
        "Architecture CodeExecutionPermission DiffusionArchitecture EmbeddingArchitecture "
        "ImageGenerationResponseFormat IsqOrganization ModelDType MultimodalArchitecture "
        "NetworkMode PagedCacheType SearchContextSize SpeechLoaderType ToolCallType ToolChoice "
        "VisionArchitecture"
    ),
    "api.files": "File FileSource InputFile RequestedFile",
    "api.mcp": "McpClientConfigPy McpServerConfigPy McpServerSourcePy",
    "api.media_generation": "ImageChoice ImageGenerationResponse SpeechGenerationResponse",
    "api.requests": "ChatCompletionRequest CompletionRequest EmbeddingRequest",
    "api.responses": (
        "CalledFunction ChatCompletionChunkResponse ChatCompletionResponse Choice ChunkChoice "
        "CompletionChoice CompletionChunkChoice CompletionChunkResponse CompletionResponse Delta "
        "Logprobs PromptTokensDetails ResponseLogprob ResponseMessage ToolCallResponse TopLogprob "
        "Usage"
    ),
    "api.search": "ApproximateUserLocation WebSearchOptions WebSearchUserLocation",
    "api.which": "Which",
    "auto": "auto_which",
    "demo": "demo_model",
    "errors": (
        "Canceled CheckpointError ConfigError InsufficientMemory MissingExtra MistralRsMlxError "
        "ModelUnloaded RequestError TemplateError TokenizerError UnknownModel "
        "UnsupportedArchitecture WeightMismatch"
    ),
    "runner": "Runner",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

if not TYPE_CHECKING:  # else a type checker would take any name to exist
    for _known in _HOMES.keys() & globals().keys():  # a reload: what was found may be new by now
        del globals()[_known]

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
