"""What this process is told: `runner run` by its environment, a node that serves by its file too."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from runner.config import address, kinds, machine
from runner.config.keys import NODE_KEYS, RUN_KEYS, STATE_DIR
from runner.config.reading import Layers, Reading, Value, find_file, read, slips, state_dir_of
from runner.config.service import Limits, Metrics, Retention, Service, Tls, Tracing, Webhook
from runner.config.settings import LogFormat, LogLevel, Settings
from runner.model.fault import Fault

BASE_ENV_NAMES = ("PATH", "HOME", "LANG", "TZ")
"""What a task sees of the runner's own environment."""

MEMORY_FOLDER = "/dev/shm"
MEMORY_FOLDER_OF_ROOT = "/run"


class Configuration(Struct, frozen=True, kw_only=True):
    """All that a node which serves is told. `file` is what was read, None for none. `values` has every key by its name, with where
    it comes from."""

    settings: Settings
    service: Service
    log_format: LogFormat
    log_level: LogLevel
    file: Path | None
    values: Mapping[str, Value]
    warnings: Sequence[Fault] = ()


def load_settings(
    environ: Mapping[str, str] | None = None, *, state_dir: Path | None = None, max_parallel: int | None = None
) -> Settings:
    """The settings of this process; what is given here wins over what the environment says. No file is read. Raises
    ConfigurationError, UsageError."""
    if environ is None:
        environ = os.environ
    given = {"state_dir": state_dir, "max_parallel": max_parallel}
    reading = read([key for key in RUN_KEYS if given.get(key.name) is None], Layers(environ=environ))
    reading.finish()
    return _settings(reading, environ, {name: value for name, value in given.items() if value is not None})


def load_configuration(
    environ: Mapping[str, str] | None = None,
    *,
    file: Path | None = None,
    options: Mapping[str, Sequence[str]] | None = None,
) -> Configuration:
    """What a node that serves is told. `file` is what `--config` names, `options` has what the command line says about keys, as
    texts by their names. Raises ConfigurationError with every fault, UsageError."""
    if environ is None:
        environ = os.environ
    layers = _layers(environ, file, options)
    reading = read(NODE_KEYS, layers)
    reading.faults += slips((*NODE_KEYS, *RUN_KEYS), environ)
    _check_tls(reading)
    _check_plain_text(reading)
    _check_outgoing(reading)
    _check_peers(reading)
    warnings = reading.finish()
    values = {name: found.value for name, found in reading.values.items()}
    return Configuration(
        settings=_settings(reading, environ, {}),
        service=_service(values),
        log_format=values["log_format"],
        log_level=values["log_level"],
        file=layers.file,
        values=reading.values,
        warnings=warnings,
    )


