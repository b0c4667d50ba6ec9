//! What a lane hands over when an exchange has ended, and how its bytes become a recording again.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use api_log::counters::InFlight;
use api_log::exchange::{End, Exchange};
use api_log::headers::Headers;
use api_log::ids::{KeyHash, TraceId, UnixMillis};
use api_log::recording::{Mark, Recording};
use parking_lot::Mutex;

/// The bytes that all captures together may hold in memory.
pub(crate) struct Memory {
    used: AtomicU64,
    high_water: AtomicU64,
    limit: u64,
}

impl Memory {
    /// An empty budget of `limit` bytes.
    pub(crate) fn new(limit: u64) -> Arc<Memory> {
        Arc::new(Memory { used: AtomicU64::new(0), high_water: AtomicU64::new(0), limit })
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The most that was ever in use.
    pub(crate) fn high_water(&self) -> u64 {
        self.high_water.load(Ordering::Relaxed)
    }

    /// The budget.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether captures should move to disk rather than grow.
    pub(crate) fn is_tight(&self) -> bool {
        self.used() > self.limit / 2
    }
}

/// Bytes of the budget, given back on drop.
pub(crate) struct Share {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Share {
    /// A share of nothing.
    pub(crate) fn none(memory: &Arc<Memory>) -> Share {
        Share { memory: memory.clone(), bytes: 0 }
    }

    /// Grows the share by `bytes`; `false`, and no change, if the budget has no room.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let used = self.memory.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.memory.limit {
            self.memory.used.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.memory.high_water.fetch_max(used, Ordering::Relaxed);
        self.bytes += bytes;
        true
    }

