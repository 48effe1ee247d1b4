-- Version 3. Who holds credentials that were issued through the gate, read from the ledger's `issued` records.

CREATE TABLE issued (
  id      TEXT PRIMARY KEY,      -- credential id, no secret
  origin  TEXT NOT NULL,         -- the person behind it
  until   INTEGER NOT NULL       -- Unix seconds
) STRICT;

CREATE INDEX issued_until ON issued (until);

CREATE TABLE issued_read (       -- one row: how many of the ledger's records are in the table
  one     INTEGER PRIMARY KEY CHECK (one = 1),
  records INTEGER NOT NULL
) STRICT;

INSERT INTO issued_read (one, records) VALUES (1, 0);
