"""The protocol between a runner and its supervisor, version 2.

A unix stream socket carries messages in both directions: four bytes of length (big endian), then one JSON object.
Requests have `op` and `id`, replies the same `id`; notices have `op` alone. Descriptors travel beside the bytes
(SCM_RIGHTS), never later than the first byte of the message that they belong to and in the order of those messages.

    hello   {protocol}                               → {protocol, incarnation, epoch, pid, boot_id, containment}
    spawn   {key, argv, env, cwd, timeout, grace}    → {pid, started_at, exit, ends} | {code, error}
    attach  {key}                                    → the same as spawn, {} when the key is unknown
    signal  {key, signal: pause | start | destroy}   → {}
    stop    {key, grace}                             → {}
    forget  {key}                                    → {} once the process is gone; no reply when `id` is null
    list    {}                                       → {keys}
    synchronise {}                                   → {} when all that was asked before is done
    consume {key, stream, position, taken}           no reply: all up to `position` is kept; `taken`: it was read, not copied

`spawn` may also have `stdin` (a text; else /dev/null), `user` ([uid, gid, [supplementary groups]]) and `limits` ({memory (bytes),
nofile, nice, oom_score_adj}, any of them); a key that a supervisor does not know is refused with 125. With `terminal` somebody converses with
the process: [rows, columns] gives it a terminal, [] pipes. What it writes is not kept, it is hung up (SIGHUP) before it is stopped,
and it is stopped when the connection ends.

An answer to `spawn` or `attach` may be held back for two milliseconds: of a process that ends meanwhile, and has written
nothing, it tells the end too, and no `exit` follows.

`exit` is null while the process runs, else its exit record: {exit_code, signal, cause, started_at, finished_at, kill}.
`kill` is null where nothing was killed, else {signals: [[name, seconds after the stop began, or after the end of a process
that was not stopped]], containment, leftovers: how many others were killed one by one, left: [{pid, name, state}],
survivors: how many, where that is known}. `containment` of a hello begins with `cgroup2` or `marker`, and may say why.
`ends`: how much the process has written, by stream (0 stdout, 1 stderr), once it has ended; null where that is not known,
because somebody else holds the pipe.

Notices of the supervisor, all but the last for a process that this connection spawned or attached:

    output  {key, stream, at, fd?}   the pipe holds something from position `at` on; answered by a `consume`. With `fd` its read
                                     end comes along. What `consume` does not name stays in the pipe
    exit    {key, exit, ends}        behind the `output` of what was written last
    ended   {key, stream, end}       for an end that was null
    terminal {key, fd}               right behind the answer to a `spawn` that asked for it: the terminal, or in three of these the other
                                     ends of stdin, stdout and stderr
    refused {reason, error}          just before the connection is closed; reasons are `superseded`, `locked`, `protocol`,
                                     `bad_request`, `cannot_serve`

Times are in seconds, points in time in seconds since the epoch.
"""

from __future__ import annotations

import json
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to import, and the start of this program is waited for
    from collections.abc import Callable, Iterable
    from typing import Any

PROTOCOL = 2
LONGEST_MESSAGE_BYTES = 16 << 20
FIRST_CONNECTION_FD = 3
SOCKET_NAME = "supervisor.sock"
LOCK_NAME = "supervisor.lock"

_HEADER = struct.Struct("!I")
_encoder = json.JSONEncoder(separators=(",", ":"), check_circular=False)


_decode = json.JSONDecoder().raw_decode


def _parts_of() -> Callable[[object, int], Iterable[str]]:
    """What `JSONEncoder.encode` calls, made once: to make it anew for each message takes longer than the message."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # an interpreter without the accelerator
        return lambda message, level: _encoder.iterencode(message)
    quoted = json.encoder.encode_basestring_ascii
    made: Callable[[object, int], Iterable[str]] = make(
        None, _encoder.default, quoted, None, _encoder.key_separator, _encoder.item_separator, False, False, True
    )
    return made


_parts = _parts_of()


class WireError(ValueError):
    """What arrived is not this protocol."""


def encode(message: dict[str, Any]) -> bytes:
    return framed("".join(_parts(message, 0)).encode("ascii"))


def framed(body: bytes) -> bytes:
    """A message whose JSON was made by somebody else."""
    return _HEADER.pack(len(body)) + body


class Decoder:
    """Cuts a stream of bytes into messages."""

    def __init__(self, from_json: Callable[[bytes], Any] | None = None) -> None:
        """`from_json` in place of the standard library's; it raises ValueError for what is no JSON."""
        self._from_json = from_json or _from_json
        self._buffer = bytearray()
        self._wanted = 4
        """How many bytes must be there before another message can be complete."""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The messages that `data` completes. Raises WireError."""
        buffer = self._buffer
        buffer += data
        messages: list[dict[str, Any]] = []
        at = 0
        while len(buffer) - at >= self._wanted:
            (length,) = _HEADER.unpack_from(buffer, at)
            if length > LONGEST_MESSAGE_BYTES:
                raise WireError(f"a message of {length} bytes; at most {LONGEST_MESSAGE_BYTES} are allowed")
            end = at + 4 + length
            if end > len(buffer):
                self._wanted = 4 + length
                break
            messages.append(self._message(bytes(buffer[at + 4 : end])))
            at = end
            self._wanted = 4
        del buffer[:at]
        return messages

    def _message(self, body: bytes) -> dict[str, Any]:
        try:
            message = self._from_json(body)
        except (ValueError, RecursionError) as error:
            raise WireError(f"a message is not JSON: {error}") from None
        if not isinstance(message, dict):
            raise WireError("a message is not an object")
        return message


def _from_json(body: bytes) -> Any:
    """What `JSONDecoder.decode` does, but for the blanks around a value, which nobody sends."""
    text = body.decode()
    value, end = _decode(text)
    if end != len(text):
        raise ValueError(f"something follows it, at character {end}")
    return value
