-- Version 10. Under which name a subject stands in records where names are sealed (`ledger.names`): random, so that nothing leads from the one
-- to the other but this row. It goes when the keys of the subject's name go.

CREATE TABLE pseudonyms (
  id          TEXT PRIMARY KEY,               -- 32 hexadecimal digits; stands in records
  subject_id  TEXT NOT NULL,
  created_at  INTEGER NOT NULL,
  retired_at  INTEGER                         -- still read, and written no more: an erasure was asked for
) STRICT;
CREATE UNIQUE INDEX pseudonyms_in_use ON pseudonyms (subject_id) WHERE retired_at IS NULL;
CREATE INDEX pseudonyms_of ON pseudonyms (subject_id);
