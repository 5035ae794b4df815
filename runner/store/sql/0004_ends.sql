-- What happens to groups that are over: they are told of, kept for a while, and removed piece by piece.

-- Bytes that its logs take on disk; not known before a group is over, nor for a while behind that.
ALTER TABLE groups ADD COLUMN log_bytes INTEGER;

CREATE INDEX groups_finished ON groups (finished_at, number, log_bytes) WHERE status NOT IN ('pending', 'running');
CREATE INDEX groups_unmeasured ON groups (number) WHERE log_bytes IS NULL AND status NOT IN ('pending', 'running');

-- Groups that nobody sees any more, of which there are rows left.
CREATE TABLE removed (
    group_number  INTEGER PRIMARY KEY,
    id            TEXT NOT NULL
) STRICT;

-- Ends of groups that somebody outside waits to be told of. `message_id` stays the same however often it is tried.
CREATE TABLE notices (
    group_number  INTEGER PRIMARY KEY,
    message_id    TEXT NOT NULL,
    tries         INTEGER NOT NULL,
    due           REAL NOT NULL
) STRICT;

CREATE INDEX notices_due ON notices (due);
