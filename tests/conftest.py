"""Fixtures that many tests share. Tests touch no network, and numbers come from fixed seeds."""

import os
import random
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["MLX_ENABLE_TF32"] = "0"  # an M5 would multiply float32 with ten bits; read only once

REQUIRE_DEMO = "MISTRALRS_MLX_REQUIRE_DEMO"


@pytest.fixture(scope="session", autouse=True)
def uncompiled() -> None:
    """Kernels are compiled for the tests that ask for it: each takes g++ half a second here."""
    import mlx.core as mx

    if not mx.is_available(mx.gpu):
        mx.disable_compile()


@pytest.fixture(scope="session")
def demo_gguf() -> Path:
    """The embedded default model, a 98 MB GGUF file, brought once into the user's cache."""
    from mistralrs_mlx.errors import CheckpointError
    from mistralrs_mlx.loaders.demo import demo_path

    try:
        return demo_path()
    except CheckpointError as error:
        if os.environ.get(REQUIRE_DEMO) == "1":
            pytest.fail(f"{REQUIRE_DEMO}=1, and the demo model cannot be had: {error}")
        pytest.skip(f"the demo model is not in the cache and cannot be brought: {error}")


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny Llama of random weights, complete enough for `Runner`."""
    from tests.tiny_checkpoint import write_tiny_llama

    return write_tiny_llama(tmp_path_factory.mktemp("hub") / "tiny-llama")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Start every test from the same random state, in the libraries that it has loaded."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "mlx.core" in sys.modules:
        sys.modules["mlx.core"].random.seed(0)


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections that leave this machine, except in tests marked `network`."""
    if "network" not in request.keywords:
        connect = socket.socket.connect
        monkeypatch.setattr(socket.socket, "connect", _local_only(connect))


def _local_only(connect: Callable[..., None]) -> Callable[..., None]:
    def guarded(self: socket.socket, address: Any) -> None:
        local = not isinstance(address, tuple) or address[0] in ("127.0.0.1", "::1", "localhost")
        if not local:
            pytest.fail(f"a test tried to reach {address[0]}: mark it `network`, or fake the reply")
        connect(self, address)

    return guarded


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a Mac's GPU where there is none."""
    marked = [item for item in items if "metal" in item.keywords]
    if marked and not _metal():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="this machine has no Metal"))


def _metal() -> bool:
    import mlx.core as mx

    return mx.is_available(mx.gpu)
