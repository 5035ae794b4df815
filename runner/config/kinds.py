"""How the values of configuration keys are written: in TOML, in an environment variable or option, and back again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from runner.config import address
from runner.config.service import ANYWHERE, Rule, Scope
from runner.errors import UsageError
from runner.model import duration, fields, size
from runner.model.endpoint import Endpoint
from runner.model.fault import Faults, quote
from runner.model.fault import Path as Place

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
NAME_EXPECTED = "expected at most 128 letters, digits, '.', '_' or '-', a letter or digit first and last"

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_PEM = "-----BEGIN"
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


class Kind(Struct, frozen=True, kw_only=True):
    """The values of a key. `wanted` is what they are called in a table and in a usage line. `read` takes what TOML gives, and
    adds a fault where that is not right. `taken` makes of a text what TOML would give, and raises ValueError. `spelled`
    writes a value as TOML. `placed` makes what is relative absolute, by the folder that it is relative to. Of `is_list` commas part
    the items."""

    wanted: str
    read: fields.Reader
    taken: Callable[[str], Any] = str
    spelled: Callable[[Any], str]
    placed: Callable[[Any, Path], Any] | None = None
    is_list: bool = False


def spell_text(text: str) -> str:
    """As a TOML string. JSON's escapes are TOML's, and no text of a configuration has a DEL, which JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False)


def _spell_list(items: Iterable[str]) -> str:
    return f"[{', '.join(map(spell_text, items))}]"


