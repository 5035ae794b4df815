"""Who is asking: what a connection and the metadata of a call prove.

- On the node's unix socket it is `local`: the socket's permissions keep everybody out but the node's own user and root.
- A client certificate of an authority that the node trusts names its holder in a URI beside its other names
  (`runner://client/NAME`, `runner://node/NAME`).
- A bearer token in the metadata (`authorization: Bearer rt_…`) names whom it was made for. It is looked at wherever it is given, on
  the socket too. Beside a certificate it has to be of the same name: it narrows what its holder may do, and is no way to become
  somebody else.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeAlias

import grpc
from msgspec import Struct
from msgspec.structs import replace

from runner.clock import Clock, rfc3339
from runner.config.service import Rule, Scope
from runner.errors import StoreError, UnauthenticatedError, UnavailableError
from runner.model.caller import LOCAL, NODE_PREFIX, check_name
from runner.rpc.revocation import Revocations
from runner.tokens import Token, Tokens

log = logging.getLogger(__name__)

URI_PREFIX = "runner://"
CLIENT_URI = f"{URI_PREFIX}client/"
NODE_URI = f"{URI_PREFIX}node/"

_SECURE = frozenset({b"ssl", b"tls"})
_CERTIFICATES_KEPT = 4096
_RETRY_SECONDS = 10.0

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # generic in its stubs alone


class Kind(StrEnum):
    """By what a caller has proved who he is."""

    SOCKET = "socket"
    CERTIFICATE = "certificate"
    TOKEN = "token"


class Identity(Struct, frozen=True, kw_only=True):
    """Who is asking; of a token also what it allows at most."""

    name: str
    kind: Kind
    most: frozenset[Scope] | None = None


class Caller(Struct, frozen=True, kw_only=True):
    """Who is asking, and what he may do: `scopes`, and those of the node's rules that fit him."""

    name: str
    kind: Kind
    scopes: frozenset[Scope]
    rules: tuple[Rule, ...]

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes


class Proof(Struct, frozen=True, kw_only=True):
    """What a call brings that may tell who makes it. It is taken from gRPC when a call begins: of one that may be over, gRPC must not
    be asked. `peer` is where it comes from, as gRPC spells it; `certificates` are PEM."""

    peer: str
    authorization: tuple[str | bytes, ...]
    certificates: tuple[bytes, ...]

    @property
    def of_whom(self) -> Hashable:
        """What calls have in common that prove the same."""
        return self.authorization, self.certificates

    @classmethod
    def of(cls, context: Context) -> Proof:
        proved = context.auth_context()
        secure = _SECURE.intersection(proved.get("transport_security_type", ()))
        return cls(
            peer=context.peer(),
            authorization=tuple(value for key, value in context.invocation_metadata() or () if key == "authorization"),
            certificates=tuple(proved.get("x509_pem_cert", ())) if secure else (),
        )


