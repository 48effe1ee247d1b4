-- Version 8. Whether the files may hold bytes of what was destroyed: set with the destruction, taken back when they were looked through. It begins set,
-- since what an earlier release moved from page to page was never looked for.

ALTER TABLE meta ADD COLUMN scrub_due INTEGER NOT NULL DEFAULT 1;
