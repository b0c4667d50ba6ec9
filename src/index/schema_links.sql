-- Each trace once; and where parents are looked for.
CREATE UNIQUE INDEX rows_by_id ON rows (id);
CREATE INDEX rows_by_prefix ON rows (prefix, key, ts_start) WHERE prefix IS NOT NULL AND fresh IS NULL;
CREATE INDEX rows_by_response ON rows (response, key) WHERE response IS NOT NULL AND fresh IS NULL;
CREATE INDEX rows_by_conversation ON rows (conversation, key, ts_start) WHERE conversation IS NOT NULL AND fresh IS NULL;
