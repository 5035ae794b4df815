-- Groups in the order of their acceptance, their tasks, attempts and events.
--
-- Numbers for times are seconds since the epoch. A moment is a text of three words: seconds since the epoch, seconds of
-- CLOCK_BOOTTIME, the boot in which these count. Texts named `…_json` are JSON; blobs belong to those who wrote them.

CREATE TABLE groups (
    number            INTEGER PRIMARY KEY,
    id                TEXT NOT NULL UNIQUE,
    caller            TEXT NOT NULL,
    name              TEXT NOT NULL,
    digest            TEXT NOT NULL,
    labels_json       TEXT NOT NULL,
    workspace         TEXT NOT NULL,
    status            TEXT NOT NULL,
    reason            TEXT,
    accepted          TEXT NOT NULL,
    started_at        REAL,
    finished_at       REAL,
    abort             TEXT,
    abort_because_of  TEXT,
    abort_at          TEXT,
    abort_count       INTEGER NOT NULL
) STRICT;

CREATE INDEX groups_unfinished ON groups (number) WHERE status IN ('pending', 'running');

-- What a group was accepted with. Apart from `groups`, because it may be large and is written only once.
CREATE TABLE documents (
    group_number  INTEGER PRIMARY KEY,
    document      BLOB NOT NULL,
    inputs        BLOB NOT NULL
) STRICT;

CREATE TABLE tasks (
    group_number   INTEGER NOT NULL,
    name           TEXT NOT NULL,
    "index"        INTEGER NOT NULL,
    status         TEXT NOT NULL,
    waiting        TEXT,
    reason         TEXT,
    because_of     TEXT,
    attempt        INTEGER NOT NULL,
    cached         INTEGER NOT NULL,
    outputs        BLOB,
    exit_code      INTEGER,
    signal         INTEGER,
    error          TEXT,
    kill           BLOB,
    runner         TEXT,
    started_at     REAL,
    finished_at    REAL,
    retry_at       TEXT,
    PRIMARY KEY (group_number, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    group_number        INTEGER NOT NULL,
    task                TEXT NOT NULL,
    attempt             INTEGER NOT NULL,
    status              TEXT NOT NULL,
    runner              TEXT NOT NULL,
    instance            TEXT NOT NULL,
    handle              BLOB,
    sequence            INTEGER NOT NULL,
    dispatched          TEXT NOT NULL,
    started_at          REAL,
    finished_at         REAL,
    cancel_at           TEXT,
    cancel_grace        REAL,
    outcome             BLOB,
    PRIMARY KEY (group_number, task, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    group_number  INTEGER NOT NULL,
    number        INTEGER NOT NULL,
    at            REAL NOT NULL,
    kind          TEXT NOT NULL,
    task          TEXT,
    attempt       INTEGER,
    fields_json   TEXT NOT NULL,
    PRIMARY KEY (group_number, number)
) STRICT, WITHOUT ROWID;
