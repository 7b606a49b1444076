"""mistral.rs itself. Without its prefix cache, as every engine here."""

from pathlib import Path

from mistralrs import CompletionRequest, Runner, Which
from protocol import Single, serve


class MistralRs:
    def __init__(self, model: str) -> None:
        path = Path(model)
        which = Which.GGUF(quantized_model_id=str(path.parent), quantized_filename=path.name)
        self._runner = Runner(which=which, prefix_cache_n=0)

    def one(self, text: str, tokens: int) -> Single:
        answer = self._continued(text, tokens)
        usage = answer.usage
        return Single(
            prompt_tokens=usage.prompt_tokens,
            tokens=usage.completion_tokens,
            prompt_seconds=usage.total_prompt_time_sec,
            seconds=usage.total_completion_time_sec,
            text=answer.choices[0].text,
        )

    def many(self, texts: list[str], tokens: int) -> None:
        """Its Runner refuses a second thread."""

    def _continued(self, text: str, tokens: int):
        request = CompletionRequest(
            model="default", prompt=text, max_tokens=tokens, temperature=0.0, ignore_eos=True
        )
        return self._runner.send_completion_request(request)


if __name__ == "__main__":
    serve(MistralRs)
