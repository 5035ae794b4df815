-- Groups that stand still when a task of theirs has failed; and the task for which one does.

ALTER TABLE groups ADD COLUMN pause_on_failure INTEGER NOT NULL DEFAULT 0;
ALTER TABLE groups ADD COLUMN paused_by TEXT;
