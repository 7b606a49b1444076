"""`mistralrs-mlx doctor`: what this machine has, and what is missing."""

import argparse
import importlib.metadata
import os
import platform
import re
import sys

import mistralrs_mlx

__all__ = ["doctor"]

DISTRIBUTION = "mistralrs-mlx"
REQUIREMENT = re.compile(r"([\w.-]+).*;.*extra == ['\"]([\w-]+)['\"]")
FOR_DEVELOPERS = ("dev", "golden")


def doctor(_: argparse.Namespace) -> None:
    """Print versions, device, memory, missing extras, and how the CPU backend would be used."""
    facts = {
        "mistralrs-mlx": mistralrs_mlx.__version__,
        "Python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "memory": f"{_memory() / 1e9:.1f} GB",
        "mlx": _version("mlx"),
        "device": _device(),
    }
    facts |= {f"[{extra}]": _missing(names) for extra, names in sorted(_extras().items())}
    facts |= _cpu()
    for name, fact in facts.items():
        print(f"{name:<15}{fact}" if len(name) < 15 else f"{name} {fact}")


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _device() -> str:
    try:
        import mlx.core as mx
    except ImportError as error:
        return f"none: {error}"
    return f"{mx.default_device()}, Metal {'yes' if mx.metal.is_available() else 'no'}"


def _cpu() -> dict[str, str]:
    """How MLX's CPU backend would be used; nothing where Metal is."""
    try:
        import mlx.core as mx
    except ImportError:
        return {}
    if mx.default_device().type == mx.gpu:
        return {}
    from mistralrs_mlx.cpu.report import cpu_facts

    return {fact.name: fact.text for fact in cpu_facts()}


def _extras() -> dict[str, list[str]]:
    """The distributions behind each extra, as our own metadata lists them."""
    try:
        requirements = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    extras: dict[str, list[str]] = {}
    for found in filter(None, map(REQUIREMENT.match, requirements)):
        if found[2] not in FOR_DEVELOPERS:
            extras.setdefault(found[2], []).append(found[1])
    return extras


def _missing(names: list[str]) -> str:
    absent = [name for name in names if _version(name) == "not installed"]
    return f"lacks {', '.join(absent)}" if absent else "installed"
