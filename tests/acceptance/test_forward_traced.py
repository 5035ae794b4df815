"""One trace across two nodes: who looks at a task that another node carries out finds the way up to whose group it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.model.result import Status
from tests.acceptance.command import shell
from tests.acceptance.mortal import Node
from tests.acceptance.test_forward import ONPREM, Pair
from tests.collector import Collector, collecting, told


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[tuple[Pair, Collector]]:
    pair = Pair(tmp_path)
    with collecting() as collector:
        environment = {"RUNNER_TRACING_ENDPOINT": f"http://{collector.address}"}
        for name in ("cloud", "onprem"):
            config = tmp_path / name / "runner.toml"
            config.touch()
            options = ["--config", str(config), *(["--name", "on-premises"] if name == "onprem" else [])]
            setattr(pair, name, Node(tmp_path / name / "state", options=options, environment=environment))
        pair.onprem.start()
        pair.cloud.start()
        pair.until(lambda: pair.has_said("peer_back"))
        yield pair, collector
        pair.cloud.remove()
        pair.onprem.remove()


def way_up(spans: dict[bytes, Any], span: Any) -> list[str]:
    names = [span.name]
    while (span := spans.get(span.parent_span_id)) is not None:
        names.append(span.name)
    return names


def test_the_way_up_leads_through_both_nodes(traced: tuple[Pair, Collector]) -> None:
    pair, collector = traced
    print_parent = 'printf "%s\\n" "$TRACEPARENT"'
    one = pair.submit(shell("single", print_parent, forward=ONPREM), name="one")
    whole = pair.submit(shell("inside", print_parent), name="whole", forward=ONPREM)
    assert {pair.finished(id).status for id in (one, whole)} == {Status.SUCCESS}

    def there() -> list[Any]:
        """What the other node has told of the attempts that it ran itself."""
        return [span for span in collector.spans if told(span).get("runner.name") == "on-premises"]

    pair.until(lambda: {span.name for span in there()} == {"single", "inside"})
    pair.until(lambda: {"one", "whole", "on onprem"} <= {span.name for span in collector.spans})
    spans = {span.span_id: span for span in collector.spans}
    ways = {span.name: way_up(spans, span) for span in there()}
    assert ways == {"single": ["single", "one", "single", "one"], "inside": ["inside", "whole", "on onprem", "whole"]}
    for span in there():
        id = one if span.name == "single" else whole
        assert pair.log(id, span.name).decode() == f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01\n"
    assert len({span.trace_id for span in collector.spans}) == 2
