"""`mistralrs-mlx doctor`: what this machine has, what is missing, and how to get it."""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass

import mistralrs_mlx

__all__ = ["doctor"]

DISTRIBUTION = "mistralrs-mlx"
REQUIREMENT = re.compile(r"([\w.-]+).*;.*extra == ['\"]([\w-]+)['\"]")
NOT_TOLD = ("dev", "docs", "golden", "mcp", "video")  # for developers, or used by nothing yet
GIB = 2**30


@dataclass(frozen=True)
class Fact:
    """One thing that was looked at; `remedy` says what to do about it, if anything is to do."""

    name: str
    found: str
    remedy: str | None = None


def doctor(options: argparse.Namespace) -> None:
    """Print versions, device, memory, extras, the hub's settings and those of the CPU backend."""
    facts = [*_versions(), *_devices(), *_extras(), *_hub()]
    if options.json:
        told = {fact.name: {"found": fact.found, "remedy": fact.remedy} for fact in facts}
        print(json.dumps(told, indent=1))
        return
    for fact in facts:
        remedy = f"  ->  {fact.remedy}" if fact.remedy else ""
        print(f"{fact.name:<14} {fact.found}{remedy}")


def _versions() -> list[Fact]:
    return [
        Fact("mistralrs-mlx", mistralrs_mlx.__version__),
        Fact("Python", f"{platform.python_version()} ({sys.executable})", _translated()),
        Fact("system", platform.platform()),
        Fact("mlx", _version("mlx"), None if _version("mlx") else "pip install mlx"),
    ]


def _translated() -> str | None:
    """What to do where a Mac's processor is hidden from Python, or is no Apple silicon."""
    if sys.platform == "darwin" and platform.machine() != "arm64":
        return "MLX needs Apple silicon and a native Python: brew install python, outside Rosetta"
    return None


def _devices() -> list[Fact]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    memory = Fact("memory", f"{total / GIB:.1f} GiB")
    try:
        import mlx.core as mx

        from mistralrs_mlx.engine.device import capacity
        from mistralrs_mlx.engine.goal import Goal
    except ImportError as error:
        return [memory, Fact("device", f"none: {error}", "pip install --force-reinstall mlx")]
    device = mx.default_device()
    facts = [memory, Fact("device", str(device)), _metal()]
    if not mx.is_available(device):
        return facts
    room, share = capacity(), Goal().share
    models = f"{share * room / GIB:.1f} GiB, {share:g} of {room / GIB:.1f} GiB"
    return [*facts, Fact("for models", models), *(_wired() if device.type == mx.gpu else _cpu())]


def _metal() -> Fact:
    import mlx.core as mx

    if mx.is_available(mx.gpu):  # `mx.metal.is_available()` says yes on every Mac
        return Fact("Metal", str(mx.device_info(mx.gpu).get("device_name", "available")))
    if sys.platform == "darwin":
        remedy = "MLX does nothing without a GPU, which virtual machines and sandboxes may hide"
        return Fact("Metal", "no GPU is to be seen", remedy)
    return Fact("Metal", "no: this is not a Mac")


def _wired() -> list[Fact]:
    """What macOS lets a GPU hold."""
    command = ["/usr/sbin/sysctl", "-n", "iogpu.wired_limit_mb"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout.strip()
    raised = f"raised to {said} MiB" if said.isdecimal() and int(said) else "macOS's own"
    return [Fact("wired limit", raised)]


def _cpu() -> list[Fact]:
    """How MLX's CPU backend would be used."""
    from mistralrs_mlx.cpu.report import cpu_facts

    return [Fact(fact.name, fact.text) for fact in cpu_facts()]


def _extras() -> list[Fact]:
    """Each extra, and the line that installs it."""
    required = _required()
    if not required:
        return [Fact("extras", "unknown: the package is not installed", "pip install -e .")]
    facts = []
    for extra, names in sorted(required.items()):
        absent = [name for name in names if not _version(name)]
        if absent:
            remedy = f"pip install '{DISTRIBUTION}[{extra}]'"
            facts.append(Fact(f"[{extra}]", f"lacks {', '.join(absent)}", remedy))
        else:
            facts.append(Fact(f"[{extra}]", "installed"))
    return facts


def _required() -> dict[str, list[str]]:
    """The distributions behind each extra, as our own metadata lists them."""
    try:
        requirements = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    extras: dict[str, list[str]] = {}
    for found in filter(None, map(REQUIREMENT.match, requirements)):
        if found[2] not in NOT_TOLD:
            extras.setdefault(found[2], []).append(found[1])
    return extras


def _hub() -> list[Fact]:
    """Where models come from and are kept. A token is never shown."""
    from huggingface_hub import constants, get_token

    from mistralrs_mlx.loaders.demo import NAME, cache_folder

    login = None if get_token() else "for gated models: hf auth login, or set HF_TOKEN"
    demo = cache_folder() / NAME
    return [
        Fact("hub cache", str(constants.HF_HUB_CACHE)),
        Fact("hub token", "there" if get_token() else "none", login),
        Fact("hub access", *_access(offline=constants.HF_HUB_OFFLINE)),
        Fact("demo model", str(demo) if demo.is_file() else "not here; it comes when first used"),
    ]


def _access(*, offline: bool) -> tuple[str, str | None]:
    if offline:
        return "offline: what is in the cache can be used", "unset HF_HUB_OFFLINE to download"
    return "allowed", None


def _version(distribution: str) -> str:
    """The version, or nothing where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
