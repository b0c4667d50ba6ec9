-- What outside users read: a row for each line.
CREATE VIEW traces AS
SELECT
    rows.id,
    rows.ts_start,
    rows.ts_start + rows.duration_ms AS ts_end,
    rows.client,
    method.text AS method,
    path.text || coalesce('?' || rows.query, '') AS path,
    upstream.text AS upstream,
    rows.status,
    rows.disconnected,
    rows.truncated_req,
    rows.truncated_resp,
    model.text AS model,
    rows.stream,
    rows.prompt_tokens,
    rows.completion_tokens,
    rows.total_tokens,
    finish_reason.text AS finish_reason,
    lower(hex(keys.hash)) AS key_hash,
    rows.prefix_len,
    CASE WHEN rows.prefix IS NOT NULL THEN format('%016x', rows.prefix) END AS prefix_canonical_hash,
    rows.parent AS parent_id,
    coalesce(sessions.root, rows.id) AS session_root_id,
    segments.path AS jsonl_path,
    rows.jsonl_offset,
    rows.media_count,
    rows.cached_tokens,
    rows.cache_creation_tokens,
    rows.reasoning_tokens,
    client_kind.text AS client_kind,
    client_version.text AS client_version,
    client_project.text AS client_project,
    "end".text AS "end",
    protocol.text AS protocol,
    rows.duration_ms,
    rows.ttfb_ms,
    rows.first_event_ms,
    rows.req_bytes,
    rows.resp_bytes,
    rows.jsonl_bytes,
    session_method.text AS session_method,
    coalesce(rows.tags, '[]') AS tags,
    error_type.text AS error_type
FROM rows
LEFT JOIN keys ON keys.key = rows.key
LEFT JOIN sessions ON sessions.session = rows.session
LEFT JOIN segments ON segments.segment = rows.segment
LEFT JOIN words AS method ON method.word = rows.method
LEFT JOIN words AS path ON path.word = rows.path
LEFT JOIN words AS upstream ON upstream.word = rows.upstream
LEFT JOIN words AS model ON model.word = rows.model
LEFT JOIN words AS finish_reason ON finish_reason.word = rows.finish_reason
LEFT JOIN words AS error_type ON error_type.word = rows.error_type
LEFT JOIN words AS "end" ON "end".word = rows."end"
LEFT JOIN words AS protocol ON protocol.word = rows.protocol
LEFT JOIN words AS session_method ON session_method.word = rows.session_method
LEFT JOIN words AS client_kind ON client_kind.word = rows.client_kind
LEFT JOIN words AS client_version ON client_version.word = rows.client_version
LEFT JOIN words AS client_project ON client_project.word = rows.client_project;