def _spell_mapping(items: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{_spell_key(key)} = {spell_text(value)}' for key, value in items.items())}}}"


def _spell_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else spell_text(key)


def _spell_size(number: int) -> str:
    text = size.spell(number)
    return text if text.isdigit() else spell_text(text)


def split(text: str) -> list[str]:
    """What commas part, without the blanks around it."""
    return [item for item in (part.strip() for part in text.split(",")) if item]


def _taken_number(least: int, most: int, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValueError(f"expected a whole number from {least} to {most}, found {quote(text)}")
    return int(text)


def _taken_flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise ValueError(f"expected true or false, found {quote(text)}")
    return _FLAGS[text.lower()]


def _taken_mapping(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in split(text):
        key, sign, value = item.partition("=")
        if not sign:
            raise ValueError(f"expected KEY=VALUE, with commas between several, found {quote(item)}")
        if key in pairs:
            raise ValueError(f"{quote(key)} is given twice")
        pairs[key] = value
    return pairs


def _taken_toml(example: str, text: str) -> Any:
    import tomllib  # takes 10 ms, and few need it

    try:
        return tomllib.loads(f"x = {text}")["x"]
    except (ValueError, RecursionError) as error:
        raise ValueError(f"this is no TOML value such as {example}: {error}") from None


def _name(faults: Faults, path: Place, value: Any) -> str:
    read = fields.text(faults, path, value)
    if isinstance(value, str) and not NAME.fullmatch(read):
        faults.add(path, f"{quote(read)} is not a name: {NAME_EXPECTED}")
    return read


def _seconds(faults: Faults, path: Place, value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return fields.seconds(faults, path, str(value) if number else value)


def _at_least(least: float, faults: Faults, path: Place, value: Any) -> float:
    before = len(faults)
    seconds = _seconds(faults, path, value)
    if seconds < least and len(faults) == before:
        faults.add(path, f"{quote(str(value))}: expected {duration.spell(least)} or more")
    return seconds


def _bytes(least: int, most: int, zero: bool, faults: Faults, path: Place, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        fields.expected(faults, path, size.EXAMPLES, value)
        return least
    try:
        number = size.parse(str(value))
    except ValueError as error:
        faults.add(path, f"{quote(str(value))}: {error}")
        return least
    if not least <= number <= most and not (zero and number == 0):
        bounds = (
            f"from {size.spell(least)} to {size.spell(most)}"
            if most < size.LARGEST_BYTES
            else f"of at least {size.spell(least)}"
        )
        faults.add(path, f"expected a size {bounds}{', or 0 for no limit' if zero else ''}")
    return number


def _path(faults: Faults, path: Place, value: Any) -> Path:
    if not isinstance(value, str):
        fields.expected(faults, path, "a path", value)
    elif _PEM in value:
        faults.add(path, "expected the path of a file, and not what stands in it")
    elif not value or not value.isprintable():
        faults.add(path, "expected a path of printable characters")
    elif value.startswith("~"):
        faults.add(path, f"{quote(value)}: ~ has no meaning here", hint="write the folder that is meant")
    else:
        return Path(value)
    return Path()


def _url(example: str, faults: Faults, path: Place, value: Any) -> str:
    text = fields.one_line(faults, path, value)
    if not isinstance(value, str) or not text:
        if text == "" and isinstance(value, str):
            faults.add(path, "must not be empty")
        return text
    try:
        parts = urlsplit(text)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not right or not text.isascii() or any(char.isspace() for char in text):
        faults.add(path, f"{quote(text)} is no URL; expected one such as {example}")
    elif parts.username is not None or parts.password is not None:
        faults.add(path, "a URL must not have a user or a password in it: others may read it")
    elif parts.fragment:
        faults.add(path, f"{quote(text)}: what stands behind '#' is never sent; leave it away")
    return text


def _origin(faults: Faults, path: Place, value: Any) -> str:
    """A URL of a host and a port."""
    text = _url("http://127.0.0.1:4317", faults, path, value)
    if text.partition("://")[2].rstrip("/").count("/") or "?" in text:
        faults.add(path, f"{quote(text)}: expected nothing behind the host and the port")
    return text


def _word(words: Sequence[str], faults: Faults, path: Place, value: Any) -> str:
    if not isinstance(value, str):
        fields.expected(faults, path, fields.alternatives(list(words)), value)
    elif value not in words:
        hint = faults.nearest(value, words)
        faults.add(path, f"expected {fields.alternatives(list(words))}, found {quote(value)}", hint=hint)
    return str(value)


def _texts(faults: Faults, path: Place, value: Any) -> tuple[str, ...]:
    """One that is not empty, all on one line each."""
    read = []
    for here, item in fields.items(faults, path, value, "a list of texts"):
        read.append(fields.one_line(faults, here, item))
        if item == "":
            faults.add(here, "must not be empty")
    return tuple(read)


def _mapping(faults: Faults, path: Place, value: Any) -> dict[str, str]:
    read = {}
    for key, item in fields.mapping(faults, path, value, '{site = "eu"}').items():
        if not key or not key.isprintable() or len(key) > 256:
            faults.add((*path, key), "expected a name of at most 256 printable characters", about_key=True)
        read[key] = fields.one_line(faults, (*path, key), item)
    return read


def _addresses(faults: Faults, path: Place, value: Any) -> tuple[address.Address, ...]:
    read = []
    for here, item in fields.items(faults, path, value, 'a list such as ["127.0.0.1:7070"]'):
        text = fields.text(faults, here, item)
        try:
            read.append(address.parse(text))
        except ValueError as error:
            if isinstance(item, str):
                faults.add(here, f"{quote(text)}: {error}")
    return tuple(read)


def _scopes(faults: Faults, path: Place, value: Any) -> frozenset[Scope]:
    reader = fields.choice(Scope)
    return frozenset(reader(faults, here, item) for here, item in fields.items(faults, path, value, "a list of scopes"))


_RULE: fields.Readers = {
    "callers": ("callers", _texts),
    "scopes": ("scopes", _scopes),
    "types": ("types", _texts),
    "users": ("users", _texts),
    "targets": ("targets", _texts),
    "on_behalf_of": ("on_behalf_of", _texts),
}


_PEER: fields.Readers = {
    "target": ("target", fields.one_line),
    "ca": ("ca", fields.one_line),
    "certificate": ("certificate", fields.one_line),
    "key": ("key", fields.one_line),
    "server_name": ("server_name", fields.one_line),
    "token_file": ("token_file", fields.one_line),
    "insecure": ("insecure", fields.flag),
}
_PEERS_EXAMPLE = '{onprem-1 = {target = "host:8443"}}'
_RULES_EXAMPLE = '[{callers = ["ci-*"], scopes = ["submit", "read"]}]'
PEER_FILES = ("ca", "certificate", "key", "token_file")
"""Which of its keys name files."""


def _rules(faults: Faults, path: Place, value: Any) -> tuple[Rule, ...]:
    read = []
    for here, item in fields.items(faults, path, value, "a list of mappings ([[rules]])"):
        given = fields.record(faults, here, fields.mapping(faults, here, item), _RULE)
        if fields.require(faults, here, given, callers="callers", scopes="scopes"):
            read.append(Rule(**given))
    if value == []:
        faults.add(path, "there must be one rule at least", hint="leave it out for the default")
    return tuple(read)


def _spell_rules(rules: Iterable[Rule]) -> str:
    return f"[{', '.join('{' + ', '.join(spell_rule(rule)) + '}' for rule in rules)}]"


def spell_rule(rule: Rule) -> list[str]:
    """Its keys and values, each as TOML."""
    scopes = [scope.value for scope in Scope if scope in rule.scopes]
    parts: dict[str, Iterable[str]] = {
        "callers": rule.callers,
        "scopes": scopes,
        "types": rule.types,
        "users": rule.users,
    }
    if rule.targets != ANYWHERE:
        parts["targets"] = rule.targets
    if Scope.DISPATCH in rule.scopes:
        parts["on_behalf_of"] = rule.on_behalf_of
    return [f"{name} = {_spell_list(items)}" for name, items in parts.items()]


def _peers(faults: Faults, path: Place, value: Any) -> dict[str, Endpoint]:
    read = {}
    for name, item in fields.mapping(faults, path, value, _PEERS_EXAMPLE).items():
        here = (*path, name)
        is_pattern = ":" in name
        if not is_pattern and not NAME.fullmatch(name):
            faults.add(here, f"{quote(name)} is no name of a runner: {NAME_EXPECTED}", about_key=True)
        given = fields.record(faults, here, fields.mapping(faults, here, item, '{target = "host:8443"}'), _PEER)
        if is_pattern and "target" in given:
            faults.add(
                (*here, "target"), f"{quote(name)} stands for addresses itself, so it has no target; leave it away"
            )
            continue
        if isinstance(item, dict) and (is_pattern or fields.require(faults, here, given, target="target")):
            endpoint = Endpoint(**{"target": name, **given})
            try:
                read[name] = endpoint.checked()
            except UsageError as error:
                faults.add(here, error.message)
    return read


def _spell_peers(peers: Mapping[str, Endpoint]) -> str:
    return f"{{{', '.join(f'{_spell_key(name)} = {_spell_peer(name, peer)}' for name, peer in peers.items())}}}"


def _spell_peer(name: str, peer: Endpoint) -> str:
    given = {key: value for key in _PEER if (value := getattr(peer, key)) not in (None, False)}
    if ":" in name:  # which is its target
        del given["target"]
    parts = (f"{key} = {'true' if value is True else spell_text(value)}" for key, value in given.items())
    return f"{{{', '.join(parts)}}}"


def _placed_peers(peers: Mapping[str, Endpoint], folder: Path) -> dict[str, Endpoint]:
    return {
        name: replace(
            peer, **{key: str(folder / path) for key in PEER_FILES if (path := getattr(peer, key)) is not None}
        )
        for name, peer in peers.items()
    }


def _placed_path(path: Path, folder: Path) -> Path:
    return folder / path


def _placed_addresses(addresses: Iterable[address.Address], folder: Path) -> tuple[str, ...]:
    return tuple(
        str(address.Address(path=_placed_path(item.path, folder)) if item.path is not None else item)
        for item in addresses
    )


FLAG = Kind(
    wanted="true or false", read=fields.flag, taken=_taken_flag, spelled=lambda flag: "true" if flag else "false"
)
RUNNER_NAME = Kind(wanted="name", read=_name, spelled=spell_text)
DURATION = Kind(wanted="duration", read=_seconds, spelled=lambda seconds: spell_text(duration.spell(seconds)))
PATH = Kind(wanted="path", read=_path, spelled=lambda path: spell_text(str(path)), placed=_placed_path)
LABELS = Kind(wanted="labels", read=_mapping, taken=_taken_mapping, spelled=_spell_mapping)
URL = Kind(wanted="URL", read=partial(_url, "https://example.org/hook"), spelled=spell_text)
ORIGIN = Kind(wanted="URL", read=_origin, spelled=spell_text)
ADDRESSES = Kind(
    wanted="addresses", read=_addresses, taken=split, spelled=_spell_list, placed=_placed_addresses, is_list=True
)
PEERS = Kind(
    wanted="peers", read=_peers, taken=partial(_taken_toml, _PEERS_EXAMPLE), spelled=_spell_peers, placed=_placed_peers
)
RULES = Kind(wanted="rules", read=_rules, taken=partial(_taken_toml, _RULES_EXAMPLE), spelled=_spell_rules)


def lasting(least: float) -> Kind:
    """A duration of so many seconds or more."""
    return replace(DURATION, read=partial(_at_least, least))


def number(least: int, most: int) -> Kind:
    taken = partial(_taken_number, least, most)
    return Kind(wanted="number", read=fields.whole_number(least, most), taken=taken, spelled=str)


def data_size(least: int, most: int = size.LARGEST_BYTES, *, zero: bool = False) -> Kind:
    """`zero`: 0 is allowed, and is no limit."""
    return Kind(wanted="size", read=partial(_bytes, least, most, zero), spelled=_spell_size)


def word(*words: str) -> Kind:
    return Kind(wanted=" or ".join(words), read=partial(_word, words), spelled=spell_text)
