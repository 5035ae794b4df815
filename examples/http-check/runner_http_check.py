"""The task type `http_check`: waits until a web address answers as it should.

    type: http_check
    spec:
      url: http://localhost:8080/health
      contains: '"ready": true'
      wait: 60
    exports: [{name: status}, {name: body}]

A redirect is an answer like any other, and is not followed. Of a body the first mebibyte is looked at.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from drivers.base import (
    Capabilities,
    Finding,
    Fingerprint,
    Outcome,
    Recovery,
    SimpleDriver,
    Spec,
    Status,
    TaskContext,
    Value,
)

EXPORTS = ("status", "body", "tries")
LARGEST_BODY_BYTES = 1 << 20


class HttpCheckSpec(Spec):
    """Waits until a web address answers as it should, and exports the `status`, the `body` and how many `tries` it took."""

    url: str = Field(
        description="What is asked, by GET.", pattern=r"^https?://[^\s/]", examples=["http://localhost:8080/health"]
    )
    status: int = Field(200, ge=100, le=599, description="The status that it has to answer with.")
    contains: str = Field("", description="What has to stand in the body.", examples=['"ready": true'])
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="What is sent beside that. A secret belongs here.",
        examples=[{"Authorization": "Bearer {{ .login.token }}"}],
    )
    wait: float = Field(
        0, ge=0, description="For how many seconds it is asked again and again; 0 asks once.", examples=[60]
    )
    every: float = Field(1, gt=0, description="How many seconds lie between two tries.")
    patience: float = Field(10, gt=0, description="How many seconds one answer may take.")

    @field_validator("headers")
    @classmethod
    def _on_one_line(cls, headers: dict[str, str]) -> dict[str, str]:
        if any("\n" in text or "\r" in text for header in headers.items() for text in header):
            raise ValueError("a header has to be on one line")
        return headers


class HttpCheckDriver(SimpleDriver[HttpCheckSpec]):
    type = "http_check"
    # To ask again does no harm: so a runner that was killed begins anew.
    capabilities = Capabilities(recovery=Recovery.RERUN)
    spec_model = HttpCheckSpec

    async def fingerprint(self) -> Fingerprint:
        return Fingerprint(description="asks web addresses", attributes={"tls": ssl.OPENSSL_VERSION})

    def check(
        self, spec: Mapping[str, Any], exports: Sequence[str], confidential: Collection[str] = ()
    ) -> Sequence[Finding]:
        found = [
            Finding((), f"http_check exports {', '.join(EXPORTS)}, and no {export!r}")
            for export in exports
            if export not in EXPORTS
        ]
        url = spec.get("url")
        if isinstance(url, str) and "@" in url.partition("://")[2].partition("/")[0]:
            found.append(
                Finding(("url",), "a password in an address is seen in logs; give it as a header", warning=True)
            )
        return found

    async def run(self, ctx: TaskContext, spec: HttpCheckSpec) -> Mapping[str, str | Value] | Outcome:
        loop = asyncio.get_running_loop()
        until = loop.time() + spec.wait
        tries = 0
        while True:
            tries += 1
            try:
                async with asyncio.timeout(spec.patience):
                    status, body = await _ask(spec)
                lack = _lack(spec, status, body)
            except TimeoutError:
                lack = f"no answer within {spec.patience:g} s"
            except (OSError, ValueError) as error:
                lack = f"no answer: {error}"
            if not lack:
                ctx.log.write("stdout", f"{spec.url} answers {status}, as it should\n".encode())
                return {"status": str(status), "body": body, "tries": str(tries)}
            ctx.log.write("stderr", f"{spec.url}: {lack}\n".encode())
            if loop.time() + spec.every > until:
                return Outcome(
                    status=Status.FAILED, exit_code=1, error=f"{lack}, at the last of {tries} tries of {spec.url}"
                )
            await asyncio.sleep(spec.every)


def _lack(spec: HttpCheckSpec, status: int, body: str) -> str:
    if status != spec.status:
        return f"it answers {status} and not {spec.status}"
    return "" if spec.contains in body else f"the body does not contain {spec.contains!r}"


async def _ask(spec: HttpCheckSpec) -> tuple[int, str]:
    """The status and the body. Raises OSError, and ValueError for what is no HTTP. Being cancelled closes the connection."""
    address = urlsplit(spec.url)
    secure = address.scheme == "https"
    reader, writer = await asyncio.open_connection(
        address.hostname, address.port or (443 if secure else 80), ssl=secure or None
    )
    try:
        # HTTP/1.0: the body ends with the connection, and comes in one piece.
        path = (address.path or "/") + (f"?{address.query}" if address.query else "")
        host = address.netloc.rpartition("@")[2]
        headers = {"Host": host, "Connection": "close", "User-Agent": "runner-http-check", **spec.headers}
        lines = [f"GET {path} HTTP/1.0", *(f"{name}: {text}" for name, text in headers.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        words = (await reader.readline()).split(maxsplit=2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
            raise ValueError("what answers there speaks no HTTP")
        while (await reader.readline()).strip():
            pass
        body = b""
        while len(body) < LARGEST_BODY_BYTES and (piece := await reader.read(LARGEST_BODY_BYTES - len(body))):
            body += piece
        return int(words[1]), body.decode(errors="replace").replace("\0", "\ufffd")
    finally:
        writer.close()
