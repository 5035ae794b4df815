"""Who is asking, over real connections: sockets, TLS on both families of addresses, tokens, and what is wrong with each."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from runner.certs import Authority, Kind
from runner.config.service import Rule, Scope, Tls
from runner.errors import UsageError
from runner.rpc.credentials import Credentials
from runner.rpc.revocation import Revocations
from runner.tokens import Tokens
from tests.guarded import bearer, channel, code_of, describe, serving
from tests.material import Material, now, uri

DESCRIBE = "/runner.v1.RunnerService/DescribeRunner"
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
ALL = (Rule(callers=("*", "node/*"), scopes=frozenset(Scope)),)


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return Material.make(tmp_path / "certs")


def credentials(tls: Tls) -> Credentials:
    return Credentials(tls, now().timestamp())


def revocations(authority: Authority) -> Revocations:
    return Revocations(authority.crl_file, authority.certificate_file)


def without_client_ca(tls: Tls) -> Tls:
    return Tls(certificate=tls.certificate, key=tls.key)


async def refused(tmp_path: Path, material: Material, certificate: tuple[bytes, bytes]) -> str:
    """What a node tells the holder of a certificate that it has let connect, and does not let in."""
    async with (
        serving(tmp_path, credentials=credentials(material.tls), wall=now().timestamp()) as node,
        channel(node.addresses[0], material.credentials(*certificate)) as to,
    ):
        code, message = await code_of(to, DESCRIBE)
        assert code is UNAUTHENTICATED
        assert node.servicer.called == 0
        return message


async def not_connected(tmp_path: Path, material: Material, presented: grpc.ChannelCredentials) -> None:
    async with (
        serving(tmp_path, credentials=credentials(material.tls)) as node,
        channel(node.addresses[0], presented) as to,
    ):
        for token in (None, node.token("ada")):
            code, _ = await code_of(to, DESCRIBE, token)
            assert code is grpc.StatusCode.UNAVAILABLE
        assert node.servicer.called == 0


async def test_the_socket_is_local(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/runner.sock"
    async with serving(tmp_path, listen=[address], rules=()) as node, channel(address) as to:
        who = await describe(to)
        assert (who.caller, who.name, list(who.scopes)) == ("local", "socket", sorted(Scope))
        # With a token one is who it says, as everywhere; with a wrong one nobody.
        code, message = await code_of(to, DESCRIBE, node.token("ada"))
        assert (code, "'ada'" in message) == (grpc.StatusCode.PERMISSION_DENIED, True)
        code, message = await code_of(to, DESCRIBE, "rt_000000000000_" + "0" * 64)
        assert code is UNAUTHENTICATED


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"])
async def test_a_certificate_names_its_holder(tmp_path: Path, material: Material, listen: str) -> None:
    async with serving(
        tmp_path, listen=[listen], credentials=credentials(material.tls), rules=ALL, wall=now().timestamp()
    ) as node:
        for name, kind, caller in (("ada", Kind.CLIENT, "ada"), ("onprem-2", Kind.NODE, "node/onprem-2")):
            async with channel(node.addresses[0], material.client(name, kind)) as to:
                who = await describe(to)
                assert (who.caller, who.name) == (caller, "certificate")


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"])
@pytest.mark.parametrize("secure", [False, True])
async def test_without_a_certificate_a_token_is_needed(
    tmp_path: Path, material: Material, listen: str, secure: bool
) -> None:
    served = credentials(without_client_ca(material.tls)) if secure else None
    async with (
        serving(tmp_path, listen=[listen], credentials=served) as node,
        channel(node.addresses[0], material.stranger() if secure else None) as to,
    ):
        code, message = await code_of(to, DESCRIBE)
        assert code is UNAUTHENTICATED
        assert "give a token" in message
        who = await describe(to, node.token("ada", scopes=frozenset({Scope.READ, Scope.ADMIN})))
        assert (who.caller, who.name, list(who.scopes)) == ("ada", "token", ["read"])


async def test_a_certificate_that_nobody_asked_for_proves_nothing(tmp_path: Path, material: Material) -> None:
    async with (
        serving(tmp_path, credentials=credentials(without_client_ca(material.tls))) as node,
        channel(node.addresses[0], material.client("ada")) as to,
    ):
        assert (await code_of(to, DESCRIBE))[0] is UNAUTHENTICATED


async def test_where_certificates_are_asked_for_a_token_alone_does_not_connect(
    tmp_path: Path, material: Material
) -> None:
    await not_connected(tmp_path, material, material.stranger())


async def test_a_certificate_of_another_authority_does_not_connect(tmp_path: Path, material: Material) -> None:
    other = Material.make(tmp_path / "others")
    issued = other.authority.issue(Kind.CLIENT, "ada")
    presented = material.credentials(issued.certificate.read_bytes(), issued.key.read_bytes())
    await not_connected(tmp_path, material, presented)


@pytest.mark.parametrize(
    ("begin", "end"),
    [(timedelta(days=-2), timedelta(days=-1)), (timedelta(days=1), timedelta(days=2))],
    ids=["expired", "not valid yet"],
)
async def test_a_certificate_that_is_not_valid_now_does_not_connect(
    tmp_path: Path, material: Material, begin: timedelta, end: timedelta
) -> None:
    presented = material.by_hand([uri("runner://client/ada")], begin=begin, end=end)
    await not_connected(tmp_path, material, material.credentials(*presented))


async def test_a_certificate_for_servers_alone_does_not_connect(tmp_path: Path, material: Material) -> None:
    presented = material.by_hand([uri("runner://client/ada")], purposes=(ExtendedKeyUsageOID.SERVER_AUTH,))
    await not_connected(tmp_path, material, material.credentials(*presented))


async def test_a_client_that_issues_certificates_does_not_connect_with_them(tmp_path: Path, material: Material) -> None:
    """The authority's path length is 0: whoever has a certificate of it cannot make others."""
    folder = tmp_path / "forged"
    folder.mkdir()
    certificate, key = material.by_hand([uri("runner://client/eve")], ca=True)
    (folder / "ca.pem").write_bytes(certificate)
    (folder / "ca.key").write_bytes(key)
    forged, its_key = Material(folder=folder).by_hand([uri("runner://client/root")])
    await not_connected(tmp_path, material, material.credentials(forged + certificate, its_key))


