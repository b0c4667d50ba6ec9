//! The table of keys: a row here is all that a new key needs.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::access_log::AccessLog;
use super::address::{ListenAddress, Upstream};
use super::fsync::Fsync;
use super::kinds::{Count, Kind, Level, OptionalSpan, Size, Span, Switch};
use super::lists::{Instances, Networks, Patterns, RedactProfiles};
use super::otlp::{SecretField, SecretFields, SpanContent};
use super::seal::Seal;
use super::sources::Reader;
use super::table::{ANY, Change, Key, Rules, configuration};
use super::texts::{Digest, FilePath, Folder, Mount, Optional, Secret, Text};
use crate::export::profile::Profiles;
use crate::plugin::instance::Instance;
use crate::plugin::path_patterns::PathPatterns;

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;
/// The longest time-out: longer ones are mistakes, and far longer ones overflow clocks.
const YEAR: i64 = 365 * DAY;
const GIB: i64 = 1 << 30;
const TIB: i64 = 1 << 40;

configuration! {
    /// The recording proxy: what clients talk to instead of the gateway.
    proxy: Proxy {
        /// Where clients connect.
        listen: ListenAddress as ListenAddress = ":7861", ANY;
        /// The gateway that every request is forwarded to. A path here stands before every request's path.
        upstream: Upstream as Upstream = "http://localhost:7860", ANY;
        /// Whose address headers (`X-Forwarded-For` and the like) are believed when the client's address is recorded.
        trusted_proxies: Vec<IpNet> as Networks = "127.0.0.0/8,::1/128,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,169.254.0.0/16,fc00::/7,fe80::/10", ANY;
        /// How long an unused connection to the gateway is kept. Must be less than the gateway's own limit, which is
        /// 5 seconds for uvicorn.
        upstream_idle: Duration as Span = "4s", ANY.reloadable().range(0, YEAR);
        /// Whether the gateway sees the client's `Host` instead of its own.
        preserve_host: bool as Switch = "false", ANY;
        /// How many client connections may be open at once; 0 = unlimited.
        max_connections: u64 as Count<u64> = "0", ANY.range(0, 10_000_000);
        /// How large a request's header block may be.
        max_header_bytes: usize as Size<usize> = "256KiB", ANY.range(8 << 10, 64 << 20);
        /// How many forwarding threads there are, each with its own connections to the gateway; 0 = one per core.
        lanes: u64 as Count<u64> = "0", ANY.range(0, 1024);
    }
    /// The read API and the viewer.
    api: Api {
        /// Where the API and the viewer are served.
        listen: ListenAddress as ListenAddress = ":7862", ANY;
        /// How many connections may be open at once. One more is answered with 503, but for `/healthz` and `/readyz`.
        max_connections: usize as Count<usize> = "1024", ANY.range(1, 1_000_000);
        /// A file of further tokens, each with its scope, as `api-log token` makes them; empty = `tokens` in the data
        /// folder. It is read again when it changes.
        token_file: Option<PathBuf> as Optional<FilePath> = "", ANY;
        /// Whether it is written down who read which trace, a JSON line for each request; true = `access.jsonl` in the
        /// data folder.
        access_log: AccessLog as AccessLog = "false", ANY;
        /// How large that file may become before it is set aside and the next one is begun.
        access_log_bytes: u64 as Size<u64> = "16MiB", ANY.range(4 << 10, TIB);
        /// How many files that were set aside are kept.
        access_log_files: u32 as Count<u32> = "8", ANY.range(0, 10_000);
        /// Whether `/metrics` asks for the token too. It holds counts and names of parts, nothing of what was recorded.
        metrics_auth: bool as Switch = "false", ANY.reloadable();
        /// How long a question to the index may take before it is stopped and answered with 504.
        query_timeout: Duration as Span = "5s", ANY.reloadable().range(10, 3_600_000);
        /// How large an export may become; 0 = 2 GiB, negative = unlimited.
        export_byte_hardcap: i64 as Size<i64> = "0", ANY;
        /// What exports can hide: `redact=NAME` replaces the values of the header fields, the query parameters and the
        /// places in JSON bodies that a profile names, and those that hold credentials, by placeholders. `credentials` is
        /// built in, and hides just these.
        redact_profiles: Profiles as RedactProfiles = "", ANY;
    }
    /// What the index holds beside rows.
    index: Index {
        /// Whether texts of requests and answers, and what tools are called with, are kept in the index to be searched
        /// for (`q` of the read API). It costs disk and time: see docs/performance.md. Changed, the index is made anew
        /// from the files at the next start, or texts are deleted from it.
        full_text: bool as Switch = "false", ANY;
        /// How much text of a trace is kept: of the answer up to half of it, then of the request, its newest turn first.
        full_text_bytes: usize as Size<usize> = "16KiB", ANY.range(1 << 10, 1 << 20);
    }
    /// Where traces are stored and how much of each.
    storage: Storage {
        /// The folder that holds everything recorded.
        data_dir: PathBuf as Folder = "./data", ANY;
        /// How much of a body is recorded, per direction. Forwarding is not limited.
        max_body_bytes: u64 as Size<u64> = "32MiB", ANY.reloadable().range(1, TIB);
        /// How large a recorded body may become when it is decompressed; a larger one is recorded as it came.
        max_decoded_bytes: u64 as Size<u64> = "64MiB", ANY.range(1, TIB);
        /// How finished files (of past days, and full ones) are compressed: zstd takes least room by far, gzip is
        /// what every tool reads.
        seal: Seal as Seal = "zstd", ANY;
        /// Accepted for the sake of older files, and without effect: `capture.memory_bytes` bounds what waits.
        capture_chan_size: usize as Count<usize> = "64", ANY.range(1, 1_000_000);
        /// How many traces may be finalized or wait for their file at once; more wait in the memory of captures.
        writer_chan_size: usize as Count<usize> = "1024", ANY.range(1, 10_000_000);
        /// How long a file of lines may become before the next one is begun. Full ones can be sealed and deleted while
        /// the day goes on.
        segment_bytes: u64 as Size<u64> = "256MiB", ANY.range(1 << 20, TIB);
        /// How much room on the disk is left to others: with less, bodies are not recorded until there is a quarter more,
        /// and lines say so; 0 = only when the disk refuses.
        min_free_bytes: u64 as Size<u64> = "64MiB", ANY.range(0, TIB);
        /// When lines are forced to the disk; they survive the end of the process in any case. What a loss of power
        /// costs: never = what the system had not written by itself; interval = those of the last `fsync_interval`;
        /// always = none that counts as recorded, but each waits for the disk.
        fsync: Fsync as Fsync = "interval", ANY;
        /// How often lines are forced to the disk while there are new ones; with `fsync: interval` only.
        fsync_interval: Duration as Span = "1s", ANY.range(10, 3_600_000);
    }
    /// What is kept in memory while an exchange is under way.
    capture: Capture {
        /// Whether exchanges are recorded at all; false makes a plain proxy.
        enabled: bool as Switch = "true", ANY.reloadable();
        /// How much memory all running captures may take together.
        memory_bytes: u64 as Size<u64> = "256MiB", ANY.range(1 << 20, TIB);
        /// How much of that one exchange may take before it moves to a temporary file.
        spill_bytes: u64 as Size<u64> = "1MiB", ANY.range(4 << 10, GIB);
        /// A folder, on a tmpfs, for that memory, so that a crash of the program loses no capture; empty = `tmp` in the
        /// data folder if it is one, else a folder in `/dev/shm`.
        arena_dir: Option<PathBuf> as Optional<Folder> = "", ANY;
        /// How many bytes of lines one key may leave on one UTC day; beyond, its traces are recorded without their bodies,
        /// and say so; 0 = no limit.
        per_key_daily_bytes: u64 as Size<u64> = "0", ANY.range(0, i64::MAX);
    }
    /// How long things may take.
    timeouts: Timeouts {
        /// How long a client may take to send a request's headers; and to send the body of one to the read API.
        read_header: Duration as Span = "10s", ANY.reloadable().seconds().range(1, YEAR);
        /// How long a client's connection may stay open without a request.
        idle: Duration as Span = "2m", ANY.reloadable().seconds().range(1, YEAR);
        /// How long an exchange may go without a byte in either direction while its answer is open.
        stream_idle: Option<Duration> as OptionalSpan = "10m", ANY.seconds().range(1, YEAR);
        /// How long the gateway may take to begin its answer once it has the whole request.
        response_header: Option<Duration> as OptionalSpan = "off", ANY.range(1, YEAR);
        /// Accepted for the sake of older files, and without effect.
        req_body_capture: Duration as Span = "1m", ANY.seconds().range(0, YEAR);
        /// From which duration on an exchange is logged as slow.
        slow_trace: Option<Duration> as OptionalSpan = "30s", ANY.reloadable().seconds().range(1, YEAR);
    }
    /// How the program ends.
    shutdown: Shutdown {
        /// How long exchanges under way may go on after SIGTERM or SIGINT.
        grace: Duration as Span = "30s", ANY.seconds().range(0, DAY);
    }
    /// The program's own log, JSON lines on standard error.
    logging: Logging {
        /// The least important level that is logged.
        level: Level as Level = "info", ANY.reloadable();
    }
    /// What the program tells about itself.
    diagnostics: Diagnostics {
        /// How often all counters are logged.
        snapshot_interval: Option<Duration> as OptionalSpan = "1m", ANY.reloadable().seconds().range(1000, YEAR);
    }
    /// Images, audio and documents within bodies.
    media: Media {
        /// Whether they are also saved as files of their own. Can be changed at run time.
        save_attachments: bool as Switch = "true", ANY.reloadable();
    }
    /// Plugins, and filters by request path, compared without the query: `/a/b` is that path, `/a/*` everything below.
    plugins: Plugins {
        /// Exchanges that are captured and then discarded, counted as filtered.
        path_filter: PathPatterns as Patterns, at "plugins.path_filter.patterns" = "", ANY.reloadable();
        /// Exchanges that are forwarded without being captured.
        capture_filter: PathPatterns as Patterns, at "plugins.capture_filter.patterns" = "", ANY.reloadable();
        /// Plugins: objects with `type`, `id`, `enabled` and `config`, as `GET /api/plugins/types` describes them. They
        /// act in this order, unless another list was set at run time.
        instances: Vec<Instance> as Instances = "[]", ANY.reloadable();
    }
    /// When recorded days are deleted: never, unless a limit is set. Can be changed at run time.
    retention: Retention {
        /// How much all days together may take; 0 = no limit.
        max_bytes: u64 as Size<u64> = "0", ANY.range(0, i64::MAX);
        /// How long a day is kept after it has ended.
        max_age: Option<Duration> as OptionalSpan = "off", ANY.range(1, 100 * YEAR);
        /// From how many percent of `max_bytes` on a warning is logged.
        warn_at_percent: u64 as Count<u64> = "80", ANY.range(1, 100);
        /// How much the days of one key may take; 0 = no limit.
        per_key_max_bytes: u64 as Size<u64> = "0", ANY.range(0, i64::MAX);
        /// How much all attachments together may take; over it the oldest go, and their lines stay. 0 = no limit.
        media_max_bytes: u64 as Size<u64> = "0", ANY.range(0, i64::MAX);
    }
    /// The web viewer that the API's listener serves.
    viewer: Viewer {
        /// Whether it is served.
        enabled: bool as Switch = "true", ANY;
        /// The repository whose releases hold it, as OWNER/NAME; empty = the one built in.
        repo: Option<String> as Optional<Text> = "", ANY;
        /// The release; empty = the one built in.
        version: Option<String> as Optional<Text> = "", ANY;
        /// The digest that the release's archive must have; empty = the one built in.
        sha256: Option<String> as Optional<Digest> = "", ANY;
        /// A folder to serve instead of a release.
        local_path: Option<PathBuf> as Optional<Folder> = "", ANY;
        /// Where fetched releases are kept; empty = `viewer-cache` in the data folder.
        cache_dir: Option<PathBuf> as Optional<Folder> = "", ANY;
        /// Where it stands on the API's listener. The viewer works below one segment only.
        public_path: String as Mount = "/viewer", ANY;
        /// The service that is asked for releases; empty = GitHub's.
        releases_api_base: Option<Upstream> as Optional<Upstream> = "", ANY;
        /// The token that is sent to that service.
        releases_auth_token: Option<Secret> as Optional<Secret> = "", ANY.secret();
    }
    /// Traces as OpenTelemetry spans, sent to a collector beside what is recorded: see docs/otlp.md.
    otlp: Otlp {
        /// The collector's address, without `/v1/traces`; empty = nothing is sent.
        endpoint: Option<Upstream> as Optional<Upstream> = "", ANY;
        /// Header fields that are sent to it, `NAME=VALUE` each, for its credentials.
        headers: Vec<SecretField> as SecretFields = "", ANY.secret();
        /// How long it may take to answer.
        timeout: Duration as Span = "10s", ANY.range(100, 600_000);
        /// For how long spans that it does not take are sent again before they are left out.
        retry: Duration as Span = "5m", ANY.range(0, DAY);
        /// How many spans may wait. One more is left out, and counted.
        queue: usize as Count<usize> = "8192", ANY.range(1, 1_000_000);
        /// How many spans are sent at once, at most.
        batch: usize as Count<usize> = "512", ANY.range(1, 10_000);
        /// What spans hold of what was said: none, or text = the texts of requests and answers, and what tools are
        /// called with.
        content: SpanContent as SpanContent = "none", ANY;
        /// The profile of `api.redact_profiles` that is applied before a span with texts is made.
        redact: String as Text = "credentials", ANY;
        /// Whether requests to it are compressed.
        gzip: bool as Switch = "false", ANY;
        /// What the spans' resource is called (`service.name`).
        service_name: String as Text = "api-log", ANY;
    }
}
