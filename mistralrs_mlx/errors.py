"""Every error that a user can cause. All are `ValueError`s, as in mistral.rs.

ValueError
  MistralRsMlxError
    ConfigError               config.json lacks or contradicts something
    UnsupportedArchitecture   no model of ours has this name
    CheckpointError           files are missing, truncated or corrupt
    WeightMismatch            tensors do not fit the model
    TokenizerError            no tokenizer, or one that cannot be read
    TemplateError             no chat template, or one that refuses the messages
    RequestError              a request that cannot be served as it stands
      UnknownModel            no model has the id that it names
      ModelUnloaded           its model was unloaded, removed or closed while it answered
    InsufficientMemory        what is asked for has no room; nothing was allocated
      NoRoomForWeights        ... of a model; also a CheckpointError
      NoRoomForRequest        ... of an answer; also a RequestError
    MissingExtra              an optional dependency is not installed
    Canceled                  the answer was given up before its end
"""

__all__ = [
    "Canceled",
    "CheckpointError",
    "ConfigError",
    "InsufficientMemory",
    "MissingExtra",
    "MistralRsMlxError",
    "ModelUnloaded",
    "NoRoomForRequest",
    "NoRoomForWeights",
    "RequestError",
    "TemplateError",
    "TokenizerError",
    "UnknownModel",
    "UnsupportedArchitecture",
    "WeightMismatch",
]


class MistralRsMlxError(ValueError):
    """The root of this tree."""


class ConfigError(MistralRsMlxError):
    """A configuration lacks a field or holds a value that cannot be right."""


class UnsupportedArchitecture(MistralRsMlxError):
    """The checkpoint names an architecture that this package does not have."""


class CheckpointError(MistralRsMlxError):
    """A checkpoint's files are missing, truncated, corrupt or of an unknown format."""


class WeightMismatch(MistralRsMlxError):
    """The checkpoint's tensors and the model's parameters do not fit one to one."""


class TokenizerError(MistralRsMlxError):
    """The tokenizer is missing or unreadable, or a text cannot be encoded with it."""


class TemplateError(MistralRsMlxError):
    """The chat template is missing, malformed, or refused the messages."""


class RequestError(MistralRsMlxError):
    """A request asks for something that cannot be: a bad value, or more than fits."""


class UnknownModel(RequestError):
    """A request names a model that is not there."""


class ModelUnloaded(RequestError):
    """The model was unloaded, removed or closed while it answered. Asking again loads it again."""


class InsufficientMemory(MistralRsMlxError):
    """What is asked for has no room, and was refused before anything was allocated.

    `missing` bytes more would do if everything else were at rest; 0 if it would fit then.
    """

    def __init__(self, message: str, missing: int = 0) -> None:
        super().__init__(message)
        self.missing = missing


class NoRoomForWeights(InsufficientMemory, CheckpointError):
    """A model's weights do not fit beside what is held."""


class NoRoomForRequest(InsufficientMemory, RequestError):
    """An answer's caches would not fit, whatever ended before it."""


class MissingExtra(MistralRsMlxError):
    """A feature needs a package that is not installed; the message has the install line."""


class Canceled(MistralRsMlxError):
    """The answer was given up before its end, because its model or its reader went away."""
