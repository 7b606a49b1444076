"""OpenAI's own Python client before the live server."""

from collections.abc import Iterator

import openai
import pytest


@pytest.fixture(scope="module")
def ai(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client
