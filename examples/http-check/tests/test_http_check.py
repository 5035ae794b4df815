"""The tests of the driver, as its author runs them: `python -m pytest examples/http-check`."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from drivers.base import Status, Value
from drivers.conformance import Bench, DriverContract, carried_out
from runner_http_check import HttpCheckDriver

TOKEN = "a-token-that-nobody-sees"


class Site(BaseHTTPRequestHandler):
    """Answers 503 until it was asked often enough; /private wants the token; /never does not answer."""

    asked = 0
    needed = 1
    closing = threading.Event()

    def do_GET(self) -> None:
        Site.asked += 1
        if self.path == "/never":
            Site.closing.wait()
        allowed = self.path != "/private" or self.headers["Authorization"] == f"Bearer {TOKEN}"
        status = 503 if Site.asked < Site.needed else 200 if allowed else 401
        body = f"you are {self.headers['Authorization']}".encode() if self.path == "/private" else b'{"ready": true}'
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    Site.asked, Site.needed = 0, 1
    Site.closing.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        Site.closing.set()
        server.shutdown()


class TestContract(DriverContract):
    driver = HttpCheckDriver
    exports = ("status", "body", "tries")
    refused = ({}, {"url": "ftp://x"}, {"url": "http://x", "status": 99}, {"url": "http://x", "headers": {"a": "b\nc"}})

    @pytest.fixture(autouse=True)
    def _addresses(self, site: str) -> None:
        self.ends = {"url": site}
        self.stays = {"url": f"{site}/never", "patience": 1000}


def test_it_asks_until_the_answer_is_right(site: str) -> None:
    Site.needed = 3
    carried = carried_out(
        HttpCheckDriver, {"url": site, "wait": 30, "every": 0.01, "contains": "ready"}, exports=["status", "tries"]
    )
    assert carried.outcome.status is Status.SUCCESS
    assert {name: value.text for name, value in carried.outcome.outputs.items()} == {"status": "200", "tries": "3"}
    assert carried.stderr.count("it answers 503 and not 200") == 2


def test_it_fails_with_what_was_wrong_last(site: str) -> None:
    outcome = carried_out(HttpCheckDriver, {"url": site, "contains": "steady"}).outcome
    assert outcome.status is Status.FAILED
    assert outcome.error == f"the body does not contain 'steady', at the last of 1 tries of {site}"


def test_nobody_there_is_a_failure_too() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        port = unheard.getsockname()[1]
        outcome = carried_out(HttpCheckDriver, {"url": f"http://127.0.0.1:{port}"}).outcome
    assert outcome.status is Status.FAILED
    assert "no answer" in (outcome.error or "")


def test_a_secret_in_a_header_is_sent_and_not_shown(site: str) -> None:
    spec = {"url": f"{site}/private", "headers": {"Authorization": "Bearer {{ .login.token }}"}}
    carried = carried_out(
        HttpCheckDriver, spec, given={"login.token": Value(TOKEN, confidential=True)}, exports=["body"]
    )
    assert carried.outcome.status is Status.SUCCESS
    assert carried.outcome.outputs["body"] == Value(f"you are Bearer {TOKEN}", confidential=True)
    assert TOKEN not in carried.stdout + carried.stderr


def test_a_cancel_closes_the_connection(site: str) -> None:
    async def main() -> None:
        async with Bench(HttpCheckDriver) as bench:
            attempt = await bench.begin({"url": f"{site}/never", "patience": 1000})
            attempt.cancel()
            assert (await attempt.outcome()).status is Status.ABORTED

    asyncio.run(main())


def test_an_unknown_export_and_a_password_in_an_address_are_told() -> None:
    found = HttpCheckDriver().check({"url": "http://ada:secret@x/"}, ["statuz"])
    assert [(one.path, one.warning) for one in found] == [((), False), (("url",), True)]