def load_state_dir(
    environ: Mapping[str, str] | None = None,
    *,
    file: Path | None = None,
    options: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Where the node that would be told the same keeps its state, absolute. The files that its configuration names need not be
    there: what is asked for may be about to make them. Raises ConfigurationError, UsageError."""
    reading = read(NODE_KEYS, _layers(os.environ if environ is None else environ, file, options))
    reading.finish()
    return Path(reading.values[STATE_DIR.name].value).absolute()


def reloaded(old: Configuration, new: Configuration) -> Configuration:
    """`old` with what `new` says of those keys of which a node takes new values while it runs."""
    values = {key.name: (new if key.reloads else old).values[key.name] for key in NODE_KEYS}
    service = _service({name: value.value for name, value in values.items()})
    return replace(new, settings=old.settings, service=service, log_format=old.log_format, values=values)


def _layers(environ: Mapping[str, str], file: Path | None, options: Mapping[str, Sequence[str]] | None) -> Layers:
    layers = Layers(environ=environ, options=options or {})
    return replace(layers, file=find_file(file, environ, state_dir_of(layers)))


def _settings(reading: Reading, environ: Mapping[str, str], given: Mapping[str, Any]) -> Settings:
    values = {name: found.value for name, found in reading.values.items()}
    values.update(given)
    machine.check_possible(values["max_parallel"])
    # The folder of a login session comes second: it goes when the session ends, and differs between sessions.
    parent = machine.temp_parent((MEMORY_FOLDER, environ.get("XDG_RUNTIME_DIR", ""), MEMORY_FOLDER_OF_ROOT))
    return Settings(
        state_dir=values["state_dir"].absolute(),
        base_env={name: environ[name] for name in BASE_ENV_NAMES if name in environ},
        temp_parent=parent,
        temp_in_memory=machine.is_tmpfs(parent),
        max_parallel=values["max_parallel"],
        log_bytes=values["log_limit"],
        template_milliseconds=values["template_milliseconds"],
        containment=values["containment"],
        notify_address=environ.get("NOTIFY_SOCKET", ""),
        watchdog_seconds=machine.watchdog_seconds(environ),
        traceparent=machine.traceparent(environ),
        **{name: values[name] for name in ("keep_days", "keep_runs") if name in values},
    )


def _service(values: Mapping[str, Any]) -> Service:
    return Service(
        name=values["name"],
        labels=values["labels"],
        peers=values["peers"],
        lost_after=values["lost_after"],
        listen=values["listen"],
        tls=_tls(values),
        insecure=values["insecure"],
        rules=values["rules"],
        limits=Limits(
            message_bytes=values["limits.message"],
            groups=values["limits.groups"],
            groups_per_caller=values["limits.groups_per_caller"],
            document_bytes=values["limits.documents"],
            document_bytes_per_caller=values["limits.documents_per_caller"],
            streams=values["limits.streams"],
            streams_per_caller=values["limits.streams_per_caller"],
            shells=values["limits.shells"],
            shell_idle_seconds=values["limits.shell_idle"],
            workspace_bytes=values["limits.workspace"],
            workspace_entries=values["limits.workspace_entries"],
        ),
        retention=Retention(
            age_seconds=values["retention.age"],
            groups=values["retention.groups"],
            bytes=values["retention.size"],
            workspace_seconds=values["retention.workspaces"],
        ),
        metrics=Metrics(listen=values["metrics.listen"]),
        tracing=Tracing(
            endpoint=values["tracing.endpoint"],
            headers_file=values["tracing.headers_file"],
            ca=values["tracing.ca"],
        ),
        webhook=Webhook(url=values["webhook.url"], secret=values["webhook.secret"], ca=values["webhook.ca"]),
        drain_seconds=values["drain"],
        keepalive_seconds=values["keepalive"],
    )


def _tls(values: Mapping[str, Any]) -> Tls | None:
    names = ("certificate", "key", "client_ca", "crl")
    return Tls(**{name: values[f"tls.{name}"] for name in names}) if values["tls.certificate"] else None


def _check_tls(reading: Reading) -> None:
    """What of TLS is missing, by its key or on the disk."""
    pairs = (
        ("tls.certificate", "tls.key"),
        ("tls.key", "tls.certificate"),
        ("tls.client_ca", "tls.certificate"),
        ("tls.crl", "tls.client_ca"),
    )
    _check_files(reading, ("tls.certificate", "tls.key", "tls.client_ca", "tls.crl"), pairs)


def _check_outgoing(reading: Reading) -> None:
    """What is missing of what the node sends to others, and what would be sent where others can listen in."""
    hooks = (("webhook.url", "webhook.secret"), ("webhook.secret", "webhook.url"), ("webhook.ca", "webhook.url"))
    _check_files(reading, ("webhook.secret", "webhook.ca"), hooks)
    traces = (("tracing.headers_file", "tracing.endpoint"), ("tracing.ca", "tracing.endpoint"))
    _check_files(reading, ("tracing.headers_file", "tracing.ca"), traces)
    _check_way(reading, "webhook.url", "insecure")
    _check_way(reading, "tracing.endpoint", "tracing.insecure")


def _check_peers(reading: Reading) -> None:
    """Warn of what peers are reached with and is not there: it is read when they are, so it may still come, and one of them must
    not keep the node from serving others."""
    if "peers" in reading.refused:
        return
    for name, peer in reading.values["peers"].value.items():
        for key in kinds.PEER_FILES:
            file = getattr(peer, key)
            try:
                if file is not None:
                    os.stat(file)
            except PermissionError:
                continue
            except OSError as error:
                reading.warn("peers", (name, key), f"{file}: {error.strerror}; this peer cannot be reached without it")


def _check_way(reading: Reading, name: str, insecure: str) -> None:
    """Whether others could listen in on the way to the URL `name`, unless the key `insecure` allows that."""
    if reading.refused & {name, insecure} or reading.values[insecure].value:
        return
    url = reading.values[name].value
    parts = urlsplit(url or "")
    if parts.scheme == "http" and not address.Address(host=parts.hostname or "").is_local:
        reading.refuse(name, f"others could listen in on the way to {url}", hint=f"use https, or {insecure} = true")


def _check_files(reading: Reading, names: Sequence[str], pairs: Iterable[tuple[str, str]]) -> None:
    """Whether the files that are named are there, and nothing that needs something else is named alone. A file that this user may
    not see is left to who reads it."""
    if reading.refused & {*names, *(name for pair in pairs for name in pair)}:
        return
    for name, needed in pairs:
        if reading.values[name].value is not None and reading.values[needed].value is None:
            reading.refuse(name, f"there is no {needed} with it")
    for name in names:
        file = reading.values[name].value
        if file is None:
            continue
        try:
            if not stat.S_ISREG(os.stat(file).st_mode):
                reading.refuse(name, f"{file} is no file")
        except PermissionError:
            continue
        except OSError as error:
            reading.refuse(name, f"{file}: {error.strerror}")


def _check_plain_text(reading: Reading) -> None:
    values = reading.values
    if reading.refused & {"listen", "insecure", "tls.certificate"}:
        return
    if values["tls.certificate"].value is not None or values["insecure"].value:
        return
    open_to_others = [text for text in values["listen"].value if not address.parse(text).is_local]
    if open_to_others:
        reading.refuse(
            "listen",
            f"others could listen in on {', '.join(open_to_others)}, where plain text would be spoken",
            hint="give tls.certificate and tls.key, or insecure = true",
        )