async def test_a_client_does_not_serve(tmp_path: Path, material: Material) -> None:
    """Whoever has a client's certificate cannot play the node to others."""
    certificate, key = material.by_hand([x509.DNSName("localhost")])
    pretended = grpc.ssl_server_credentials([(key, certificate)])
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", pretended)
    await server.start()
    async with channel(f"localhost:{port}", material.client()) as to:
        code, message = await code_of(to, DESCRIBE)
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "CERTIFICATE_VERIFY_FAILED" in message
    await server.stop(None)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "found none"),
        ([x509.DNSName("ada.example")], "found none"),
        ([uri("spiffe://example/ada")], "found none"),
        ([x509.DNSName("runner://client/ada")], "found none"),
        ([uri("runner://client/ada"), uri("runner://client/root")], "found 2 of them"),
        ([uri("runner://client/ada"), uri("runner://node/ada")], "found 2 of them"),
        ([uri("runner://client/local")], "which can be nobody"),
        ([uri("runner://client/")], "which can be nobody"),
        ([uri("runner://client/a/b")], "which can be nobody"),
        ([uri("runner://client/node%2Fa")], "which can be nobody"),
        ([uri("runner://client/ada?root")], "which can be nobody"),
        ([uri("runner://admin/ada")], "expected runner://client/NAME or runner://node/NAME"),
        ([uri("runner://ada")], "expected runner://client/NAME or runner://node/NAME"),
        ([uri("RUNNER://client/ada")], "found none"),
    ],
)
async def test_certificates_that_name_nobody(
    tmp_path: Path, material: Material, names: list[x509.GeneralName], expected: str
) -> None:
    assert expected in await refused(tmp_path, material, material.by_hand(names))


async def test_other_names_beside_the_one_that_counts_do_not_matter(tmp_path: Path, material: Material) -> None:
    names = [x509.DNSName("runner://client/root"), uri("spiffe://example/x"), uri("runner://client/ada")]
    async with (
        serving(tmp_path, credentials=credentials(material.tls), wall=now().timestamp()) as node,
        channel(node.addresses[0], material.credentials(*material.by_hand(names))) as to,
    ):
        assert (await describe(to)).caller == "ada"


