-- Version 6. Keys of parts can follow one another; what was erased, what somebody asks to erase, and what is held.

CREATE TABLE part_keys_in_turn (
  id          TEXT PRIMARY KEY,               -- public name, stands in records
  subject_id  TEXT NOT NULL,
  class       TEXT NOT NULL,
  sealed      BLOB NOT NULL,
  created_at  INTEGER NOT NULL,
  retired_at  INTEGER                         -- opens what it sealed, seals nothing more
) STRICT;
INSERT INTO part_keys_in_turn (id, subject_id, class, sealed, created_at)
  SELECT id, subject_id, class, sealed, created_at FROM part_keys;
DROP TABLE part_keys;
ALTER TABLE part_keys_in_turn RENAME TO part_keys;
CREATE UNIQUE INDEX part_keys_in_use ON part_keys (subject_id, class) WHERE retired_at IS NULL;
CREATE INDEX part_keys_of ON part_keys (subject_id, class);
CREATE INDEX part_keys_by_class ON part_keys (class);

-- Keys that are no more, from the ledger's records. Never swept: it says why something cannot be opened.
CREATE TABLE erased_keys (
  id          TEXT PRIMARY KEY,
  subject_id  TEXT NOT NULL,
  class       TEXT NOT NULL,
  said        TEXT NOT NULL                   -- model::erasure::Erased
) STRICT;
CREATE INDEX erased_keys_of ON erased_keys (subject_id, class);

CREATE TABLE erasures (
  id          TEXT PRIMARY KEY,
  asked       TEXT NOT NULL,                  -- model::erasure::Request
  until       INTEGER NOT NULL,
  begun_at    INTEGER                         -- records that stood when its keys were taken out of use
) STRICT;

CREATE TABLE holds (
  id          TEXT PRIMARY KEY,
  said        TEXT NOT NULL                   -- model::erasure::Hold
) STRICT;
