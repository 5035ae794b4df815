-- Each statement stands below its name. The order of columns is that of the functions in `runner.store.rows`.

-- name: insert_group
-- With a number that no group had of which rows are left.
INSERT INTO groups (
    number, id, public_id, caller, name, digest, task_count, labels_json, workspace, status, reason, accepted, started_at,
    finished_at, abort, abort_because_of, abort_at, abort_count, traceparent,
    concurrency, waits_for, replaced_by, rests_since, rested, pause_on_failure, paused_by
) VALUES (
    1 + max((SELECT coalesce(max(number), 0) FROM groups), (SELECT coalesce(max(group_number), 0) FROM removed)),
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?
);

-- name: insert_document
INSERT INTO documents (group_number, document, inputs) VALUES (?, ?, ?);

-- name: update_group
UPDATE groups SET
    id = ?, public_id = ?, caller = ?, name = ?, digest = ?, task_count = ?, labels_json = ?, workspace = ?, status = ?,
    reason = ?, accepted = ?, started_at = ?, finished_at = ?, abort = ?, abort_because_of = ?, abort_at = ?,
    abort_count = ?, traceparent = ?, concurrency = ?, waits_for = ?, replaced_by = ?, rests_since = ?, rested = ?,
    pause_on_failure = ?, paused_by = ?
WHERE number = ?;

