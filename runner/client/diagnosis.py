"""Why a node does not answer: what gRPC keeps to itself is found out by connecting once more, by hand."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from runner.model.endpoint import Endpoint, Tcp, Unix

PATIENCE_SECONDS = 3.0


class Finding(Struct, frozen=True, kw_only=True):
    """What is wrong, and what to do. `final`: no waiting helps."""

    text: str
    final: bool = False


def find(endpoint: Endpoint) -> Finding | None:
    """None where nothing is wrong at this moment. Takes some seconds at most."""
    address = endpoint.address
    try:
        with _connected(address) as line:
            return _shake_hands(line, endpoint, address) if isinstance(address, Tcp) else None
    except TimeoutError:
        return Finding(
            text="the connection is not answered; is it the right address, and does a firewall let it through?"
        )
    except socket.gaierror as error:
        return Finding(text=f"the name is not known ({error.strerror}); is it spelt right?")
    except OSError as error:
        return _refused(error, address)


def _connected(address: Tcp | Unix) -> socket.socket:
    if isinstance(address, Tcp):
        return socket.create_connection(address, PATIENCE_SECONDS)
    line = socket.socket(socket.AF_UNIX)
    try:
        line.settimeout(PATIENCE_SECONDS)
        line.connect(address.path)
    except BaseException:
        line.close()
        raise
    return line


def _refused(error: OSError, address: Tcp | Unix) -> Finding:
    if isinstance(address, Unix):
        match error.errno:
            case errno.ENOENT:
                return Finding(text="there is no such socket; start a node with `runner serve`")
            case errno.ECONNREFUSED:
                return Finding(text="nobody listens on this socket any more; start the node with `runner serve`")
            case errno.EACCES:
                text = "this user may not use the socket; only the node's own user and root may"
                return Finding(text=text, final=True)
    elif error.errno == errno.ECONNREFUSED:
        return Finding(text="the connection is refused; does a node listen there?")
    return Finding(
        text=f"it cannot be reached: {os.strerror(error.errno) if error.errno else error}; is it the right address?"
    )


def _shake_hands(line: socket.socket, endpoint: Endpoint, address: Tcp) -> Finding | None:
    if not endpoint.is_encrypted:
        return _plain(line)
    if endpoint.certificate is not None and (finding := _out_of_date(endpoint.certificate)) is not None:
        return finding
    context = ssl.create_default_context(cafile=endpoint.ca)
    context.set_alpn_protocols(["h2"])
    try:
        if endpoint.certificate is not None and endpoint.key is not None:
            context.load_cert_chain(endpoint.certificate, endpoint.key)
        line.getpeername()  # one that was reset meanwhile would be left open by what follows
        with context.wrap_socket(line, server_hostname=endpoint.server_name or address.host) as secured:
            secured.settimeout(PATIENCE_SECONDS)
            # Only now the other side tells what it thinks of our certificate, and gRPC does so without a word.
            return None if secured.recv(1) else _closed(endpoint)
    except TimeoutError:
        return None
    except ssl.SSLCertVerificationError as error:
        why = error.verify_message.rstrip(".")
        text = f"its certificate is not trusted: {why}; is the ca the right one, and the name in the target?"
        return Finding(text=text, final=True)
    except ssl.SSLError as error:
        return _told(error, endpoint)


def _closed(endpoint: Endpoint) -> Finding:
    """Not for good: a node that is killed in this moment would look the same."""
    if endpoint.certificate is None:
        return Finding(text="it closes the connection at once; it may want a certificate: give one with its key")
    return Finding(
        text=f"it closes the connection at once; is {endpoint.certificate} a certificate of its authority, for clients?"
    )


def _out_of_date(certificate: str) -> Finding | None:
    from cryptography import x509  # slow to import

    try:
        found = x509.load_pem_x509_certificate(Path(certificate).read_bytes())
    except (OSError, ValueError):
        return None  # TLS tells what is wrong with it
    now, begin, end = datetime.now(UTC), found.not_valid_before_utc, found.not_valid_after_utc
    if end <= now:
        return Finding(text=f"the certificate {certificate} has expired on {end:%Y-%m-%d}: get a new one", final=True)
    if begin > now:  # not for good: it may be a matter of seconds
        text = f"the certificate {certificate} is valid from {begin:%Y-%m-%d %H:%M} UTC on: is the clock of this machine right?"
        return Finding(text=text)
    return None


def _plain(line: socket.socket) -> Finding | None:
    """Whether the other side speaks TLS, which we do not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with context.wrap_socket(line):
            return Finding(text="it speaks TLS there; give the `ca` that its certificate is signed by", final=True)
    except OSError:
        return None


def _told(error: ssl.SSLError, endpoint: Endpoint) -> Finding:
    reason = error.reason or ""
    if reason in {"WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "RECORD_LAYER_FAILURE"}:
        return Finding(
            text="it does not speak TLS there; is it the right port?", final=reason == "WRONG_VERSION_NUMBER"
        )
    if reason == "KEY_VALUES_MISMATCH":
        return Finding(text=f"{endpoint.key} is not the key of {endpoint.certificate}", final=True)
    words = reason.lower().replace("_", " ") or str(error)
    if "certificate" in words and endpoint.certificate is None:
        return Finding(text=f"it wants a certificate ({words}); give one with its key", final=True)
    return Finding(text=f"it refuses this certificate or this TLS ({words})", final=True)
