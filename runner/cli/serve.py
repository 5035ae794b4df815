"""`runner serve`: a node that takes task groups from those who may submit them, until it is asked to end."""

from __future__ import annotations

import logging
import os
import sys
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from runner.cli import ending
from runner.cli.commands import FAILED, REFUSALS, REFUSED
from runner.cli.details import Details
from runner.cli.options import add_configuration_options, configuration_of
from runner.cli.terminal import STDERR
from runner.config import Configuration, machine
from runner.errors import RunnerError
from runner.serving.records import Format, Records

_log = logging.getLogger(__name__)


def run(options: Namespace) -> int:
    """0 when it was asked to end, 1 when it could not go on, 2 when it was refused, 130 when it was asked to end at once."""
    configuration = configuration_of(options)
    options.state_dir = configuration.settings.state_dir  # where details are kept from here on
    form: Format = "json" if _wants_json(configuration) else "text"
    with _recorded(Records(STDERR, form, Details(options).keep), configuration.log_level) as records:
        try:
            ending.run(_serve(configuration, options, records), _tell_left)
        except RunnerError as error:
            if form == "text":
                raise
            _log.error("%s", error.message, extra={"action": "node_failed"})
            return REFUSED if isinstance(error, REFUSALS) else FAILED
    return 0


async def _serve(configuration: Configuration, options: Namespace, records: Records) -> None:
    machine.silence_grpc()
    from runner.serving.life import live  # which imports gRPC

    await live(configuration, load=partial(configuration_of, options), last_words=records.close)


def _tell_left(message: str) -> None:
    _log.error("%s", message, extra={"action": "left_behind"})


def _wants_json(configuration: Configuration) -> bool:
    return configuration.log_format == "json" or (configuration.log_format == "auto" and not os.isatty(STDERR))


@contextmanager
def _recorded(records: Records, level: str) -> Iterator[Records]:
    """All that is said goes to `records`."""
    logging.basicConfig(handlers=[records], level=level.upper(), force=True)
    logging.captureWarnings(True)
    # What it has to tell reaches us as errors of calls.
    logging.getLogger("grpc").setLevel(logging.CRITICAL)
    threading.excepthook = lambda lost: _log.error("a thread has failed", exc_info=lost.exc_value)
    sys.unraisablehook = lambda lost: _log.error("an error was lost", exc_info=lost.exc_value)
    try:
        yield records
    finally:
        logging.getLogger().removeHandler(records)
        records.close()


def add_arguments(parser: ArgumentParser) -> None:
    add_configuration_options(parser)
