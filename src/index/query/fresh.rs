//! A row as readers see it, made of a line alone.

use super::TraceRow;
use crate::ids::Place;
use crate::jsonl::line::{BadLine, read_row};
use crate::media;
use crate::store::layout::Layout;
use crate::trace::Row;

impl TraceRow {
    /// The row of a line in the files, its attachments counted.
    ///
    /// # Errors
    /// It is no trace's line.
    pub fn in_files(layout: &Layout, place: Place, line: &[u8]) -> Result<TraceRow, BadLine> {
        let row = read_row(line)?;
        let media_count = media::count(&layout.media(place.segment.bucket, row.id));
        Ok(TraceRow::of_line(row, place, media_count))
    }

    /// The row of a line that stands at `place`, with so many attachments beside it. What only the index knows is
    /// missing: it seems to continue nothing, and to be a session of its own.
    pub fn of_line(row: Row, place: Place, media_count: u32) -> TraceRow {
        let id = row.id.to_string();
        TraceRow {
            session_root_id: id.clone(),
            id,
            ts_start: row.ts_start,
            ts_end: row.ts_end,
            client: row.client,
            method: row.method,
            path: row.path,
            upstream: row.upstream,
            status: row.status,
            model: row.model,
            stream: row.stream,
            prompt_tokens: row.usage.prompt,
            completion_tokens: row.usage.completion,
            total_tokens: row.usage.total,
            cached_tokens: row.usage.cached,
            cache_creation_tokens: row.usage.cache_creation,
            reasoning_tokens: row.usage.reasoning,
            finish_reason: row.finish_reason,
            client_kind: row.client_kind,
            client_version: row.client_version,
            client_project: row.client_project,
            key_hash: row.key.to_string(),
            parent_id: None,
            disconnected: row.disconnected,
            truncated_req: row.truncated_req,
            truncated_resp: row.truncated_resp,
            media_count,
            jsonl_path: place.segment.to_string(),
            jsonl_offset: place.offset,
            jsonl_bytes: place.bytes,
            end: row.end.name().to_owned(),
            protocol: row.protocol.name().to_owned(),
            duration_ms: row.ts_end.0.saturating_sub(row.ts_start.0),
            ttfb_ms: row.ttfb_ms,
            first_event_ms: row.first_event_ms,
            req_bytes: row.req_bytes,
            resp_bytes: row.resp_bytes,
            session_method: None,
            tags: row.tags,
            error_type: row.error_type,
            snippet: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{BucketId, Date, SegmentId, ShortKey};
    use crate::index::insert_batch;
    use crate::index::query;
    use crate::index::testing::{new_index, row};

    #[test]
    fn a_row_of_a_line_is_the_row_of_the_index_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let (mut index, mut state) = new_index(&Layout::new(dir.path()));
        let segment = SegmentId { bucket: BucketId { date: Date(20_000), key: ShortKey([1; 4]) }, number: 0 };
        let place = Place { segment, offset: 0, bytes: 9 };
        let row = row(7, 1_700_000_000_000);
        insert_batch(&mut index, &mut state, &[(row.clone(), place)]).unwrap();
        let of_index = query::get(&index, row.id).unwrap().unwrap();
        let of_line = TraceRow::of_line(row.clone(), place, row.media_count);
        assert_eq!(of_line, of_index);
        let read: TraceRow = serde_json::from_str(&serde_json::to_string(&of_line).unwrap()).unwrap();
        assert_eq!(read, of_line);
    }
}
