"""A long-lived node for the tests that kill it: `node_process.py STATE_DIR WORKSPACE [DOCUMENT]`.

With a document it submits it and prints `accepted ID` once that is durable. It then works until no group is left and prints, a line each,
the results as JSON. Without a document it only takes up what a former node left.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from runner.config import load_settings
from runner.engine.watch import watch
from runner.node import Node, open_node
from runner.validation import load


async def main(state_dir: Path, workspace: str, document: Path | None) -> None:
    settings = load_settings(state_dir=state_dir, max_parallel=4)
    async with open_node(settings) as node:
        ids = [row.id for row in node.store.groups().rows]
        if document is not None:
            ids = [await _submit(node, document, workspace)]
        for id in ids:
            async for _ in watch(node.engine, id):
                pass
            print(json.dumps(node.engine.result(id).as_json()), flush=True)


async def _submit(node: Node, document: Path, workspace: str) -> str:
    loaded = load(document.read_bytes(), source=str(document), registry=node.registry)
    id = node.engine.submit(loaded.group, workspace=workspace)
    durable = asyncio.get_running_loop().create_future()
    node.engine.when_durable(durable.set_result)
    assert await durable is None
    print(f"accepted {id}", flush=True)
    return id


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else None))
