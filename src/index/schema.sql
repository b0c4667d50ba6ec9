-- The compact form of the index: its tables. The view that outside users read stands in schema_view.sql, the secondary
-- indexes in schema_links.sql and schema_lists.sql: a rebuild makes them last.

-- Repeated texts. Any column that says "word" holds one of these.
CREATE TABLE words (
    word INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
);

CREATE TABLE keys (
    key  INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE
);

CREATE TABLE segments (
    segment    INTEGER PRIMARY KEY,
    path       TEXT NOT NULL UNIQUE,
    -- The checkpoint: every line before this offset has its row, or is a bad line.
    indexed_to INTEGER NOT NULL,
    bad_lines  INTEGER NOT NULL,
    -- Only a sealed form is left and it was indexed to its end.
    is_done    INTEGER NOT NULL,
    -- The trace whose line stands at offset 0: a file that begins with another one is another file.
    first_trace TEXT
);

CREATE TABLE sessions (
    session    INTEGER PRIMARY KEY,
    root       TEXT NOT NULL UNIQUE,
    turns      INTEGER NOT NULL,
    first_ts   INTEGER NOT NULL,
    -- The newest row by start, then id.
    last_ts    INTEGER NOT NULL,
    last_id    TEXT NOT NULL,
    ok_count   INTEGER NOT NULL,
    err_count  INTEGER NOT NULL
);

CREATE TABLE rows (
    row              INTEGER PRIMARY KEY,
    id               TEXT NOT NULL,
    ts_start         INTEGER NOT NULL,
    duration_ms      INTEGER NOT NULL,
    client           TEXT NOT NULL,
    method           INTEGER NOT NULL,            -- word
    path             INTEGER NOT NULL,            -- word: the target before its first "?"
    query            TEXT,                        -- the target behind its first "?"
    upstream         INTEGER NOT NULL,            -- word
    status           INTEGER NOT NULL,
    "end"            INTEGER NOT NULL,            -- word
    disconnected     INTEGER NOT NULL,
    truncated_req    INTEGER NOT NULL,
    truncated_resp   INTEGER NOT NULL,
    protocol         INTEGER NOT NULL,            -- word
    model            INTEGER,                     -- word
    stream           INTEGER,
    prompt_tokens    INTEGER,
    completion_tokens INTEGER,
    total_tokens     INTEGER,
    cached_tokens    INTEGER,
    cache_creation_tokens INTEGER,
    reasoning_tokens INTEGER,
    finish_reason    INTEGER,                     -- word
    error_type       INTEGER,                     -- word
    key              INTEGER NOT NULL,
    prefix_len       INTEGER,
    prefix           INTEGER,                     -- hash of all turns
    answer           INTEGER,                     -- fingerprint of the answer
    response         INTEGER,                     -- hash of the answer's own id
    conversation     INTEGER,                     -- hash of the conversation's id
    parent           TEXT,
    session          INTEGER NOT NULL,
    session_method   INTEGER,                     -- word
    client_kind      INTEGER,                     -- word
    client_version   INTEGER,                     -- word
    client_project   INTEGER,                     -- word
    media_count      INTEGER NOT NULL,
    ttfb_ms          INTEGER,
    first_event_ms   INTEGER,
    req_bytes        INTEGER,
    resp_bytes       INTEGER,
    tags             TEXT,                        -- JSON list; null for none
    segment          INTEGER NOT NULL,
    jsonl_offset     INTEGER NOT NULL,
    jsonl_bytes      INTEGER NOT NULL
);

-- The operator's labels of rows; they go with their row.
CREATE TABLE tags (
    tag      INTEGER NOT NULL,                    -- word
    ts_start INTEGER NOT NULL,
    row      INTEGER NOT NULL,
    PRIMARY KEY (tag, ts_start, row)
) WITHOUT ROWID;

CREATE TRIGGER rows_untagged AFTER DELETE ON rows WHEN old.tags IS NOT NULL BEGIN
    DELETE FROM tags WHERE ts_start = old.ts_start AND row = old.row
        AND tag IN (SELECT word FROM words JOIN json_each(old.tags) ON text = value);
END;

-- What recently inserted rows look for in rows that may come after them.
CREATE TABLE awaiting (
    row   INTEGER PRIMARY KEY,
    links BLOB NOT NULL
);
