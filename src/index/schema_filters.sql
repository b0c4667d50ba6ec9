-- What further filters walk. Those of classes hold the number too: a row that is passed over is not looked up.
CREATE INDEX rows_by_client_kind ON rows (client_kind, ts_start) WHERE client_kind IS NOT NULL AND fresh IS NULL;
CREATE INDEX rows_by_stream ON rows (stream, ts_start) WHERE stream IS NOT NULL AND fresh IS NULL;
CREATE INDEX rows_by_end ON rows ("end", ts_start) WHERE fresh IS NULL;
CREATE INDEX rows_by_media ON rows (has_media, ts_start) WHERE has_media IS NOT NULL AND fresh IS NULL;
CREATE INDEX rows_by_duration ON rows (duration_class, ts_start, duration_ms) WHERE fresh IS NULL;
CREATE INDEX rows_by_tokens ON rows (tokens_class, ts_start, total_tokens) WHERE tokens_class IS NOT NULL AND fresh IS NULL;
