"""Options that several commands share."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace

from runner.config import Settings, load_settings


def settings_of(options: Namespace) -> Settings:
    """The settings of this process with what the command line says about them."""
    return load_settings(
        state_dir=getattr(options, "state_dir", None), max_parallel=getattr(options, "max_parallel", None)
    )


def positive(text: str) -> int:
    """A whole number from 1, for argparse."""
    if not text.isascii() or not text.isdigit() or len(text) > 6 or int(text) == 0:
        raise ArgumentTypeError(f"{text!r} is no whole number from 1 to 999999")
    return int(text)
