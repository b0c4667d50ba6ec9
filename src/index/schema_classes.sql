-- What filters ask for and no column holds: computed, and stored in indexes only.
-- The classes are those of classes.rs.

ALTER TABLE rows ADD COLUMN duration_class INTEGER AS (
    CASE
        WHEN duration_ms < 16 THEN 0 WHEN duration_ms < 32 THEN 1 WHEN duration_ms < 64 THEN 2 WHEN duration_ms < 128 THEN 3
        WHEN duration_ms < 256 THEN 4 WHEN duration_ms < 512 THEN 5 WHEN duration_ms < 1024 THEN 6 WHEN duration_ms < 1448 THEN 7
        WHEN duration_ms < 2048 THEN 8 WHEN duration_ms < 2896 THEN 9 WHEN duration_ms < 4096 THEN 10 WHEN duration_ms < 5793 THEN 11
        WHEN duration_ms < 8192 THEN 12 WHEN duration_ms < 11585 THEN 13 WHEN duration_ms < 16384 THEN 14 WHEN duration_ms < 23170 THEN 15
        WHEN duration_ms < 32768 THEN 16 WHEN duration_ms < 46341 THEN 17 WHEN duration_ms < 65536 THEN 18 WHEN duration_ms < 92682 THEN 19
        WHEN duration_ms < 131072 THEN 20 WHEN duration_ms < 185364 THEN 21 WHEN duration_ms < 262144 THEN 22 WHEN duration_ms < 524288 THEN 23
        WHEN duration_ms < 1048576 THEN 24
        ELSE 25 END
) VIRTUAL;

ALTER TABLE rows ADD COLUMN tokens_class INTEGER AS (
    CASE
        WHEN total_tokens IS NULL THEN NULL
        WHEN total_tokens < 16 THEN 0 WHEN total_tokens < 32 THEN 1 WHEN total_tokens < 64 THEN 2 WHEN total_tokens < 128 THEN 3
        WHEN total_tokens < 256 THEN 4 WHEN total_tokens < 512 THEN 5 WHEN total_tokens < 1024 THEN 6 WHEN total_tokens < 1448 THEN 7
        WHEN total_tokens < 2048 THEN 8 WHEN total_tokens < 2896 THEN 9 WHEN total_tokens < 4096 THEN 10 WHEN total_tokens < 5793 THEN 11
        WHEN total_tokens < 8192 THEN 12 WHEN total_tokens < 11585 THEN 13 WHEN total_tokens < 16384 THEN 14 WHEN total_tokens < 23170 THEN 15
        WHEN total_tokens < 32768 THEN 16 WHEN total_tokens < 46341 THEN 17 WHEN total_tokens < 65536 THEN 18 WHEN total_tokens < 92682 THEN 19
        WHEN total_tokens < 131072 THEN 20 WHEN total_tokens < 185364 THEN 21 WHEN total_tokens < 262144 THEN 22 WHEN total_tokens < 524288 THEN 23
        WHEN total_tokens < 1048576 THEN 24
        ELSE 25 END
) VIRTUAL;

-- 1 or null: few traces have attachments.
ALTER TABLE rows ADD COLUMN has_media INTEGER AS (CASE WHEN media_count > 0 THEN 1 END) VIRTUAL;
