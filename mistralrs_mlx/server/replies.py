"""What routes share: the runner behind a request, the model it names, and JSON."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mistralrs_mlx import Runner

from .failure import Failure
from .gate import Gate
from .metrics import Metrics
from .settings import Settings

__all__ = ["gate_of", "json", "metrics_of", "model_of", "runner_of", "settings_of"]

DEFAULT = "default"


def runner_of(request: Request) -> Runner:
    """What answers."""
    runner: Runner = request.app.state.runner
    return runner


def settings_of(request: Request) -> Settings:
    """What the operator decided."""
    settings: Settings = request.app.state.settings
    return settings


def gate_of(request: Request) -> Gate:
    """What counts answers."""
    gate: Gate = request.app.state.gate
    return gate


def metrics_of(request: Request) -> Metrics:
    """What is measured."""
    metrics: Metrics = request.app.state.metrics
    return metrics


def model_of(request: Request, model: str | None) -> str:
    """The id of the model that a request names; without one, the default's. Raises 404."""
    runner = runner_of(request)
    known = runner.list_models()
    wanted = runner.get_default_model_id() if model in (None, "", DEFAULT) else model
    if wanted not in known:
        said = ", ".join(f"`{each}`" for each in known)
        message = f"model `{wanted}` was not found; there is {said}"
        raise Failure(404, message, parameter="model", code="model_not_found")
    assert wanted is not None
    return wanted


def json(content: object, status: int = 200) -> Response:
    """A response of this content."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")
