"""The forms in which a message may name a medium."""

import os
from base64 import b64encode
from pathlib import Path

import pytest

from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.media.limits import Limits
from mistralrs_mlx.media.sources import read_source

CONTENT = b"\x00\xff some bytes"
BASE64 = b64encode(CONTENT).decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a picture ü.png"
    path.write_bytes(CONTENT)
    return path


def test_a_path_is_read_in_every_form(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    local = file.as_uri().replace("file://", "file://localhost")
    for source in (file, str(file), f"  {file}\n", file.name, file.as_uri(), local):
        assert read_source(source, Limits()) == CONTENT


@pytest.mark.parametrize("source", [CONTENT, bytearray(CONTENT), memoryview(CONTENT)])
def test_bytes_are_taken_as_they_are(source: object) -> None:
    assert read_source(source, Limits()) == CONTENT


@pytest.mark.parametrize(
    "url",
    [
        f"data:image/png;base64,{BASE64}",
        f"DATA:;BASE64,{BASE64[:6]}\n {BASE64[6:]}",
        f"data:;base64,{BASE64.replace('+', '%2B')}",
        "data:text/plain,%00%FF some%20bytes",
    ],
)
def test_a_data_url_is_decoded(url: str) -> None:
    assert read_source(url, Limits()) == CONTENT


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("ftp://host/a.png", "Unsupported URL scheme: ftp"),
        ("file:///no/such.png", "Could not open file at path: /no/such.png"),
        ("file://host/a.png", "names the host host"),
        ("no/such.png", "Invalid source 'no/such.png': not a valid URL .* and file not found"),
        ("a" * 5000, r"Invalid source 'a+\.\.\.'"),
        ("null\0byte", "Invalid source"),
        ("file:///null%00byte", "Could not open file"),
        ("", "Invalid source ''"),
        ("data:image/png;base64", "has no comma"),
        ("data:image/png;base64,@@@@", "not base64"),
        ("data:image/png;base64,", "empty"),
        ("http://", "not an http:// or https:// address"),
        ("http://[1/a.png", "not an http:// or https:// address"),
        (b"", "empty"),
        (3.5, "given as a float"),
        (None, "given as a NoneType"),
    ],
)
def test_what_cannot_be_read_is_said(source: object, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        read_source(source, Limits())


@pytest.mark.parametrize("form", ["path", "bytes", "data"])
def test_what_is_too_large_is_refused(file: Path, form: str) -> None:
    sources = {"path": file, "bytes": CONTENT, "data": f"data:;base64,{BASE64}"}
    with pytest.raises(RequestError, match=r"at most 5 (bytes )?are taken"):
        read_source(sources[form], Limits(bytes=5))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(RequestError, match="which is no file"):
            read_source(path, Limits())
