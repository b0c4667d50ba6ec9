-- What lists, sessions and the removal of segments walk.
CREATE INDEX sessions_by_last ON sessions (last_ts);
CREATE INDEX rows_by_time ON rows (ts_start);
CREATE INDEX rows_by_status ON rows (status, ts_start);
CREATE INDEX rows_by_path ON rows (path, ts_start);
CREATE INDEX rows_by_target ON rows (path, query, ts_start) WHERE query IS NOT NULL;
CREATE INDEX rows_by_model ON rows (model, ts_start) WHERE model IS NOT NULL;
CREATE INDEX rows_by_key ON rows (key, ts_start);
CREATE INDEX rows_by_session ON rows (session, ts_start);
CREATE INDEX rows_by_project ON rows (client_project, ts_start) WHERE client_project IS NOT NULL;
CREATE INDEX rows_by_segment ON rows (segment);
