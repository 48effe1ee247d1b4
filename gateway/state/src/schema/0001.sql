-- Version 1. Times are nanoseconds since the epoch. Whatever opens a door is stored hashed; whatever must be read
-- again is sealed (AES-256-GCM bound to its row). `revision` counts everything that takes access away.

CREATE TABLE meta (
  only_row  INTEGER PRIMARY KEY CHECK (only_row = 1),
  revision  INTEGER NOT NULL
) STRICT;
INSERT INTO meta VALUES (1, 0);

CREATE TABLE sessions (
  id             TEXT PRIMARY KEY,            -- public name: a hash of the browser secret
  subject_id     TEXT NOT NULL,
  issuer         TEXT NOT NULL,
  subject        TEXT NOT NULL,
  provider       TEXT NOT NULL,
  provider_sid   TEXT,
  identity       TEXT NOT NULL,               -- JSON, the mapped person
  client         TEXT NOT NULL,
  source         TEXT NOT NULL,
  auth_time      INTEGER,
  acr            TEXT,
  tokens         BLOB NOT NULL,               -- sealed
  tokens_version INTEGER NOT NULL,
  checked_at     INTEGER NOT NULL,            -- when the provider last vouched
  created_at     INTEGER NOT NULL,
  last_used_at   INTEGER NOT NULL,
  idle_nanos     INTEGER NOT NULL,
  idle_end       INTEGER NOT NULL,
  absolute_end   INTEGER NOT NULL,
  family_hash    BLOB,                        -- of the part that all handles of the session share
  generation     INTEGER NOT NULL,
  handle_hash    BLOB,
  previous_hash  BLOB,                        -- the handle before, good only to repeat a lost answer
  rotated_at     INTEGER,
  rotation_key   BLOB,                        -- hash of the client's key of the last rotation
  rotation_reply BLOB,                        -- sealed: the handle that the last rotation gave out
  revoked_at     INTEGER,
  revoked_why    TEXT
) STRICT;
CREATE INDEX sessions_by_subject ON sessions (subject_id);
CREATE INDEX sessions_by_provider_sid ON sessions (issuer, provider_sid) WHERE provider_sid IS NOT NULL;
CREATE INDEX sessions_by_end ON sessions (absolute_end);

CREATE TABLE locks (
  subject_id TEXT PRIMARY KEY,
  before     INTEGER NOT NULL,                -- sessions that began before this are dead
  why        TEXT NOT NULL
) STRICT;

CREATE TABLE revocations (
  revision   INTEGER PRIMARY KEY,
  session_id TEXT,
  subject_id TEXT,
  before     INTEGER,
  why        TEXT NOT NULL,
  at         INTEGER NOT NULL,
  keep_until INTEGER NOT NULL
) STRICT;
CREATE INDEX revocations_by_end ON revocations (keep_until);

CREATE TABLE attempts (
  state_hash   BLOB PRIMARY KEY,
  browser_hash BLOB NOT NULL,
  source       TEXT NOT NULL,
  payload      BLOB NOT NULL,                 -- sealed
  created_at   INTEGER NOT NULL,
  expires_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX attempts_by_source ON attempts (source, created_at);
CREATE INDEX attempts_by_end ON attempts (expires_at);

CREATE TABLE codes (
  code_hash  BLOB PRIMARY KEY,
  session_id TEXT NOT NULL,
  payload    BLOB NOT NULL,                   -- sealed
  used_at    INTEGER,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX codes_by_end ON codes (expires_at);

CREATE TABLE devices (
  device_hash  BLOB PRIMARY KEY,
  user_hash    BLOB NOT NULL UNIQUE,
  source       TEXT NOT NULL,
  asked_by     TEXT NOT NULL,                 -- what the device said of itself, for the person to read
  status       TEXT NOT NULL CHECK (status IN ('waiting', 'asking', 'approved', 'denied')),
  browser_hash BLOB,
  pending      BLOB,                          -- sealed: the signed-in person, until the answer
  session_id   TEXT,
  interval_s   INTEGER NOT NULL,
  polled_at    INTEGER,
  created_at   INTEGER NOT NULL,
  expires_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX devices_by_source ON devices (source, created_at);
CREATE INDEX devices_by_end ON devices (expires_at);

CREATE TABLE seen (
  id_hash    BLOB PRIMARY KEY,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX seen_by_end ON seen (expires_at);
