-- Whether an attempt is to be paused, as it was asked for last: it is written down before it is passed on.

ALTER TABLE attempts ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
