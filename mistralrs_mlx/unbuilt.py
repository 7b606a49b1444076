"""What is documented and not built yet: using it is an error that names it."""

from collections.abc import Mapping
from dataclasses import fields
from os import PathLike
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["UnbuiltMethods", "fields_of", "refuse_unbuilt"]

# What an argument may be without asking for anything, and what it would ask for.
RUNNER: Mapping[str, tuple[tuple[object, ...], str]] = {
    "mtp_model": ((None,), "multi-token prediction"),
    "mtp_n_predict": ((None,), "multi-token prediction"),
    "anymoe_config": ((None,), "AnyMoE"),
    "mcp_client_config": ((None,), "MCP"),
    "code_execution_config": ((None,), "code execution"),
    "shell_config": ((None,), "a shell"),
}
WHICH: Mapping[str, tuple[tuple[object, ...], str]] = {
    "write_uqff": ((None,), "UQFF"),
    "from_uqff": ((None,), "UQFF"),
    "imatrix": ((None,), "quantizing by an importance matrix"),
    "calibration_file": ((None,), "quantizing by calibration"),
    "matformer_config_path": ((None,), "MatFormer slices"),
    "matformer_slice_name": ((None,), "MatFormer slices"),
    "adapters": ((None, []), "LoRA adapters"),
    "mmproj_filename": ((None,), "multimodal GGUF files"),
}
REQUEST: Mapping[str, tuple[tuple[object, ...], str]] = {
    "enable_code_execution": ((False,), "code execution"),
    "enable_shell": ((False,), "a shell"),
    "shell_skills": ((None, []), "a shell"),
    "agent_permission": ((None,), "agents"),
    "agent_approval_callback": ((None,), "agents"),
    "code_execution_permission": ((None,), "code execution"),
    "session_id": ((None,), "sessions"),
    "files": ((None, []), "files"),
    "input_files": ((None, []), "files"),
    "adapter": ((None,), "LoRA adapters"),
}
TABLES = {"Runner": RUNNER, "Which": WHICH, "request": REQUEST}


def refuse_unbuilt(kind: str, given: Mapping[str, object]) -> None:
    """Raise `NotImplementedError` for the first of these arguments that asks for something."""
    for name, (neutral, feature) in TABLES[kind].items():
        if name in given and not _asks_nothing(given[name], neutral):
            raise NotImplementedError(f"{name}={given[name]!r}: {feature} is not built yet")


def fields_of(value: "DataclassInstance") -> dict[str, object]:
    """The fields of a request or a `Which`, by name."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _asks_nothing(value: object, neutral: tuple[object, ...]) -> bool:
    return any(value is each or value == each for each in neutral)


class UnbuiltMethods:
    """Methods of `Runner` that say so, with the signatures that they are going to have."""

    def generate_image(
        self,
        prompt: str,
        response_format: Any,
        height: int = 720,
        width: int = 1280,
        model_id: str | None = None,
        save_file: str | None = None,
    ) -> Any:
        """Paint a picture."""
        _refuse("generate_image", "image generation")

    def generate_audio(self, prompt: str, model_id: str | None = None) -> Any:
        """Speak a text."""
        _refuse("generate_audio", "speech generation")

    generate_speech = generate_audio

    def begin_calibration(self, model_id: str | None = None) -> Any:
        """Start to collect statistics for quantization."""
        _refuse("begin_calibration", "calibration")

    def calibration_status(self, model_id: str | None = None) -> Any:
        """Tell what has been collected."""
        _refuse("calibration_status", "calibration")

    def apply_calibration(
        self, save_cimatrix: str | None = None, model_id: str | None = None
    ) -> Any:
        """Quantize by what has been collected."""
        _refuse("apply_calibration", "calibration")

    def export_session(self, session_id: str, model_id: str | None = None) -> str | None:
        """Return a session as JSON."""
        _refuse("export_session", "sessions")

    def import_session(
        self, session_id: str, session_json: str, model_id: str | None = None
    ) -> None:
        """Restore a session from JSON."""
        _refuse("import_session", "sessions")

    def delete_session(self, session_id: str, model_id: str | None = None) -> bool:
        """Forget a session."""
        _refuse("delete_session", "sessions")

    def list_session_ids(self, model_id: str | None = None) -> list[str]:
        """Return the ids of all sessions."""
        _refuse("list_session_ids", "sessions")

    def find_file(self, file_id: str) -> Any:
        """Return a file that a tool has made."""
        _refuse("find_file", "files")

    def load_lora_adapter(
        self,
        alias: str,
        adapter_dir: str | PathLike[str],
        model_id: str | None = None,
        load_inplace: bool = False,
        expected_generation: Any = None,
    ) -> Any:
        """Load an adapter under an alias."""
        _refuse("load_lora_adapter", "LoRA adapters")

    def unload_lora_adapter(
        self, alias: str, model_id: str | None = None, expected_generation: Any = None
    ) -> Any:
        """Forget an adapter."""
        _refuse("unload_lora_adapter", "LoRA adapters")

    def list_lora_adapters(self, model_id: str | None = None) -> list[Any]:
        """Return the adapters that requests may name."""
        _refuse("list_lora_adapters", "LoRA adapters")

    def lora_adapter_status(self, model_id: str | None = None) -> Any:
        """Tell which adapters are in memory."""
        _refuse("lora_adapter_status", "LoRA adapters")


def _refuse(method: str, feature: str) -> NoReturn:
    raise NotImplementedError(f"Runner.{method}: {feature} is not built yet")
