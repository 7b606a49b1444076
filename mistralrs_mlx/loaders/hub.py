"""Model ids and paths -> local files. What exists locally is never asked of the hub."""

import errno
import os
from collections.abc import Callable, Sequence
from glob import escape
from pathlib import Path
from typing import Any, NoReturn

from mistralrs_mlx.errors import CheckpointError, ConfigError

__all__ = ["PATTERNS", "Told", "resolve", "resolve_files", "token_of"]

Told = Callable[[int, int | None], None]
"""`told(done, total)`: bytes of a download; the total grows while files are still being found."""

# What a model needs out of its repository.
PATTERNS = ("*.json", "*.jinja", "*.safetensors", "*.model", "*.txt")
# The same weights again, in layouts that nobody here reads.
_UNUSED = ("original/*", "metal/*", "onnx/*", "openvino/*", "consolidated*", "runs/*", "*.onnx*")
_LOCAL = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
_PATHLIKE = ("/", "./", "../", "~", ".\\")


def resolve(
    model_id: str,
    *,
    token_source: str = "cache",
    hf_cache_path: str | Path | None = None,
    revision: str | None = None,
    patterns: Sequence[str] = PATTERNS,
    told: Told | None = None,
) -> Path:
    """Return the folder of a model: the local one of this name, or else its copy from the hub.

    `token_source` is `cache` (what `hf auth login` left, or HF_TOKEN), `none`, `literal:TOKEN`,
    `env:VARIABLE` or `path:FILE`.
    """
    token = token_of(token_source)
    local = _local(model_id)
    if local is not None:
        return local
    return _download(
        model_id, patterns, token=token, cache=hf_cache_path, revision=revision, told=told
    )


def resolve_files(
    model_id: str,
    names: Sequence[str],
    *,
    token_source: str = "cache",
    hf_cache_path: str | Path | None = None,
    revision: str | None = None,
    told: Told | None = None,
) -> list[Path]:
    """Return files of a model by name: those of a local folder, or else of a repository."""
    token = token_of(token_source)
    folder = _local(model_id)
    if folder is not None:
        return [_local_file(folder, name) for name in names]
    exact = [escape(name) for name in names]
    folder = _download(
        model_id, exact, token=token, cache=hf_cache_path, revision=revision, told=told
    )
    if missing := [name for name in names if not (folder / name).is_file()]:
        _refuse(model_id, missing[0], token, revision)
    return [folder / name for name in names]


def token_of(source: str) -> str | bool | None:
    """Return the token that a `token_source` stands for, as `huggingface_hub` takes it.

    A variable or file that does not exist counts as no token.
    """
    kind, colon, rest = source.partition(":")
    match kind, colon:
        case "cache", "":
            return None
        case "none", "":
            return False
        case "literal", ":":
            return rest or False
        case "env", ":":
            return os.environ.get(rest) or False
        case "path", ":":
            return _written(Path(rest).expanduser()) or False
    # Not shown: it may be a token that somebody gave without `literal:`.
    raise ConfigError(
        "Invalid token source format: it should be cache, none, literal:TOKEN, env:VARIABLE or "
        "path:FILE"
    )


