"""What somebody tries who means harm: each of these once worked, or is what others fell for."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from mistralrs_mlx import Runner, Which
from mistralrs_mlx.api.validation import validate_tools
from mistralrs_mlx.server import Settings
from mistralrs_mlx.server.asking import chat_request
from mistralrs_mlx.server.bodies import ChatBody
from mistralrs_mlx.server.guard import _is_private, _name
from tests.models.phi4mm_tiny import write_tiny_phi4mm

from .asking import CHAT, chat
from .conftest import live

JSON = {"Content-Type": "application/json"}


def test_a_sound_names_no_file_and_no_server(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("do not tell")
    folder = write_tiny_phi4mm(tmp_path / "both", intermediate_size=64)
    with (
        Runner(Which.MultimodalPlain(model_id=str(folder))) as hears,
        live(hears, Settings(media_urls=True)) as url,
        httpx.Client(base_url=url) as client,
    ):
        for source in (str(secret), secret.as_uri(), {"url": str(secret)}, "http://127.0.0.1:9/"):
            part = {"type": "input_audio", "input_audio": source}
            answer = chat(client, messages=[{"role": "user", "content": [part]}])
            assert answer.status_code == 400
            assert "must be an object" in answer.json()["error"]["message"]


def test_an_empty_key_is_none_of_the_keys() -> None:
    with pytest.raises(ValueError, match="api_key is empty"):
        Settings(api_key=" ")


def test_settings_that_are_printed_do_not_tell_the_key() -> None:
    assert "sesame" not in repr(Settings(api_key="sesame"))


@pytest.mark.parametrize(
    ("host", "ours"),
    [("192.168.1.7:1234", True), ("[fe80::1]:1234", True), ("mac.local", True), ("mac", True),
     ("mac.home.arpa:80", True), ("", True), ("evil.example", False), ("mac.local.", False),
     ("192.168.1.7.evil.example:1234", False)],
)  # fmt: skip
def test_a_registered_name_leads_to_no_server_without_a_key(host: str, ours: bool) -> None:
    assert _is_private(_name(host)) is ours


def test_a_server_for_the_network_is_not_reached_by_a_foreign_name(runner: Runner) -> None:
    with live(runner, Settings(host="0.0.0.0")) as url:
        statuses = [
            httpx.get(f"{url}/v1/models", headers={"Host": host}).status_code
            for host in ("192.168.1.7", "evil.example")
        ]
    assert statuses == [200, 403]


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        (CHAT, "stop", ["x"] * 65),
        (CHAT, "dry_sequence_breakers", ["x"] * 257),
        (CHAT, "tools", [{"type": "function", "function": {"name": "f"}}] * 1025),
        ("/v1/completions", "prompt", ["x"] * 257),
    ],
)
def test_lists_are_only_so_long(client: httpx.Client, path: str, name: str, value: Any) -> None:
    body = {"messages": "x"} if path == CHAT else {}
    answer = client.post(path, json={**body, name: value})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


def test_a_body_of_nothing_but_brackets_is_refused_before_it_is_read(client: httpx.Client) -> None:
    many = b'{"messages": "x", "metadata": {"a": [' + b"{}," * (1 << 20) + b"{}]}}"
    few = json.dumps({"messages": "[{" * 1000, "max_tokens": 1}).encode()
    refused = client.post(CHAT, content=many, headers=JSON)
    assert (refused.status_code, "braces" in refused.text) == (400, True)
    assert "braces" not in client.post(CHAT, content=few, headers=JSON).text


class Compared(str):
    """A text that counts how often it is compared."""

    times = 0

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_many_names_of_tools_are_compared_only_a_few_times() -> None:
    tools = [{"type": "function", "function": {"name": Compared(f"f{i}")}} for i in range(500)]
    chosen = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": tools}}
    request = chat_request(ChatBody(messages="x", tools=tools, tool_choice=chosen))
    assert len(validate_tools(request)) == 500
    assert Compared.times < 5000
