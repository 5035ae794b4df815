-- Each statement stands below its name. The order of columns is that of the functions in `runner.store.rows`.

-- name: insert_group
INSERT INTO groups (
    id, caller, name, digest, labels_json, workspace, status, reason, accepted, started_at, finished_at, abort,
    abort_because_of, abort_at, abort_count
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: insert_document
INSERT INTO documents (group_number, document, inputs) VALUES (?, ?, ?);

-- name: update_group
UPDATE groups SET
    id = ?, caller = ?, name = ?, digest = ?, labels_json = ?, workspace = ?, status = ?, reason = ?, accepted = ?,
    started_at = ?, finished_at = ?, abort = ?, abort_because_of = ?, abort_at = ?, abort_count = ?
WHERE number = ?;

-- name: replace_task
INSERT OR REPLACE INTO tasks (
    group_number, name, "index", status, waiting, reason, because_of, attempt, cached, outputs, exit_code, signal, error,
    kill, runner, started_at, finished_at, retry_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: replace_attempt
INSERT OR REPLACE INTO attempts (
    group_number, task, attempt, status, runner, instance, handle, sequence, dispatched, started_at, finished_at,
    cancel_at, cancel_grace, outcome
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: insert_event
INSERT INTO events (group_number, number, at, kind, task, attempt, fields_json) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: find_group
SELECT number, (SELECT coalesce(max(events.number), 0) FROM events WHERE group_number = groups.number)
FROM groups WHERE id = ?;

-- name: select_group
SELECT
    id, caller, name, digest, labels_json, workspace, status, reason, accepted, started_at, finished_at, abort,
    abort_because_of, abort_at, abort_count, document, inputs
FROM groups JOIN documents ON group_number = number WHERE number = ?;

-- name: select_groups
SELECT
    id, caller, name, digest, labels_json, workspace, status, reason, accepted, started_at, finished_at, abort,
    abort_because_of, abort_at, abort_count, x'', x''
FROM groups WHERE number < ? ORDER BY number DESC LIMIT ?;

-- name: select_unfinished
SELECT id FROM groups WHERE status IN ('pending', 'running') ORDER BY number;

-- name: select_tasks
SELECT
    name, "index", status, waiting, reason, because_of, attempt, cached, outputs, exit_code, signal, error, kill, runner,
    started_at, finished_at, retry_at
FROM tasks WHERE group_number = ? ORDER BY "index";

-- name: select_attempts
SELECT
    task, attempt, status, runner, instance, handle, sequence, dispatched, started_at, finished_at, cancel_at,
    cancel_grace, outcome
FROM attempts WHERE group_number = ? ORDER BY task, attempt;

-- name: select_events
SELECT number, at, kind, task, attempt, fields_json FROM events
WHERE group_number = ? AND number > ? ORDER BY number LIMIT ?;

-- name: delete_events
DELETE FROM events WHERE group_number = ?;

-- name: delete_attempts
DELETE FROM attempts WHERE group_number = ?;

-- name: delete_tasks
DELETE FROM tasks WHERE group_number = ?;

-- name: delete_document
DELETE FROM documents WHERE group_number = ?;

-- name: delete_group
DELETE FROM groups WHERE number = ?;