async def test_a_certificate_that_expires_while_it_is_connected_is_refused_from_then_on(
    tmp_path: Path, material: Material
) -> None:
    certificate = material.by_hand([uri("runner://client/ada")], end=timedelta(hours=1))
    async with (
        serving(tmp_path, credentials=credentials(material.tls), wall=now().timestamp()) as node,
        channel(node.addresses[0], material.credentials(*certificate)) as to,
    ):
        assert (await describe(to)).caller == "ada"
        node.wait(3601)
        code, message = await code_of(to, DESCRIBE)
        assert code is UNAUTHENTICATED
        assert "expired at" in message
        assert "certs renew" in message


async def test_a_certificate_that_is_revoked_is_refused_at_once(tmp_path: Path, material: Material) -> None:
    """Also the ones that the same caller had before; and what goes on by it is cut."""
    first, second, other = material.client("ada"), material.client("ada"), material.client("bob")
    authority = material.authority
    authority.issue(Kind.CLIENT, "eve")
    authority.revoke(Kind.CLIENT, "eve")
    async with serving(
        tmp_path, credentials=credentials(material.tls), wall=now().timestamp(), revocations=revocations(authority)
    ) as node:
        async with (
            channel(node.addresses[0], first) as old,
            channel(node.addresses[0], second) as new,
            channel(node.addresses[0], other) as bob,
        ):
            for to in (old, new, bob):
                await describe(to)
            stream = new.unary_stream("/runner.v1.RunnerService/WatchTaskGroup")(b"", timeout=20)
            await stream.read()
            assert authority.revoke(Kind.CLIENT, "ada") == 2
            for to in (old, new):
                code, message = await code_of(to, DESCRIBE)
                assert code is UNAUTHENTICATED
                assert message == "the certificate of 'ada' was revoked: whoever issues them can make a new one"
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stream.read()
            assert caught.value.code() is UNAUTHENTICATED
            assert (await describe(bob)).caller == "bob"
        async with channel(node.addresses[0], material.client("ada")) as again:
            assert (await describe(again)).caller == "ada"


async def test_a_list_of_revoked_certificates_that_becomes_unusable_changes_nothing(
    tmp_path: Path, material: Material, caplog: pytest.LogCaptureFixture
) -> None:
    presented, authority = material.client("ada"), material.authority
    authority.revoke(Kind.CLIENT, "ada")
    async with (
        serving(
            tmp_path, credentials=credentials(material.tls), wall=now().timestamp(), revocations=revocations(authority)
        ) as node,
        channel(node.addresses[0], presented) as to,
    ):
        assert (await code_of(to, DESCRIBE))[0] is UNAUTHENTICATED
        for text in (b"nonsense", Material.make(tmp_path / "strangers").revoked("eve")):
            authority.crl_file.write_bytes(text)
            assert (await code_of(to, DESCRIBE))[0] is UNAUTHENTICATED
        authority.crl_file.unlink()
        assert (await code_of(to, DESCRIBE))[0] is UNAUTHENTICATED
    assert [record.message.count("what was revoked before still is") for record in caplog.records].count(1) == 3


@pytest.mark.parametrize(
    "content", [None, b"", b"nonsense", b"-----BEGIN X509 CRL-----\nAA==\n-----END X509 CRL-----\n"]
)
def test_a_node_does_not_start_with_a_list_that_it_cannot_use(
    tmp_path: Path, material: Material, content: bytes | None
) -> None:
    file = tmp_path / "crl.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=r"tls\.crl: .*crl\.pem") as caught:
        Revocations(file, material.folder / "ca.pem")
    if content == b"nonsense":
        assert caught.value.message == f"tls.crl: {file} holds no list in PEM: it begins with -----BEGIN X509 CRL-----"
    file.write_bytes(Material.make(tmp_path / "strangers").revoked("eve"))
    with pytest.raises(UsageError, match=r"which is no authority of tls\.client_ca"):
        Revocations(file, material.folder / "ca.pem")


