"""What is confidential in one attempt."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

from msgspec import Struct

from runner.masking import Masker
from runner.model.value import Bindings, Value

MOST_LISTED = 1000
"""Of a longer list only the whole is masked: to look for each would take seconds."""

PROCESS_NAME_BYTES = 15
"""As much as Linux keeps of the name of a process."""


class _Confidential(Struct, frozen=True, kw_only=True, weakref=True):
    """What is confidential in some inputs, prepared. `unmasked` are (name, text) of those that cannot be masked."""

    masker: Masker
    unmasked: Sequence[tuple[str, str]]

    @classmethod
    def of(cls, texts: Iterable[tuple[str, str]]) -> _Confidential:
        masker = Masker()
        unmasked = [(name, text) for name, text in texts if text and not masker.add(text)]
        return cls(masker=masker, unmasked=unmasked)


class GroupInputs:
    """What is confidential in the inputs of groups. All attempts of a group are given the same: it is looked at once. What another
    runner forwards is a group for each attempt, and many of them have the same: those that are there at one time share it."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Mapping[str, Value], _Confidential]] = {}
        self._shared: WeakValueDictionary[frozenset[tuple[str, str]], _Confidential] = WeakValueDictionary()
        """Nothing is kept here for longer than some group has it."""

    def masker(self, group: str, inputs: Mapping[str, Value]) -> tuple[Masker, Sequence[tuple[str, str]]]:
        """A masker of one's own with these inputs, and (name, text) of those that cannot be masked."""
        known = self._known.get(group)
        if known is None or known[0] is not inputs:
            texts = [(f"inputs.{name}", value.text) for name, value in inputs.items() if value.confidential]
            which = frozenset(texts)
            prepared = self._shared.get(which)
            if prepared is None:
                prepared = self._shared[which] = _Confidential.of(texts)
            known = self._known[group] = (inputs, prepared)
        return known[1].masker.copy(), known[1].unmasked

    def forget(self, group: str) -> None:
        self._known.pop(group, None)


class _Unmasked:
    """Confidential texts that cannot be masked. `on_skipped` is told their names, each once."""

    def __init__(self, on_skipped: Callable[[str], None]) -> None:
        self.texts: set[str] = set()
        self._on_skipped = on_skipped
        self._reported: set[str] = set()

    def skip(self, name: str, text: str) -> None:
        self.texts.add(text)
        self._tell(name)

    def refuse(self, text: str | None) -> None:
        """The task itself asked to mask `text`; None is one that is too long to be remembered."""
        if text:
            self.texts.add(text)
        self._tell("::add-mask::")

    def _tell(self, name: str) -> None:
        if name not in self._reported:
            self._reported.add(name)
            self._on_skipped(name)


class Secrets:
    """The confidential texts of one attempt. `masker` hides those that can be hidden; the others are known all the same, so
    that what equals one of them stays confidential."""

    def __init__(self, on_skipped: Callable[[str], None]) -> None:
        """`on_skipped` is told the name of a text that is too short or too common to be masked, once for each name."""
        self._unmasked = _Unmasked(on_skipped)
        self.masker = Masker()
        self.masker.on_refused = self._unmasked.refuse

    def add(self, name: str, text: str) -> None:
        if text and text not in self._unmasked.texts and not self.masker.add(text):
            self._unmasked.skip(name, text)

    def add_bindings(self, bindings: Bindings, inputs: GroupInputs) -> None:
        """Everything confidential that the attempt was given, whether its templates name it or not. To be called first."""
        self.masker, unmasked = inputs.masker(bindings.group_id, bindings.inputs)
        self.masker.on_refused = self._unmasked.refuse
        for name, text in unmasked:
            self._unmasked.skip(name, text)
        for task, variables in bindings.imports.items():
            for name, value in variables.items():
                if value.confidential:
                    self.add(f"{task}.{name}", value.text)
                    for text in _listed(value.text):
                        self.add(f"{task}.{name}", text)

    def know(self, text: str) -> None:
        """`text` is made of confidential ones, which were added: nothing has to be masked for it."""
        if not self.masker.contains(text):
            self._unmasked.texts.add(text)

    def contains(self, text: str) -> bool:
        return text in self._unmasked.texts or (self.masker.active and self.masker.contains(text))

    def mask(self, text: str) -> str:
        return self.masker.mask(text)

    def masked(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """Plain data with every text in it masked; its keys are ours. What has a `name` is a process, whose name the kernel cuts."""
        return {
            name: self.masker.mask_cut(item)
            if name == "name" and len(item.encode()) >= PROCESS_NAME_BYTES
            else self._masked(item)
            for name, item in report.items()
        }

    def _masked(self, item: Any) -> Any:
        if isinstance(item, str):
            return self.mask(item)
        if isinstance(item, Mapping):
            return self.masked(item)
        return [self._masked(part) for part in item] if isinstance(item, list | tuple) else item


def _listed(text: str) -> Sequence[str]:
    """The texts of a JSON list of texts, as the instances of a matrix export one together: each is as confidential as all."""
    if not text.startswith("[") or not text.endswith("]"):
        return ()
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    texts = [item for item in items if isinstance(item, str) and item]
    return texts if len(texts) <= MOST_LISTED else ()
