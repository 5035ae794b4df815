"""A node at work for some seconds; what is told of an hour of it."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace

from tests.soak import graph, peers, queue, verdict, watchers
from tests.soak.__main__ import soaked
from tests.soak.sampling import Sample

FLAT = Sample(
    at=0,
    node_memory=100,
    supervisor_memory=10,
    node_descriptors=50,
    supervisor_descriptors=200,
    node_threads=10,
    in_flight=100,
    finished=0,
    database=1,
    write_ahead_log=10,
    logs=1,
)


@pytest.mark.timeout(120)
async def test_groups_in_flight_for_some_seconds(tmp_path: Path) -> None:
    options = Namespace(minutes=0.1, groups=60, slots=40, life=2.0, seed=1)
    samples, load = await soaked(options, tmp_path)
    assert load.faults == []
    assert load.done["finished"] >= 100
    assert load.done["cancels"]
    assert max(sample.in_flight for sample in samples) == 60
    found = {finding.series.name: finding.flat for finding in verdict.judge(samples)}
    assert found["threads of the node"]
    assert found["descriptors of the supervisor"]


@pytest.mark.timeout(120)
async def test_a_full_queue_outlives_its_node(tmp_path: Path) -> None:
    told = await queue.fill(tmp_path, 300)
    assert told.faults == []
    assert "300 queued groups" in str(told)


@pytest.mark.timeout(120)
async def test_many_look_on_at_one_group(tmp_path: Path) -> None:
    told = await watchers.look_on(tmp_path, 500)
    assert told.faults == []
    assert "500 watchers of one group" in str(told)


@pytest.mark.timeout(120)
async def test_many_peers_at_once(tmp_path: Path) -> None:
    told = await peers.meet(tmp_path, 16, peers.Play(busy=5, each=20, seconds=1.0, idle=0.2))
    assert told.faults == []
    assert told.in_flight == 100
    assert round(told.descriptors_each) == 1, "one connection, however much there is to do"
    assert "16 peers: all are there" in str(told)


def test_what_rises_is_not_flat() -> None:
    samples = [replace(FLAT, at=second, node_memory=100 + 20 * second / 600) for second in range(600)]
    found = {finding.series.name: finding for finding in verdict.judge(samples)}
    assert {name for name, finding in found.items() if not finding.flat} == {"memory of the node"}
    assert found["memory of the node"].rise == pytest.approx(15, abs=0.1)
    assert "NOT FLAT" in str(found["memory of the node"])


def test_what_rises_while_it_warms_up_is_flat_all_the_same() -> None:
    samples = [replace(FLAT, at=second, node_memory=min(100, 20 + second)) for second in range(600)]
    assert all(finding.flat for finding in verdict.judge(samples))


def test_the_graph_is_a_picture_of_all_samples() -> None:
    samples = [replace(FLAT, at=second) for second in range(600)]
    root = ElementTree.fromstring(graph.draw(samples, "a < b"))
    lines = [line for line in root.iter() if line.tag.endswith("polyline")]
    assert len(lines) == sum(len(panel.lines) for panel in graph.PANELS)
    assert {len(line.attrib["points"].split()) for line in lines} == {600}