    /// Makes the share one of `bytes`. What is there already is told, not asked for: the budget may be exceeded.
    pub(crate) fn set(&mut self, bytes: u64) {
        if bytes > self.bytes {
            let more = bytes - self.bytes;
            let used = self.memory.used.fetch_add(more, Ordering::Relaxed) + more;
            self.memory.high_water.fetch_max(used, Ordering::Relaxed);
        } else {
            self.memory.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }

    /// Splits all of it off.
    pub(crate) fn split(&mut self) -> Share {
        Share { memory: self.memory.clone(), bytes: std::mem::take(&mut self.bytes) }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A full piece of a body. It is readable at any time, whether the spool has come round to it or not.
pub(crate) struct Block(Mutex<BlockState>);

enum BlockState {
    Memory { bytes: Vec<u8>, _share: Share },
    Disk { file: Arc<SpoolFile>, offset: u64, bytes: usize },
}

impl Block {
    /// A block in memory.
    pub(crate) fn new(bytes: Vec<u8>, share: Share) -> Arc<Block> {
        Arc::new(Block(Mutex::new(BlockState::Memory { bytes, _share: share })))
    }

    /// Moves the bytes to the end of `file`; already moved ones stay. On an error they stay in memory.
    pub(crate) fn spill(&self, file: &Arc<SpoolFile>) -> io::Result<()> {
        let mut state = self.0.lock();
        if let BlockState::Memory { bytes, .. } = &*state {
            let offset = file.append(bytes)?;
            *state = BlockState::Disk { file: file.clone(), offset, bytes: bytes.len() };
        }
        Ok(())
    }

    fn read_into(&self, body: &mut Vec<u8>) -> io::Result<()> {
        match &*self.0.lock() {
            BlockState::Memory { bytes, .. } => body.extend_from_slice(bytes),
            BlockState::Disk { file, offset, bytes } => {
                let start = body.len();
                body.resize(start + bytes, 0);
                if let Err(error) = file.read_at(&mut body[start..], *offset) {
                    body.truncate(start);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// The file in `tmp/` that holds what one direction's capture could not keep in memory. Removed on drop.
pub(crate) struct SpoolFile {
    path: std::path::PathBuf,
    open: Mutex<Option<(File, u64)>>,
}

impl SpoolFile {
    /// A file that comes into being with its first bytes.
    pub(crate) fn new(path: std::path::PathBuf) -> Arc<SpoolFile> {
        Arc::new(SpoolFile { path, open: Mutex::new(None) })
    }

    /// Appends and returns the offset.
    fn append(&self, bytes: &[u8]) -> io::Result<u64> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut open = self.open.lock();
        if open.is_none() {
            let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&self.path)?;
            *open = Some((file, 0));
        }
        let Some((file, end)) = open.as_mut() else { return Err(io::ErrorKind::NotFound.into()) };
        let offset = *end;
        // At a fixed offset: bytes of a write that failed half-way are overwritten by the next.
        file.write_all_at(bytes, offset)?;
        *end += bytes.len() as u64;
        Ok(offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        match &*self.open.lock() {
            Some((file, _)) => file.read_exact_at(bytes, offset),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        if self.open.get_mut().is_some() {
            // A file that cannot be removed costs disk, not data.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// One direction of an ended exchange.
pub(crate) struct CapturedBody {
    /// Full blocks, in order.
    pub(crate) blocks: Vec<Arc<Block>>,
    /// What follows the blocks.
    pub(crate) tail: Vec<u8>,
    /// Arrivals, as in [`Recording`].
    pub(crate) marks: Vec<Mark>,
    /// Bytes that passed.
    pub(crate) wire_bytes: u64,
    /// Bytes passed unrecorded.
    pub(crate) is_cut: bool,
    /// Memory of `tail`.
    pub(crate) _share: Share,
}

impl CapturedBody {
    /// The body in one piece. Blocks that cannot be read back end it there, marked as cut.
    fn recording(&self) -> (Recording, Option<io::Error>) {
        let mut bytes = Vec::new();
        let mut error = None;
        for block in &self.blocks {
            if let Err(failed) = block.read_into(&mut bytes) {
                error = Some(failed);
                break;
            }
        }
        if error.is_none() {
            bytes.extend_from_slice(&self.tail);
        }
        let is_cut = self.is_cut || error.is_some();
        (Recording { bytes, marks: self.marks.clone(), wire_bytes: self.wire_bytes, is_cut }, error)
    }
}

/// An ended exchange as its lane leaves it: nothing parsed.
pub(crate) struct Captured {
    /// Its identity.
    pub(crate) id: TraceId,
    /// When its request head had been received.
    pub(crate) ts_start: UnixMillis,
    /// When it had ended.
    pub(crate) ts_end: UnixMillis,
    /// Who connected.
    pub(crate) peer: SocketAddr,
    /// The configured upstream.
    pub(crate) upstream: Arc<str>,
    /// The request head, request line first.
    pub(crate) request_head: Vec<u8>,
    /// The answer's status and head.
    pub(crate) answer: Option<(u16, Vec<u8>)>,
    /// The request body.
    pub(crate) request: CapturedBody,
    /// The answer's body.
    pub(crate) response: CapturedBody,
    /// Request trailers.
    pub(crate) request_trailers: Headers,
    /// Answer trailers.
    pub(crate) response_trailers: Headers,
    /// How it ended.
    pub(crate) end: End,
    /// Milliseconds to the answer's head.
    pub(crate) ttfb_ms: Option<u64>,
    /// What went wrong.
    pub(crate) error: Option<Box<str>>,
    /// When it was handed over.
    pub(crate) handed_over: std::time::Instant,
    /// Counts it as in flight until it has an outcome.
    pub(crate) in_flight: Option<InFlight>,
}

impl Captured {
    /// Whose it is. Reads the head only.
    pub(crate) fn key(&self) -> KeyHash {
        let headers = Headers::parse(&self.request_head).unwrap_or_default();
        api_log::client::key_hash(&headers, &request_line(&self.request_head).1)
    }

    /// The exchange as the library knows it. Spooled bytes are read back here (blocking).
    pub(crate) fn exchange(&self) -> Exchange {
        let (method, target) = request_line(&self.request_head);
        let (request, request_error) = self.request.recording();
        let (response, response_error) = self.response.recording();
        for error in request_error.into_iter().chain(response_error) {
            tracing::warn!(trace = %self.id, %error, "a spooled body cannot be read back; it is recorded up to there");
        }
        let mut request_headers = Headers::parse(&self.request_head).unwrap_or_default();
        crate::proxy::strip_recorded(&mut request_headers);
        let response_headers = self.answer.as_ref().and_then(|(_, head)| Headers::parse(head)).unwrap_or_default();
        Exchange {
            id: self.id,
            ts_start: self.ts_start,
            ts_end: self.ts_end,
            peer: self.peer,
            method,
            target,
            upstream: self.upstream.clone(),
            status: self.answer.as_ref().map(|(status, _)| *status),
            request_headers,
            response_headers,
            request_trailers: self.request_trailers.clone(),
            response_trailers: self.response_trailers.clone(),
            request,
            response,
            end: self.end,
            ttfb_ms: self.ttfb_ms,
            error: self.error.clone(),
        }
    }
}

/// Method and target of a head. A target in absolute form is reduced to its path and query, as it was sent on.
fn request_line(head: &[u8]) -> (Box<str>, Box<str>) {
    let line = head.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    (method.into(), origin_form(target).into())
}

/// The path and query of a target.
fn origin_form(target: &str) -> &str {
    let Some((scheme, rest)) = target.split_once("://") else { return target };
    if target.starts_with('/') || !scheme.chars().all(|it| it.is_ascii_alphanumeric() || "+-.".contains(it)) {
        return target;
    }
    match rest.find(['/', '?']) {
        Some(at) => &rest[at..],
        None => "/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_never_exceeds_the_budget_and_comes_back() {
        let memory = Memory::new(100);
        let mut share = Share::none(&memory);
        assert!(share.grow(60));
        assert!(memory.is_tight());
        assert!(!share.grow(60));
        assert_eq!(memory.used(), 60);
        let moved = share.split();
        drop(share);
        assert_eq!(memory.used(), 60);
        drop(moved);
        assert_eq!((memory.used(), memory.high_water()), (0, 60));
        let mut told = Share::none(&memory);
        told.set(150);
        told.set(40);
        assert_eq!((memory.used(), memory.high_water()), (40, 150));
    }

    #[test]
    fn a_spilled_block_reads_back_and_frees_its_memory_and_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.resp.bin");
        let memory = Memory::new(1000);
        let block = |bytes: &[u8]| {
            let mut share = Share::none(&memory);
            assert!(share.grow(bytes.len() as u64));
            Block::new(bytes.to_vec(), share)
        };
        let file = SpoolFile::new(path.clone());
        let blocks = [block(b"one "), block(b"two "), block(b"three")];
        blocks[0].spill(&file).unwrap();
        blocks[2].spill(&file).unwrap();
        blocks[2].spill(&file).unwrap();
        assert_eq!(memory.used(), 4);
        let mut body = Vec::new();
        blocks.iter().for_each(|it| it.read_into(&mut body).unwrap());
        assert_eq!(body, b"one two three");
        drop(file);
        assert!(path.exists());
        drop(blocks);
        assert!(!path.exists());
    }

    #[test]
    fn an_absolute_target_is_reduced_and_others_stay() {
        for (target, expected) in [
            ("/a//b?x=http://y", "/a//b?x=http://y"),
            ("http://h:1/a?b", "/a?b"),
            ("http://h", "/"),
            ("http://h?q", "?q"),
            ("*", "*"),
        ] {
            assert_eq!(origin_form(target), expected);
        }
    }
}
