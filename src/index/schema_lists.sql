-- What lists, sessions and the removal of segments walk.
CREATE INDEX sessions_by_last ON sessions (last_ts);
-- With what filters ask for, so that rows are passed over without being read: fresh ones, and those that others refuse.
CREATE INDEX rows_by_time ON rows (ts_start, row, status, stream, "end", has_media, duration_ms, total_tokens, model,
    key, client_kind, client_project, path);
CREATE INDEX rows_by_status ON rows (status, ts_start) WHERE fresh IS NULL;
CREATE INDEX rows_by_path ON rows (path, ts_start) WHERE fresh IS NULL;
CREATE INDEX rows_by_target ON rows (path, query, ts_start) WHERE query IS NOT NULL AND fresh IS NULL;
CREATE INDEX rows_by_model ON rows (model, ts_start) WHERE model IS NOT NULL AND fresh IS NULL;
CREATE INDEX rows_by_key ON rows (key, ts_start) WHERE fresh IS NULL;
CREATE INDEX rows_by_session ON rows (session, ts_start) WHERE fresh IS NULL;
CREATE INDEX rows_by_project ON rows (client_project, ts_start) WHERE client_project IS NOT NULL AND fresh IS NULL;
CREATE INDEX rows_by_segment ON rows (segment);
