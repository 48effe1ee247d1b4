-- Version 5. Whom a lock is on in words, by whom it was set and when. `before` is when it ends by itself.

ALTER TABLE locks ADD COLUMN kind TEXT NOT NULL DEFAULT 'person';
ALTER TABLE locks ADD COLUMN user_name TEXT NOT NULL DEFAULT '';  -- Kubernetes user name
ALTER TABLE locks ADD COLUMN email TEXT;
ALTER TABLE locks ADD COLUMN by_user TEXT NOT NULL DEFAULT '';
ALTER TABLE locks ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
