-- Version 7. Through which accounts somebody acted: with a token of theirs that was handed out to them through the gate. What such
-- acts sealed stands under the account's keys, and is a trace of that person as well.

CREATE TABLE acted_through (
  subject_id  TEXT NOT NULL,                  -- whose keys seal it
  user_name   TEXT NOT NULL,                  -- its Kubernetes user name
  origin      TEXT NOT NULL,                  -- the Kubernetes user name of the person, as in `by.origin`
  PRIMARY KEY (subject_id, origin)
) STRICT, WITHOUT ROWID;
CREATE INDEX acted_through_by_origin ON acted_through (origin);
