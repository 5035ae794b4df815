"""Which runners a node knows: those that its configuration names now, and those whose addresses documents may name."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from runner.model.result import Reason, Status
from tests.acceptance.command import shell
from tests.acceptance.mortal import Node
from tests.acceptance.test_forward import ONPREM, Pair, impatient
from tests.acceptance.test_forward_whole import pair

__all__ = ["impatient", "pair"]


def reload(pair: Pair, *peers: str, lost_after: str = "10m") -> None:
    config = pair.folder / "cloud" / "runner.toml"
    config.write_text("\n".join(('name = "cloud"', f'lost_after = "{lost_after}"', *peers)) + "\n")
    told = (pair.folder / "cloud" / "node.log").read_text().count('"action": "reloaded"')
    os.kill(pair.cloud.pid, signal.SIGHUP)
    pair.until(lambda: (pair.folder / "cloud" / "node.log").read_text().count('"action": "reloaded"') > told)


def listening(pair: Pair) -> str:
    """Where `onprem`, begun anew, listens beside its socket, for who has the token of the file."""
    config = pair.folder / "onprem" / "runner.toml"
    config.write_text('[[rules]]\ncallers = ["cloud"]\nscopes = ["dispatch"]\n')
    state = pair.folder / "onprem" / "state"
    (pair.folder / "token").write_text(pair.dispatch_token())
    pair.onprem.end()
    pair.onprem = Node(state, "127.0.0.1:0", options=["--config", str(config)])
    pair.onprem.start()
    return next(address for address in pair.onprem.addresses if not address.startswith("unix:"))


def onprem(pair: Pair, name: str = "onprem") -> str:
    return f'[peers.{name}]\ntarget = "{pair.onprem.socket}"'


def test_a_reload_takes_a_new_peer_and_what_waits_is_decided_anew(pair: Pair) -> None:
    more = {"inputs": {"where": {"default": "later"}}}
    tasks = [shell("a", "true", forward={"to": "{{ .inputs.where }}"})]
    assert pair.finished(pair.submit(*tasks, **more)).results["a"].reason == "no_such_runner"
    reload(pair, onprem(pair, "later"))
    assert pair.finished(pair.submit(*tasks, **more)).status is Status.SUCCESS


def test_a_runner_is_called_by_one_name_alone(pair: Pair) -> None:
    """By another one it would be told that what it was given by the first is not wanted."""
    os.mkfifo(pair.folder / "go")
    id = pair.submit(shell("a", f"echo x >> {pair.folder}/started; read x < {pair.folder}/go", forward=ONPREM))
    pair.until(lambda: pair.grown("started"))
    reload(pair, onprem(pair), onprem(pair, "other"))
    told = "it is the runner that is called onprem here, and can be called by one name alone"
    with pair.client() as client:
        pair.until(lambda: told in {peer.trouble for peer in client.describe().peers})
        pair.cloud.end()
        pair.cloud.start()
        pair.until(lambda: told in {peer.trouble for peer in client.describe().peers})
    (pair.folder / "go").write_text("\n")
    assert pair.finished(id).status is Status.SUCCESS
    assert pair.grown("started") == ["x"]


def test_a_peer_that_is_elsewhere_now_goes_on_with_what_it_has(pair: Pair) -> None:
    os.mkfifo(pair.folder / "go")
    id = pair.submit(shell("a", f"echo x >> {pair.folder}/started; read x < {pair.folder}/go", forward=ONPREM))
    pair.until(lambda: pair.grown("started"))
    pair.onprem.end()
    elsewhere = f"unix:{pair.folder}/elsewhere.sock"
    pair.onprem = Node(pair.folder / "onprem" / "state", elsewhere, options=["--name", "on-premises"])
    pair.onprem.start()
    reload(pair, f'[peers.onprem]\ntarget = "{elsewhere}"')
    (pair.folder / "go").write_text("\n")
    assert pair.finished(id).status is Status.SUCCESS
    assert pair.grown("started") == ["x"]


def test_a_peer_that_is_not_named_any_more_has_lost_what_it_had(pair: Pair) -> None:
    """And nothing is expected of it any more, so that its groups can be removed."""
    id = pair.submit(shell("far", f"echo $$ >> {pair.folder}/pids; sleep 1000", forward=ONPREM))
    whole = pair.submit(shell("a", f"echo $$ >> {pair.folder}/pids; sleep 1000"), forward=ONPREM)
    pair.until(lambda: len(pair.grown("pids")) == 2)
    pids = [int(pid) for pid in pair.grown("pids")]
    reload(pair, "[peers]")
    for each, task in ((id, "far"), (whole, "a")):
        end = pair.finished(each).results[task]
        assert (end.status, end.reason) == (Status.ERRORED, Reason.RUNNER_LOST)
        assert "no peer of this runner any more" in (end.error or "")
        pair.until(partial(pair.is_removed, each))
    reload(pair, onprem(pair))
    pair.until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_of_a_peer_that_was_lost_and_is_none_any_more_nothing_is_expected(impatient: Pair) -> None:
    pair = impatient
    far = shell("far", f"echo $$ >> {pair.folder}/pids; sleep 1000")
    ids = [pair.submit({**far, "forward": ONPREM}), pair.submit(far, forward=ONPREM)]
    pair.until(lambda: len(pair.grown("pids")) == 2)
    reload(pair, '[peers.onprem]\ntarget = "unix:/nowhere"', lost_after="5s")
    assert [pair.finished(id).results["far"].reason for id in ids] == [Reason.RUNNER_LOST] * 2
    assert not any(pair.is_removed(id) for id in ids), "it may come back and tell"
    reload(pair, "[peers]")
    for id in ids:
        pair.until(partial(pair.is_removed, id))


@pytest.fixture
def addressed(pair: Pair) -> tuple[Pair, str]:
    """`onprem` listens on an address as well, which `cloud` knows a pattern for."""
    address = listening(pair)
    port = address.rpartition(":")[2]
    reload(pair, f'[peers."127.0.0.*:{port}"]\ntoken_file = "{pair.folder}/token"')
    return pair, address


def test_a_document_may_name_an_address_that_a_pattern_allows(addressed: tuple[Pair, str]) -> None:
    pair, address = addressed
    result = pair.finished(pair.submit(shell("a", "true", forward={"to": address}), shell("b", "true")))
    assert (result.status, result.results["a"].runner) == (Status.SUCCESS, address)
    result = pair.finished(pair.submit(shell("a", "true"), forward={"to": address}))
    assert (result.status, result.results["a"].runner) == (Status.SUCCESS, address)


def test_an_address_that_no_pattern_allows_is_refused_in_the_document(addressed: tuple[Pair, str]) -> None:
    pair, address = addressed
    for to in ("127.0.1.1:" + address.split(":")[1], "127.0.0.1:1", "unix:/run/other.sock"):
        with pair.client() as client:
            told = client.validate(json.dumps({"taskGroup": [shell("a", "true", forward={"to": to})]}))
        assert any("this runner has no peer" in str(fault) for fault in told.faults), to
    where = {"inputs": {"to": {"default": "127.0.0.1:1"}}}
    result = pair.finished(pair.submit(shell("a", "true", forward={"to": "{{ .inputs.to }}"}), **where))
    assert result.results["a"].reason == "no_such_runner"


def test_the_next_life_finds_an_address_again(addressed: tuple[Pair, str]) -> None:
    pair, address = addressed
    for name in ("task", "group"):
        os.mkfifo(pair.folder / name)
    script = f"echo started >> {pair.folder}/started; read x < {pair.folder}/"
    ids = [
        pair.submit(shell("a", f"{script}task", forward={"to": address})),
        pair.submit(shell("a", f"{script}group"), forward={"to": address}),
    ]
    pair.until(lambda: len(pair.grown("started")) == 2)
    pair.cloud.end()
    pair.cloud.start()
    for name in ("task", "group"):
        (pair.folder / name).write_text("\n")
    assert [pair.finished(id).status for id in ids] == [Status.SUCCESS, Status.SUCCESS]
    assert len(pair.grown("started")) == 2
