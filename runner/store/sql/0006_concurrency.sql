-- Groups with a concurrency key, one of which has its turn at a time; and for how long the timeout of a group stood still, in seconds.

ALTER TABLE groups ADD COLUMN concurrency TEXT NOT NULL DEFAULT '';
ALTER TABLE groups ADD COLUMN waits_for TEXT;
ALTER TABLE groups ADD COLUMN replaced_by TEXT;
ALTER TABLE groups ADD COLUMN rests_since TEXT;
ALTER TABLE groups ADD COLUMN rested REAL NOT NULL DEFAULT 0;
