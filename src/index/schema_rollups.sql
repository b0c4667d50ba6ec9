-- Sums of the traces of an hour, model, key, kind of client and project: what statistics are made of.
-- 0 stands for none. Nothing here but follows from `rows`.
CREATE TABLE rollups (
    hour             INTEGER NOT NULL,            -- of ts_start, since 1970
    model            INTEGER NOT NULL,            -- word
    key              INTEGER NOT NULL,
    client_kind      INTEGER NOT NULL,            -- word
    client_project   INTEGER NOT NULL,            -- word
    traces           INTEGER NOT NULL,
    ok_count         INTEGER NOT NULL,            -- status 200 to 299
    client_errors    INTEGER NOT NULL,            -- 400 to 499
    server_errors    INTEGER NOT NULL,            -- from 500
    unanswered       INTEGER NOT NULL,            -- below 0
    disconnected     INTEGER NOT NULL,
    prompt_tokens    INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    total_tokens     INTEGER NOT NULL,
    cached_tokens    INTEGER NOT NULL,
    cache_creation_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    duration_ms      INTEGER NOT NULL,
    first_event_ms   INTEGER NOT NULL,
    -- How the two are spread, in the form of stats/distribution.rs.
    durations        BLOB NOT NULL,
    first_events     BLOB NOT NULL,
    PRIMARY KEY (hour, model, key, client_kind, client_project)
) WITHOUT ROWID;
