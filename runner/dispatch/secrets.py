"""What is confidential in one attempt."""

from __future__ import annotations

from collections.abc import Callable

from runner.masking import Masker
from runner.model.value import Bindings


class Secrets:
    """The confidential texts of one attempt. `masker` hides those that can be hidden; the others are known all the same, so
    that what equals one of them stays confidential."""

    def __init__(self, on_skipped: Callable[[str], None]) -> None:
        """`on_skipped` is told the name of a text that is too short or too common to be masked, once for each name."""
        self.masker = Masker()
        self._on_skipped = on_skipped
        self._unmasked: set[str] = set()
        self._reported: set[str] = set()

    def add(self, name: str, text: str) -> None:
        if not text or text in self._unmasked or self.masker.add(text):
            return
        self._unmasked.add(text)
        if name not in self._reported:
            self._reported.add(name)
            self._on_skipped(name)

    def add_bindings(self, bindings: Bindings) -> None:
        """Everything confidential that the attempt was given, whether its templates name it or not."""
        for task, variables in bindings.imports.items():
            for name, value in variables.items():
                if value.confidential:
                    self.add(f"{task}.{name}", value.text)
        for name, value in bindings.inputs.items():
            if value.confidential:
                self.add(f"inputs.{name}", value.text)

    def know(self, text: str) -> None:
        """`text` is made of confidential ones, which were added: nothing has to be masked for it."""
        if not self.masker.contains(text):
            self._unmasked.add(text)

    def contains(self, text: str) -> bool:
        return text in self._unmasked or (self.masker.active and self.masker.contains(text))

    def mask(self, text: str) -> str:
        return self.masker.mask(text)
