"""How a command says what is wrong with a document."""

from __future__ import annotations

from runner.errors import DocumentError, UsageError

MAX_SHOWN = 100


def told(error: DocumentError | UsageError) -> str:
    """What is wrong with what a person has written."""
    return refusal(error) if isinstance(error, DocumentError) else error.message


def refusal(error: DocumentError) -> str:
    """A line for each fault, of very many the first."""
    shown = [str(fault) for fault in error.faults[:MAX_SHOWN]]
    more = len(error.faults) - len(shown)
    return "\n".join(["the document was refused:", *shown, *([f"… and {more} more"] if more else [])])
