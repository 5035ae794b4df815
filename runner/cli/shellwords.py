"""The words of a line that somebody is writing in a shell. Nothing is expanded, and a quote may still be open."""

from __future__ import annotations

_BLANKS = " \t\n"


def split_open(text: str) -> tuple[list[str], str]:
    """The words of `text`, and the one that it ends in, which is empty behind a blank."""
    words: list[str] = []
    word: list[str] | None = None
    quote = ""
    letters = iter(text)
    for letter in letters:
        if quote and letter == quote:
            quote = ""
        elif not quote and letter in _BLANKS:
            if word is not None:
                words.append("".join(word))
            word = None
        elif not quote and letter in "'\"":
            quote, word = letter, word or []
        elif letter == "\\" and quote != "'":
            following = next(letters, "")
            kept = letter if quote and following not in '"\\$`' else ""
            word = [*(word or []), kept + following]
        else:
            word = word or []
            word.append(letter)
    return words, "".join(word or [])


def rest(text: str) -> list[str]:
    """The words of `text`, which stands behind the cursor: without the end of the word that the cursor is in."""
    words, last = split_open(text)
    found = [*words, *([last] if last else [])]
    return found if text[:1] in ("", *_BLANKS) else found[1:]
