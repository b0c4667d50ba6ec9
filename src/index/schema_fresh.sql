-- Fresh rows: those that came faster than they could be put into every index. They are in the indexes by id, time and
-- segment alone, and in no session, until they are merged, oldest first. NULL is merged.

ALTER TABLE rows ADD COLUMN fresh INTEGER;

-- While there are fresh rows: they begin with this one, and at or after this time.
CREATE TABLE fresh_rows (
    first_row INTEGER NOT NULL,
    since     INTEGER NOT NULL
);
