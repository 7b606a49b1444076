"""Counts and times, told in Prometheus's text format. Used on the event loop's thread alone."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping

__all__ = ["Histogram", "Metrics"]

REQUEST_SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0)
FIRST_TOKEN_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
TOKEN_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Histogram:
    """How often a time was at most so long."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one time."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def lines(self, name: str) -> Iterator[str]:
        """What Prometheus reads."""
        yield f"# TYPE {name} histogram"
        total = 0
        for bound, count in zip((*self._bounds, None), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{"+Inf" if bound is None else bound}"}} {total}'
        yield f"{name}_sum {self._sum:.6f}"
        yield f"{name}_count {total}"


class Metrics:
    """Everything that /metrics tells. Names are mistral.rs's where it has one."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()  # method, route, status
        self.tokens: Counter[str] = Counter()  # prompt, completion
        self.request_seconds = Histogram(REQUEST_SECONDS)
        self.first_token_seconds = Histogram(FIRST_TOKEN_SECONDS)
        self.token_seconds = Histogram(TOKEN_SECONDS)
        self.in_flight = 0

    def count_tokens(self, *, prompt: int, completion: int = 0) -> None:
        """Add what one request read and wrote."""
        self.tokens["prompt"] += prompt
        self.tokens["completion"] += completion

    def text(self, *, answers: int, models: Mapping[str, str]) -> str:
        """All of it. `answers` are under way; `models` has the status of each."""
        return "".join(f"{line}\n" for line in self._lines(answers, models))

    def _lines(self, answers: int, models: Mapping[str, str]) -> Iterator[str]:
        yield "# TYPE http_requests_total counter"
        for (method, route, status), count in sorted(self.requests.items()):
            labels = f'method="{method}",route="{route}",status="{status}"'
            yield f"http_requests_total{{{labels}}} {count}"
        yield "# TYPE http_requests_in_flight gauge"
        yield f"http_requests_in_flight {self.in_flight}"
        yield from self.request_seconds.lines("http_request_duration_seconds")
        yield from self.first_token_seconds.lines("mistralrs_time_to_first_token_seconds")
        yield from self.token_seconds.lines("mistralrs_inter_token_latency_seconds")
        for kind in ("prompt", "completion"):
            yield f"# TYPE mistralrs_{kind}_tokens_total counter"
            yield f"mistralrs_{kind}_tokens_total {self.tokens[kind]}"
        yield "# TYPE mistralrs_answers_in_flight gauge"
        yield f"mistralrs_answers_in_flight {answers}"
        yield "# TYPE mistralrs_model_loaded gauge"
        for model, said in models.items():
            loaded = int(said == "loaded")
            yield f'mistralrs_model_loaded{{model="{model.translate(ESCAPES)}"}} {loaded}'
