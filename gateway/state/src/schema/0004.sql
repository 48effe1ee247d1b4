-- Version 4. Why a person does what they are about to do, as they stated it, and until when that holds.

ALTER TABLE sessions ADD COLUMN reason TEXT;
ALTER TABLE sessions ADD COLUMN reason_until INTEGER;
