//! How many bytes of lines each key has left today, for `capture.per_key_daily_bytes`.

use std::collections::HashMap;

use api_log::ids::{BucketId, Date, KeyHash, UnixMillis};
use api_log::jsonl::read;
use api_log::store::layout::Layout;
use parking_lot::Mutex;

/// The bytes of today's buckets. Read from their files when a key is first seen, so that a restart forgets nothing;
/// counted from then on.
///
/// Traces that are finalized at the same time all see the figure from before: a key may exceed its share by those.
/// Segments that were deleted during the day count for as long as the process lives.
pub(crate) struct DayBytes {
    /// 0 for none: then nothing is read or counted.
    limit: u64,
    layout: Layout,
    /// *Invariant:* a bucket is here before its first line of this process is appended.
    used: Mutex<HashMap<BucketId, u64>>,
}

impl DayBytes {
    pub(crate) fn new(layout: Layout, limit: u64) -> DayBytes {
        DayBytes { limit, layout, used: Mutex::default() }
    }

    /// Whether this key has used up its share of today.
    pub(crate) async fn is_over(&self, key: impl FnOnce() -> KeyHash) -> bool {
        if self.limit == 0 {
            return false;
        }
        let bucket = BucketId { date: UnixMillis::now().date(), key: key().short() };
        let known = self.used.lock().get(&bucket).copied();
        let used = match known {
            Some(used) => used,
            None => self.read(bucket).await,
        };
        used >= self.limit
    }

    /// So many bytes more stand in a bucket.
    pub(crate) fn add(&self, bucket: BucketId, bytes: u64) {
        if self.limit > 0
            && let Some(used) = self.used.lock().get_mut(&bucket)
        {
            *used += bytes;
        }
    }

    async fn read(&self, bucket: BucketId) -> u64 {
        let layout = self.layout.clone();
        let found = tokio::task::spawn_blocking(move || read::bucket_bytes(&layout, bucket)).await;
        let Ok(Ok(bytes)) = found else {
            // What cannot be read now is read for the next trace.
            tracing::warn!(%bucket, "cannot tell how much a key has left today; nothing is held against it");
            return 0;
        };
        let mut used = self.used.lock();
        let yesterday = Date(bucket.date.0 - 1);
        used.retain(|it, _| it.date >= yesterday);
        // Whoever was first has seen no line of this process yet, and has counted since.
        *used.entry(bucket).or_insert(bytes)
    }
}