-- name: replace_task
INSERT OR REPLACE INTO tasks (
    group_number, name, "index", status, waiting, reason, because_of, attempt, cached, outputs, exit_code, signal, error,
    kill, runner, started_at, finished_at, retry_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: replace_attempt
INSERT OR REPLACE INTO attempts (
    group_number, task, attempt, status, runner, instance, handle, sequence, dispatched, started_at, finished_at,
    cancel_at, cancel_grace, outcome, paused
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: insert_event
INSERT INTO events (group_number, number, at, kind, task, attempt, fields_json) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: find_group
SELECT number, (SELECT coalesce(max(events.number), 0) FROM events WHERE group_number = groups.number)
FROM groups WHERE id = ?;

-- name: select_group
SELECT
    id, public_id, caller, name, digest, task_count, labels_json, workspace, status, reason, accepted, started_at,
    finished_at, abort, abort_because_of, abort_at, abort_count, traceparent, concurrency,
    waits_for, replaced_by, rests_since, rested, pause_on_failure, paused_by, document, inputs
FROM groups JOIN documents ON group_number = number WHERE number = ?;

-- name: select_head
SELECT
    id, public_id, caller, name, digest, task_count, labels_json, workspace, status, reason, accepted, started_at,
    finished_at, abort, abort_because_of, abort_at, abort_count, traceparent, concurrency,
    waits_for, replaced_by, rests_since, rested, pause_on_failure, paused_by, x'', x''
FROM groups WHERE number = ?;

-- name: find_public
SELECT id FROM groups WHERE caller = ? AND public_id = ?;

-- name: select_document
SELECT document FROM documents WHERE group_number = ?;

-- name: select_groups
-- Of the last groups before one at most so many are looked at; those that fit are given, with their numbers.
SELECT
    id, public_id, caller, name, digest, task_count, labels_json, workspace, status, reason, accepted, started_at,
    finished_at, abort, abort_because_of, abort_at, abort_count, traceparent, concurrency,
    waits_for, replaced_by, rests_since, rested, pause_on_failure, paused_by, x'', x'', number
FROM (
    SELECT * FROM groups WHERE number < :before AND (:caller IS NULL OR caller = :caller) ORDER BY number DESC LIMIT :scan
)
WHERE
    (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
    AND (:accepted_from IS NULL OR CAST(accepted AS REAL) >= :accepted_from)
    AND (:accepted_before IS NULL OR CAST(accepted AS REAL) < :accepted_before)
    AND NOT EXISTS (
        SELECT 1 FROM json_each(:labels) AS wanted WHERE NOT EXISTS (
            SELECT 1 FROM json_each(labels_json) AS label
            WHERE label.key = wanted.key AND wanted.value IN ('', label.value)
        )
    )
ORDER BY number DESC LIMIT :limit;

-- name: select_last_scanned
-- The number of the last group that `select_groups` looks at, and how many these are.
SELECT min(number), count(*) FROM (
    SELECT number FROM groups WHERE number < :before AND (:caller IS NULL OR caller = :caller) ORDER BY number DESC LIMIT :scan
);

-- name: select_unfinished
SELECT id FROM groups WHERE status IN ('pending', 'running') ORDER BY number;

-- name: select_tasks
SELECT
    name, "index", status, waiting, reason, because_of, attempt, cached, outputs, exit_code, signal, error, kill, runner,
    started_at, finished_at, retry_at
FROM tasks WHERE group_number = ? ORDER BY "index";

-- name: select_named_tasks
SELECT
    name, "index", status, waiting, reason, because_of, attempt, cached, outputs, exit_code, signal, error, kill, runner,
    started_at, finished_at, retry_at
FROM tasks WHERE group_number = ? AND name IN (SELECT value FROM json_each(?)) ORDER BY "index";

-- name: select_tasks_in
SELECT
    name, "index", status, waiting, reason, because_of, attempt, cached, outputs, exit_code, signal, error, kill, runner,
    started_at, finished_at, retry_at
FROM tasks WHERE group_number = ? AND status IN (SELECT value FROM json_each(?)) ORDER BY "index" LIMIT ?;

-- name: count_tasks
SELECT status, count(*) FROM tasks WHERE group_number = ? GROUP BY status;

-- name: select_attempts
SELECT
    task, attempt, status, runner, instance, handle, sequence, dispatched, started_at, finished_at, cancel_at,
    cancel_grace, outcome, paused
FROM attempts WHERE group_number = ? ORDER BY task, attempt;

-- name: select_attempts_at
SELECT
    task, attempt, status, runner, instance, handle, sequence, dispatched, started_at, finished_at, cancel_at,
    cancel_grace, outcome, paused
FROM attempts WHERE group_number = ? AND task = ? ORDER BY attempt;

-- name: select_events
SELECT number, at, kind, task, attempt, fields_json FROM events
WHERE group_number = ? AND number > ? ORDER BY number LIMIT ?;

-- name: update_digest
UPDATE groups SET digest = ? WHERE number = ?;

-- name: update_inputs
UPDATE documents SET inputs = ? WHERE group_number = ?;

-- name: update_outputs
UPDATE tasks SET outputs = ? WHERE group_number = ? AND name = ?;

-- name: insert_notice
INSERT INTO notices (group_number, message_id, tries, due) VALUES (?, lower(hex(randomblob(16))), 0, 0);

-- name: select_notices
SELECT id, message_id, tries, due FROM notices JOIN groups ON group_number = number WHERE due <= ? ORDER BY due LIMIT ?;

-- name: find_notice
SELECT 1 FROM notices JOIN groups ON group_number = number WHERE id = ?;

-- name: select_next_notice
SELECT min(due), count(*) FROM notices;

-- name: postpone_notice
UPDATE notices SET tries = ?, due = ? WHERE group_number = ?;

-- name: delete_notice
DELETE FROM notices WHERE group_number = ?;

-- name: select_finished
-- The ones that have been over for the longest time first, but for those that somebody has still to be told of.
SELECT id, number, finished_at, accepted, coalesce(log_bytes, 0) FROM groups
WHERE status NOT IN ('pending', 'running') AND (finished_at, number) > (?, ?)
    AND NOT EXISTS (SELECT 1 FROM notices WHERE group_number = number)
ORDER BY finished_at, number LIMIT ?;

-- name: count_finished
SELECT count(*), coalesce(sum(log_bytes), 0) FROM groups WHERE status NOT IN ('pending', 'running');

-- name: select_unmeasured
SELECT id FROM groups WHERE log_bytes IS NULL AND status NOT IN ('pending', 'running') ORDER BY number LIMIT ?;

-- name: update_log_bytes
UPDATE groups SET log_bytes = ? WHERE id = ?;

-- name: insert_removed
INSERT INTO removed (group_number, id) VALUES (?, ?);

-- name: delete_group
DELETE FROM groups WHERE number = ?;

-- name: select_removed
SELECT id FROM removed ORDER BY group_number;

-- name: select_next_removed
SELECT group_number, (SELECT length(document) + length(inputs) FROM documents WHERE documents.group_number = removed.group_number)
FROM removed ORDER BY group_number LIMIT 1;

-- name: purge_events
DELETE FROM events WHERE group_number = :group AND number <= coalesce(
    (SELECT number FROM events WHERE group_number = :group ORDER BY number LIMIT 1 OFFSET :rows - 1),
    (SELECT max(number) FROM events WHERE group_number = :group)
);

-- name: purge_attempts
DELETE FROM attempts WHERE group_number = :group AND task <= coalesce(
    (SELECT task FROM attempts WHERE group_number = :group ORDER BY task LIMIT 1 OFFSET :rows - 1),
    (SELECT max(task) FROM attempts WHERE group_number = :group)
);

-- name: purge_tasks
DELETE FROM tasks WHERE group_number = :group AND name <= coalesce(
    (SELECT name FROM tasks WHERE group_number = :group ORDER BY name LIMIT 1 OFFSET :rows - 1),
    (SELECT max(name) FROM tasks WHERE group_number = :group)
);

-- name: delete_document
DELETE FROM documents WHERE group_number = ?;

-- name: delete_removed
DELETE FROM removed WHERE group_number = ?;

-- name: disown_attempts
UPDATE attempts SET instance = ? || '/' || instance WHERE status IN ('pending', 'running');
