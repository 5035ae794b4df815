-- The span for which a group was submitted, as W3C's Trace Context spells it; empty for none.

ALTER TABLE groups ADD COLUMN traceparent TEXT NOT NULL DEFAULT '';
