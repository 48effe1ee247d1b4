-- Version 2. Keys of the parts of records. Deleting a row erases what was sealed under it; `secure_delete` overwrites it.

CREATE TABLE part_keys (
  id          TEXT PRIMARY KEY,               -- public name, stands in records
  subject_id  TEXT NOT NULL,
  class       TEXT NOT NULL,
  sealed      BLOB NOT NULL,
  created_at  INTEGER NOT NULL,
  UNIQUE (subject_id, class)
) STRICT;
