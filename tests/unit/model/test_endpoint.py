from __future__ import annotations

from typing import Any

import pytest

from runner.errors import UsageError
from runner.model.endpoint import Endpoint, Tcp, Unix, parse


@pytest.mark.parametrize(
    ("target", "address"),
    [
        ("build.example:8443", Tcp("build.example", 8443)),
        ("[::1]:80", Tcp("::1", 80)),
        ("127.0.0.1:65535", Tcp("127.0.0.1", 65535)),
        ("unix:/run/runner.sock", Unix("/run/runner.sock")),
        ("unix:here.sock", Unix("here.sock")),
    ],
)
def test_places(target: str, address: object) -> None:
    assert parse(target) == address


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("", "is not the place of a node: expected host:port"),
        ("host", "is not the place of a node"),
        (":80", "is not the place of a node"),
        ("http://host:80", r"without http:// and a path, e.g. host:80;"),
        ("https://host", r"without https:// and a path, e.g. host:8443;"),
        ("grpc://[::1]:80/x", r"e.g. \[::1\]:80;"),
        ("http://", "e.g. onprem-1.example:8443;"),
        ("ho st:80", "is not the place of a node"),
        ("::1:80", "IPv6 address is written in brackets"),
        ("host:", "is no port"),
        ("host:0", "is no port"),
        ("host:65536", "is no port"),
        ("host:99999999999999999999", "is no port"),
        ("host:8٣", "is no port"),
        ("unix:", "names no socket"),
        ("unix:/a\0b", "names no socket"),
        ("unix:/" + "a" * 107, "longer than 107 bytes"),
    ],
)
def test_what_is_none(target: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(target)


@pytest.mark.parametrize(
    ("encrypted", "parts"),
    [
        (True, {"target": "build.example:1"}),
        (True, {"target": "10.0.0.1:1"}),
        (True, {"target": "127.0.0.1:1", "ca": "ca.pem"}),
        (False, {"target": "127.0.0.1:1"}),
        (False, {"target": "localhost:1"}),
        (False, {"target": "[::1]:1"}),
        (False, {"target": "build.example:1", "insecure": True}),
        (False, {"target": "unix:/s"}),
    ],
)
def test_plain_text_stays_on_this_machine_unless_it_is_asked_for(encrypted: bool, parts: dict[str, Any]) -> None:
    assert Endpoint(**parts).checked().is_encrypted is encrypted


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"certificate": "a"}, "a certificate and its key go together"),
        ({"key": "a"}, "a certificate and its key go together"),
        ({"token": "a", "token_file": "b"}, "a token and a file with a token"),
        ({"ca": "a", "insecure": True}, "insecure does without TLS: leave out ca"),
        ({"target": "unix:/s", "server_name": "a"}, "no TLS is spoken on a unix socket: leave out server_name"),
    ],
)
def test_parts_that_do_not_fit_together(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Endpoint(**{"target": "h:1", **parts}).checked()


def test_a_token_is_not_shown() -> None:
    assert "rt_secret" not in repr(Endpoint(target="h:1", token="rt_secret"))
