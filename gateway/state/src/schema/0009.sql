-- Version 9. What the state file has to know of the ledger, so that nobody can have it believe what stands in the ledger's files alone.

-- The very words of records that take away a key or a hold: here before they are in the ledger. Such a record counts that nobody has signed yet.
CREATE TABLE own_words (
  digest  BLOB PRIMARY KEY                    -- SHA-256 of the record's body
) STRICT, WITHOUT ROWID;

-- From which record on erasures have to be read again, because the records are not those that were signed. NULL: they were.
ALTER TABLE meta ADD COLUMN unproved_from INTEGER;
-- Up to which record it was read who acted as which account, of those from before this was kept; 9223372036854775807 when all were.
ALTER TABLE meta ADD COLUMN through_read INTEGER NOT NULL DEFAULT 0;