async def test_a_token_beside_a_certificate_narrows_it_and_is_of_the_same_name(
    tmp_path: Path, material: Material
) -> None:
    async with (
        serving(tmp_path, credentials=credentials(material.tls), rules=ALL, wall=now().timestamp()) as node,
        channel(node.addresses[0], material.client("ada")) as to,
    ):
        assert list((await describe(to)).scopes) == sorted(Scope)
        who = await describe(to, node.token("ada", scopes=frozenset({Scope.READ})))
        assert (who.caller, who.name, list(who.scopes)) == ("ada", "token", ["read"])
        code, message = await code_of(to, DESCRIBE, node.token("root"))
        assert code is UNAUTHENTICATED
        assert "not for 'ada'" in message
        assert "root" not in message
        code, _ = await code_of(to, DESCRIBE, "rt_000000000000_" + "0" * 64)
        assert code is UNAUTHENTICATED


async def test_nobody_learns_which_tokens_there_are(tmp_path: Path) -> None:
    """Of another runner, revoked, or with a wrong secret: the answer is the same."""
    async with (
        serving(tmp_path / "here") as node,
        serving(tmp_path / "there") as other,
        channel(node.addresses[0]) as to,
    ):
        known, revoked = node.token("ada"), node.token("ada")
        node.tokens.revoke(revoked.split("_")[1])
        answers = {
            await code_of(to, DESCRIBE, token)
            for token in (other.token("ada"), revoked, known[:-1] + ("0" if known[-1] != "0" else "1"))
        }
        assert len(answers) == 1
        code, message = answers.pop()
        assert code is UNAUTHENTICATED
        assert "may have been revoked, or be another runner's" in message
        assert (await describe(to, known)).caller == "ada"


async def test_a_token_that_is_made_or_revoked_while_the_node_runs_counts_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as node, channel(node.addresses[0]) as to:
        outside = Tokens(tmp_path)  # as the command does it, in a process of its own
        for _ in range(20):
            token, text = outside.create("ada", now=node.clock.now().wall)
            assert (await describe(to, text)).caller == "ada"
            outside.revoke(token.id)
            assert (await code_of(to, DESCRIBE, text))[0] is UNAUTHENTICATED


async def test_an_expired_token_is_told_to_whoever_has_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as node, channel(node.addresses[0]) as to:
        text = node.token("ada", lifetime=60.0)
        assert (await describe(to, text)).caller == "ada"
        node.wait(60)
        code, message = await code_of(to, DESCRIBE, text)
        assert code is UNAUTHENTICATED
        assert "expired at 2023-" in message
        # Who knows nothing but the id does not learn that.
        assert "expired" not in (await code_of(to, DESCRIBE, text[:-64] + "0" * 64))[1]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ((("authorization", "Basic YWRhOmFkYQ=="),), "expected `Bearer rt_"),
        ((("authorization", ""),), "expected `Bearer rt_"),
        ((("authorization", "Bearer"),), "malformed"),
        ((("authorization", "Bearer x"),), "malformed"),
        ((("authorization", "Bearer rt_../../etc_0"),), "malformed"),
        ((*bearer("x"), *bearer("y")), "several"),
        ((*bearer("x"), *bearer("x")), "several"),
        ((("authorization-bin", b"Bearer x"),), "it is not known who is asking"),
    ],
)
async def test_what_is_no_token(tmp_path: Path, metadata: tuple[tuple[str, str | bytes], ...], expected: str) -> None:
    async with serving(tmp_path) as node, channel(node.addresses[0]) as to:
        code, message = await code_of(to, DESCRIBE, metadata=metadata)
        assert code is UNAUTHENTICATED
        assert expected in message
        assert "YWRh" not in message


async def test_the_word_before_a_token_may_be_spelt_in_any_way(tmp_path: Path) -> None:
    async with serving(tmp_path) as node, channel(node.addresses[0]) as to:
        for word in ("bearer", "BEARER"):
            metadata = (("authorization", f"{word} {node.token('ada')}"),)
            assert (await code_of(to, DESCRIBE, metadata=metadata))[0] is grpc.StatusCode.OK


async def test_tokens_that_cannot_be_read_let_nobody_in_and_tell_no_path(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as node, channel(node.addresses[0]) as to:
        text = node.token("ada")
        (path,) = (tmp_path / "tokens").iterdir()
        path.write_text("{")
        code, message = await code_of(to, DESCRIBE, text)
        assert code is grpc.StatusCode.UNAVAILABLE
        assert str(tmp_path) not in message
        assert str(path) in caplog.text
