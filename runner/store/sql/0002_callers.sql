-- Ids belong to callers: `public_id` is what the caller calls the group, `id` is the same unless another caller has taken it.

ALTER TABLE groups ADD COLUMN public_id TEXT NOT NULL DEFAULT '';
ALTER TABLE groups ADD COLUMN task_count INTEGER NOT NULL DEFAULT 0;

UPDATE groups SET
    public_id = id,
    task_count = (
        SELECT coalesce(json_array_length(CAST(document AS TEXT), '$.tasks'), 0)
        FROM documents WHERE group_number = groups.number
    );

CREATE UNIQUE INDEX groups_of_caller ON groups (caller, public_id);
CREATE INDEX groups_by_caller ON groups (caller, number);