class Identifier:
    """Tells who is asking. Costs some ten microseconds a call: certificates are parsed once."""

    def __init__(self, tokens: Tokens, clock: Clock, revocations: Revocations | None = None) -> None:
        self._tokens = tokens
        self._clock = clock
        self.revocations = revocations
        """May be replaced."""

    def identify(self, proof: Proof) -> Identity:
        """Raises UnauthenticatedError, UnavailableError where that cannot be found out."""
        text = _bearer(proof)
        name = self._holder(proof)
        token = None if text is None else self._token(text)
        if token is not None:
            if name is not None and name != token.name:
                raise UnauthenticatedError(
                    f"the token is not for {name!r}, whom the certificate names: give one of the same name, or none"
                )
            return Identity(name=token.name, kind=Kind.TOKEN, most=token.scopes)
        if name is not None:
            return Identity(name=name, kind=Kind.CERTIFICATE)
        if _is_local(proof.peer):
            return Identity(name=LOCAL, kind=Kind.SOCKET)
        raise UnauthenticatedError(
            "it is not known who is asking: give a token (`runner token create` on the runner makes one), "
            "or a client certificate where the runner asks for one"
        )

    def _holder(self, proof: Proof) -> str | None:
        """Whom the certificate of the connection names; None where there is none. Raises UnauthenticatedError."""
        for pem in proof.certificates:
            holder = _parse(pem)
            if holder.name is None:
                raise UnauthenticatedError(holder.fault)
            # It was valid when the connection was made, which may be long ago.
            if self._clock.now().wall >= holder.expires:
                raise UnauthenticatedError(
                    f"the certificate of {holder.name!r} expired at {rfc3339(holder.expires)}: "
                    "`runner certs renew` makes a new one; then connect again"
                )
            if self.revocations is not None and self.revocations.has(holder.issuer, holder.serial):
                raise UnauthenticatedError(
                    f"the certificate of {holder.name!r} was revoked: whoever issues them can make a new one"
                )
            return holder.name
        return None

    def _token(self, text: str) -> Token:
        try:
            return self._tokens.verify(text, self._clock.now().wall)
        except StoreError as error:
            log.error("a token cannot be verified: %s", error.message)
            raise UnavailableError(
                "the runner cannot read its tokens; its log says why", retry_after=_RETRY_SECONDS
            ) from error


def _is_local(peer: str) -> bool:
    """Whether a unix socket with a path leads to `peer`. Clients have no address there as a rule."""
    return peer == "unix:" or peer.startswith("unix:/")


def _bearer(proof: Proof) -> str | None:
    """The token that the call carries. Raises UnauthenticatedError for anything else where one is expected."""
    given = proof.authorization
    if not given:
        return None
    if len(given) > 1:
        raise UnauthenticatedError("there are several `authorization` entries in the call's metadata: give one")
    text = given[0].decode("latin-1") if isinstance(given[0], bytes) else given[0]
    scheme, _, token = text.partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthenticatedError("the call's `authorization` is of an unknown kind: expected `Bearer rt_…`")
    return token.strip()


class _Holder(Struct, frozen=True, kw_only=True):
    """What a certificate says: `name`, or why it has none. `expires` is in seconds since the epoch; `issuer` (as RFC 4514 has it) and
    `serial` tell it from all others."""

    name: str | None
    fault: str = ""
    expires: float = 0.0
    issuer: str = ""
    serial: int = 0


@lru_cache(_CERTIFICATES_KEPT)
def _parse(pem: bytes) -> _Holder:
    """The certificate itself is asked, not gRPC's list of its names: in that a DNS name may look like a URI."""
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(pem)
        uris = _uris(certificate)
        expires = certificate.not_valid_after_utc.timestamp()
    except ValueError as error:
        return _Holder(name=None, fault=f"the certificate cannot be read: {error}")
    ours = [uri for uri in uris if uri.startswith(URI_PREFIX)]
    if len(ours) != 1:
        found = "none" if not ours else f"{len(ours)} of them"
        return _Holder(
            name=None,
            fault=f"the certificate names nobody whom this runner knows: expected one URI such as {CLIENT_URI}NAME "
            f"among its alternative names, found {found}; `runner certs issue` makes one that fits",
        )
    named = _named(ours[0], expires)
    return replace(named, issuer=certificate.issuer.rfc4514_string(), serial=certificate.serial_number)


def _uris(certificate: Any) -> list[str]:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return list(names.get_values_for_type(x509.UniformResourceIdentifier))


def _named(uri: str, expires: float) -> _Holder:
    for prefix, begin in ((CLIENT_URI, ""), (NODE_URI, NODE_PREFIX)):
        if uri.startswith(prefix):
            try:
                return _Holder(name=begin + check_name(uri.removeprefix(prefix)), expires=expires)
            except ValueError as error:
                return _Holder(name=None, fault=f"the certificate names {uri!r}, which can be nobody: {error}")
    return _Holder(name=None, fault=f"the certificate names {uri!r}: expected {CLIENT_URI}NAME or {NODE_URI}NAME")
