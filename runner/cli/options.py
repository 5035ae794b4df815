"""Options that several commands share."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path

from runner.config import Configuration, Settings, load_configuration, load_settings, load_state_dir
from runner.config.keys import NODE_KEYS, Key
from runner.config.kinds import FLAG
from runner.model import duration

_OF_KEY = "of key "
"""What the attributes of options that set keys begin with, so that they cannot meet others."""


def settings_of(options: Namespace) -> Settings:
    """The settings of this process with what the command line says about them."""
    return load_settings(
        state_dir=getattr(options, "state_dir", None), max_parallel=getattr(options, "max_parallel", None)
    )


def add_configuration_options(parser: ArgumentParser, keys: Sequence[Key] = NODE_KEYS) -> None:
    """What a node that serves can be told on the command line, of these keys; to be read with `configuration_of`."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="the configuration (default: $RUNNER_CONFIG, runner.toml in the state directory, /etc/runner/runner.toml)",
    )
    for key in keys:
        if not key.option:
            continue
        help_text = key.about.replace("`", "")
        if key.kind is FLAG:
            parser.add_argument(key.flag, dest=_OF_KEY + key.name, action="append_const", const="true", help=help_text)
        else:
            metavar = key.kind.wanted.upper() if " " not in key.kind.wanted else key.kind.wanted.replace(" or ", "|")
            parser.add_argument(key.flag, dest=_OF_KEY + key.name, action="append", metavar=metavar, help=help_text)


def configuration_of(options: Namespace) -> Configuration:
    """What a node is told by all that there is. Raises ConfigurationError, UsageError."""
    return load_configuration(file=options.config, options=_given(options))


def node_state_dir_of(options: Namespace) -> Path:
    """Where the node of the same options keeps its state. Raises ConfigurationError, UsageError."""
    options.state_dir = load_state_dir(
        file=options.config, options=_given(options)
    )  # where details are kept from here on
    return Path(options.state_dir)


def _given(options: Namespace) -> dict[str, list[str]]:
    """What the command line says about keys, by their names."""
    return {
        name.removeprefix(_OF_KEY): texts
        for name, texts in vars(options).items()
        if name.startswith(_OF_KEY) and texts is not None
    }


def filled(text: str) -> str:
    """A text, for argparse. An empty one is mostly a variable of a script that is not set: to take it for an option that was left
    away would mean another place."""
    if not text:
        raise ArgumentTypeError("it is empty: give it a value, or leave the option away")
    return text


def filled_path(text: str) -> Path:
    """A path, likewise."""
    return Path(filled(text))


def positive(text: str) -> int:
    """A whole number from 1, for argparse."""
    if not text.isascii() or not text.isdigit() or len(text) > 6 or int(text) == 0:
        raise ArgumentTypeError(f"{text!r} is no whole number from 1 to 999999")
    return int(text)


def span(text: str) -> float:
    """A duration in seconds, for argparse."""
    try:
        seconds = duration.parse(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r}: {error}") from None
    if seconds <= 0:
        raise ArgumentTypeError(f"{text!r}: must be more than nothing")
    return seconds


def label(text: str) -> tuple[str, str]:
    """`KEY=VALUE`, or `KEY` with the empty text, for argparse."""
    key, _, value = text.partition("=")
    if not key:
        raise ArgumentTypeError(f"{text!r} is no label: expected KEY=VALUE")
    return key, value


def add_workspace_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--workspace", metavar="DIR", type=Path, help="send this folder along to the node, for the tasks to work in"
    )
    parser.add_argument(
        "--exclude",
        metavar="PATTERN",
        action="append",
        default=[],
        help="leave out of it what has such a name (*.o, node_modules) or path (build/tmp)",
    )


def add_output_argument(parser: ArgumentParser, what: str) -> None:
    """`what` is what JSON gives."""
    parser.add_argument("--output", choices=("text", "json"), default="text", help=f"json: {what}")


def add_pause_argument(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--pause-on-failure",
        action="store_true",
        help="when a task has failed for good, begin nothing more until you say what follows: with a key, or with `runner signal`",
    )
