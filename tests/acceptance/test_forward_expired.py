"""The certificate by which an origin is known to its executor expires while a task is under way there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from runner.model.result import Status
from tests.acceptance.command import shell
from tests.acceptance.mortal import Node
from tests.acceptance.test_forward import ONPREM, Pair
from tests.material import Material, uri

SECONDS = 8


class Certificate:
    """That of `cloud`."""

    def __init__(self, folder: Path) -> None:
        self.material = Material.make(folder / "certs")
        self.file, self.key = folder / "cloud.pem", folder / "cloud.key"

    def issue(self, **good_for: float) -> None:
        purposes = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
        certificate, key = self.material.by_hand(
            [uri("runner://node/cloud")], end=timedelta(**good_for), purposes=purposes
        )
        self.file.write_bytes(certificate)
        self.key.write_bytes(key)


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate(tmp_path)


@pytest.fixture
def proving(tmp_path: Path, certificate: Certificate) -> Iterator[Pair]:
    """A pair that speaks TLS; `cloud` is not running yet."""
    pair = Pair.__new__(Pair)
    pair.folder = tmp_path
    for name in ("cloud", "onprem"):
        (tmp_path / name).mkdir()
    tls = certificate.material.tls
    (tmp_path / "onprem" / "runner.toml").write_text(
        f'[tls]\ncertificate = "{tls.certificate}"\nkey = "{tls.key}"\nclient_ca = "{tls.client_ca}"\n'
        '[[rules]]\ncallers = ["node/cloud"]\nscopes = ["dispatch"]\n'
    )
    options = ["--config", str(tmp_path / "onprem" / "runner.toml")]
    pair.onprem = Node(tmp_path / "onprem" / "state", "127.0.0.1:0", options=options)
    pair.onprem.start()
    [address] = [address for address in pair.onprem.addresses if not address.startswith("unix:")]
    (tmp_path / "cloud" / "runner.toml").write_text(
        f'[peers.onprem]\ntarget = "{address}"\nca = "{tls.client_ca}"\n'
        f'certificate = "{certificate.file}"\nkey = "{certificate.key}"\n'
    )
    pair.cloud = Node(tmp_path / "cloud" / "state", options=["--config", str(tmp_path / "cloud" / "runner.toml")])
    yield pair
    pair.cloud.remove()
    pair.onprem.remove()


def test_what_is_under_way_goes_on_and_the_line_is_back_when_it_is_renewed(
    proving: Pair, certificate: Certificate
) -> None:
    pair = proving
    certificate.issue(seconds=SECONDS)
    pair.cloud.start()
    pair.until(lambda: pair.has_said("peer_back"))
    begun = pair.submit(
        shell(
            "far",
            f"echo far >> {pair.folder}/lines; while [ ! -e {pair.folder}/go ]; do sleep 0.05; done",
            forward=ONPREM,
        )
    )
    pair.until(lambda: pair.grown("lines"))
    pair.until(lambda: pair.has_said("peer_unreachable"))
    waits = pair.submit(shell("late", f"echo late >> {pair.folder}/lines", forward=ONPREM))
    with pair.client() as client:
        [peer] = client.describe().peers
    assert f"the certificate {certificate.file} has expired on " in (peer.trouble or "")
    certificate.issue(days=1)
    (pair.folder / "go").touch()
    assert {pair.finished(id).status for id in (begun, waits)} == {Status.SUCCESS}
    assert sorted(pair.grown("lines")) == ["far", "late"]
