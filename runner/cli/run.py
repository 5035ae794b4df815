"""`runner run FILE`: carry a task group out here, now, and show it."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser, Namespace
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runner import workspace
from runner.cli import given
from runner.cli.document import STDIN, checked_document, read_file, source_name
from runner.cli.inputs import add_input_arguments, check_standard_input, read_inputs
from runner.cli.options import add_pause_argument, filled, filled_path, positive, settings_of
from runner.cli.report import headline
from runner.cli.terminal import complain
from runner.cli.view import Outlets, Shown, add_progress_argument, announced
from runner.model.inputs import bind_inputs

if TYPE_CHECKING:
    from runner.cli.here import MakeInterrupts
    from runner.node import Node


def run(options: Namespace) -> int:
    if options.watch or options.watch_path:
        from runner.cli import onchange  # not for those who run once

        onchange.check(options)
        return onchange.Rounds(partial(run_once, options), options).run()
    return run_once(options)


def run_once(options: Namespace, interrupts: MakeInterrupts | None = None) -> int:
    settings = settings_of(options)
    check_standard_input(options)
    data = read_file(options.file)
    with announced(f"reading {source_name(options.file)} …", options):
        from runner.tasktypes import registry  # what checks a document takes as long to import as all before it
        from runner.validation.forwarding import without_peers

        loaded = checked_document(options.file, data, registry(settings), without_peers)
    for warning in loaded.warnings:
        complain(str(warning))
    group = given.changed(loaded.group, options)
    inputs = read_inputs(group.inputs, options.set, options.set_secret, options.input_file)
    group = replace(group, id=options.id or (None if options.watch or options.watch_path else group.id))
    if options.dry_run:
        from runner.cli import dryrun  # not for those who mean it

        return dryrun.show(group, inputs, settings, options)
    group = replace(group, id=group.id or secrets.token_hex(8))
    folder = None if options.isolated else workspace.current()
    assert group.id is not None
    bind_inputs(group, inputs)  # what is missing is told before a run is
    outlets = Outlets.of(options, headline(group.name, len(group.tasks), group.id))
    outlets.begin()
    from runner.cli import ending, here  # behind the first line, which does not have to wait for them
    from runner.runs.source import Source

    def begin(node: Node, workspace: str) -> str:
        nonlocal data
        id = node.engine.submit(
            group, inputs, caller=here.CALLER, workspace=workspace, traceparent=settings.traceparent,
            pause_on_failure=options.pause_on_failure,
        )  # fmt: skip
        if options.file != STDIN and (source := Source.of(options.file, data, node.sealer)) is not None:
            source.keep(run_dir)
        data = b""  # it may be large, and the run has no use for it
        return id

    with here.new_run_dir(settings, group.id) as run_dir:
        # In the run's own folder a run that is taken up again finds it, and none that was killed leaves one elsewhere.
        folder = folder or run_dir / "workspace"
        shown = Shown.of(group.tasks)
        return ending.run(here.carry_out(begin, shown, outlets, folder, run_dir, settings, options, interrupts))


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the task group, YAML or JSON; - for standard input")
    add_input_arguments(parser)
    given.add_arguments(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would run, in which order and with what, and start nothing"
    )
    parser.add_argument(
        "--watch", action="store_true", help="run again when the document, or a file that was named with it, changes"
    )
    parser.add_argument(
        "--watch-path", metavar="PATTERN", action="append", default=[], type=filled,
        help="and when a file changes that this names, e.g. 'src/**/*.py'; may be repeated",
    )  # fmt: skip
    add_pause_argument(parser)
    parser.add_argument("--quiet", action="store_true", help="show nothing but the result")
    add_progress_argument(parser)
    parser.add_argument(
        "--output", choices=("text", "json"), default="text", help="json: the result alone on stdout, logs on stderr"
    )
    parser.add_argument("--reveal", action="store_true", help="show confidential outputs in the result")
    parser.add_argument(
        "--isolated", action="store_true", help="work in a fresh folder, removed afterwards, not in the current one"
    )
    parser.add_argument(
        "--keep-workspace", action="store_true", help="with --isolated: leave the folder there, and say where it is"
    )
    parser.add_argument(
        "--max-parallel", metavar="N", type=positive, help="how many tasks may run at once (default: 4 a core)"
    )
    parser.add_argument(
        "--id", metavar="ID", help="name this run; the same id again goes on with a run that was killed"
    )
    parser.add_argument(
        "--state-dir", metavar="DIR", type=filled_path, help="where runs are kept (default: ~/.local/state/runner)"
    )