def _written(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _local(model_id: str) -> Path | None:
    """Return the local folder of this name; None if this can only be an id of the hub."""
    path = Path(model_id).expanduser()
    if model_id and _exists(path):
        if path.is_dir():
            return path
        home = (
            "A .gguf file goes into quantized_filename of Which.GGUF"
            if path.suffix == ".gguf"
            else f"Give the folder that it is in: {path.parent}"
        )
        raise CheckpointError(f"{model_id} is a file. {home}")
    if not model_id or model_id.startswith(_PATHLIKE) or model_id.count("/") > 1:
        raise CheckpointError(
            f"{model_id!r} is not a folder, and not an id of Hugging Face either (owner/name). "
            "Check the path"
        )
    return None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a name, or a zero byte in it
        return False


def _local_file(folder: Path, name: str) -> Path:
    path = folder / name
    if path.is_file():
        return path
    held = sorted(each.name for each in folder.iterdir() if each.is_file())
    more = f" and {len(held) - 8} more" if len(held) > 8 else ""
    raise CheckpointError(
        f"File `{name}` was not found in local model directory `{folder}`. This model ID was "
        "treated as local because that directory exists, so Hugging Face was not queried for this "
        f"file. The directory holds {', '.join(held[:8]) or 'no files'}{more}"
    )


def _download(
    model_id: str,
    patterns: Sequence[str],
    *,
    token: str | bool | None,
    cache: str | Path | None,
    revision: str | None,
    told: Told | None,
) -> Path:
    from huggingface_hub import snapshot_download

    try:
        # Only this call gives up at once without a network; that for one file tries for 20 s.
        folder = snapshot_download(
            model_id,
            revision=revision,
            cache_dir=None if cache is None else Path(cache).expanduser(),
            token=token,
            allow_patterns=list(patterns),
            ignore_patterns=list(_UNUSED),
            tqdm_class=_silent_bar(told),
        )
    except Exception as error:  # those of the hub and of the transport below it, whatever it is
        raise CheckpointError(_explained(error, model_id, revision)) from error
    return Path(folder)


def _silent_bar(told: Told | None) -> Any:
    """Make a progress bar that is not drawn, but tells how many bytes have come."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            self.counts_bytes = options.get("unit") == "B"
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            if told is not None and self.counts_bytes:
                told(int(self.n), int(self.total) if self.total else None)

    return Bar


def _explained(error: Exception, model_id: str, revision: str | None) -> str:
    """Say what went wrong and what to do; hub errors are long and speak of its functions."""
    from huggingface_hub import errors

    match error:
        case errors.GatedRepoError():
            return (
                f"{model_id} is gated. Accept its terms at https://huggingface.co/{model_id}, then "
                "log in with `hf auth login` or give a token as token_source="
            )
        case errors.RepositoryNotFoundError():
            return (
                f"Hugging Face has no model {model_id}, or it is private, and there is no local "
                "folder of this name. Check the id; for a private one give a token as token_source="
            )
        case errors.RevisionNotFoundError():
            return f"{model_id} has no revision {revision or 'main'}"
        case errors.HFValidationError():
            return f"{model_id!r} is neither a local folder nor an id of Hugging Face (owner/name)"
        case errors.LocalEntryNotFoundError() | ConnectionError():
            return _unreachable(model_id)
    return _failed(error, model_id)


def _failed(error: Exception, model_id: str) -> str:
    said = _first_line(error)
    if isinstance(error, OSError) and error.errno in _LOCAL:
        return (
            f"{model_id} cannot be kept on this machine: {said}. Make room, or name another folder "
            "in the environment variable HF_HOME or as hf_cache_path="
        )
    return f"Downloading {model_id} from Hugging Face failed: {said}. Try again later"


def _unreachable(model_id: str) -> str:
    return (
        f"Hugging Face access failed, and {model_id} is not complete in the local cache. Connect "
        "to the network (and unset HF_HUB_OFFLINE), or give the path of a local folder"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


def _refuse(model_id: str, name: str, token: str | bool | None, revision: str | None) -> NoReturn:
    """Say which files a repository has instead of this one, if it can be asked."""
    from huggingface_hub import HfApi

    suffix = Path(name).suffix
    try:
        held = HfApi(token=token).list_repo_files(model_id, revision=revision)
    except Exception as error:  # as above
        raise CheckpointError(_unreachable(model_id)) from error
    alike = [each for each in held if each.endswith(suffix)]
    listed = ", ".join(sorted(alike)[:8]) or f"no {suffix} files"
    raise CheckpointError(f"{model_id} has no file {name} on Hugging Face. It has {listed}")
