//! The arguments of `tail`, `show` and `replay`.

use std::path::PathBuf;
use std::str::FromStr;

use api_log::ids::UnixMillis;
use api_log::jsonl::find::IdPrefix;

use super::paint::When;

/// Where traces come from.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct From {
    /// The recorder's API [default: http://127.0.0.1:7862]
    #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
    pub(crate) url: Option<String>,
    /// Its token [default: APILOG_TOKEN, else that of the configured data dir]
    #[arg(long, value_name = "TOKEN", conflicts_with = "data_dir", hide_short_help = true)]
    pub(crate) token: Option<String>,
    /// A file with its token
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data_dir", "token"])]
    pub(crate) token_file: Option<PathBuf>,
    /// Read the files of this data dir; needs no recorder
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Colours: auto, always or never
    #[arg(long, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    pub(crate) color: When,
}

/// What is followed.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Example: api-log tail --status 4xx --since 1h\n\
                  Filters are those of /api/traces; --help names them all.",
    after_long_help = "A line: start (UTC), client, key, model, status, duration, first event, tokens in,\n\
                       cached and out, bytes of request and answer, how it ended, id. Ctrl-C ends it."
)]
pub(crate) struct Tail {
    #[command(flatten)]
    pub(crate) from: From,
    /// Begin with the last N [default: 10; all of --since]
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) lines: Option<usize>,
    /// Full screen: what is under way, traces, health
    #[arg(long, conflicts_with_all = ["data_dir", "json", "lines", "no_follow"])]
    pub(crate) inflight: bool,
    /// End after those that are there
    #[arg(long)]
    pub(crate) no_follow: bool,
    /// One JSON object a line: the API's row
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) filters: Filters,
}

/// The API's filters, by its names.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Filters {
    /// Begun at or after: 10m ago, or RFC 3339
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Since>,
    /// Begun before: 10m ago, or RFC 3339
    #[arg(long, value_name = "TIME", hide_short_help = true)]
    pub(crate) until: Option<Since>,
    /// With this status: 404, 2xx, 4xx or 5xx
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) status: Option<String>,
    /// Of this model
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Of this path; a final * is a prefix
    #[arg(long)]
    pub(crate) path: Option<String>,
    /// Of this key: 8 or all 16 digits of its hash
    #[arg(long, alias = "key_hash", value_name = "HEX", hide_short_help = true)]
    pub(crate) key_hash: Option<String>,
    /// Of the session with this first trace
    #[arg(long, alias = "session_root_id", value_name = "ID", hide_short_help = true)]
    pub(crate) session_root_id: Option<String>,
    /// Of this project
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(crate) project: Option<String>,
    /// With this label
    #[arg(long, value_name = "LABEL", hide_short_help = true)]
    pub(crate) tag: Option<String>,
    /// Of this kind of client
    #[arg(long, alias = "client_kind", value_name = "KIND", hide_short_help = true)]
    pub(crate) client_kind: Option<String>,
    /// A stream was asked for: true or false
    #[arg(long, value_name = "BOOL", hide_short_help = true)]
    pub(crate) stream: Option<String>,
    /// Ended so: complete, client_gone, upstream_gone and so on
    #[arg(long, value_name = "END", hide_short_help = true)]
    pub(crate) end: Option<String>,
    /// Has attachments: true or false
    #[arg(long, alias = "has_media", value_name = "BOOL", hide_short_help = true)]
    pub(crate) has_media: Option<String>,
    /// Took at least so many milliseconds
    #[arg(long, alias = "min_ms", value_name = "N", hide_short_help = true)]
    pub(crate) min_ms: Option<String>,
    /// At least so many tokens in all
    #[arg(long, alias = "min_tokens", value_name = "N", hide_short_help = true)]
    pub(crate) min_tokens: Option<String>,
}

impl Filters {
    /// As query parameters of the API.
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let time = |it: &Option<Since>| it.map(|Since(at)| at.to_string());
        let all = [
            ("since", time(&self.since)),
            ("until", time(&self.until)),
            ("status", self.status.clone()),
            ("model", self.model.clone()),
            ("path", self.path.clone()),
            ("key_hash", self.key_hash.clone()),
            ("session_root_id", self.session_root_id.clone()),
            ("project", self.project.clone()),
            ("tag", self.tag.clone()),
            ("client_kind", self.client_kind.clone()),
            ("stream", self.stream.clone()),
            ("end", self.end.clone()),
            ("has_media", self.has_media.clone()),
            ("min_ms", self.min_ms.clone()),
            ("min_tokens", self.min_tokens.clone()),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// What is shown of a trace.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Example: api-log show 01M84C6AGF --diff parent\n\
                  Without a flag it is shown as a conversation.",
    after_long_help = "Without a flag it is shown as a conversation."
)]
pub(crate) struct Show {
    /// Its id, or the beginning of it that no other has
    #[arg(value_name = "ID")]
    pub(crate) id: IdPrefix,
    #[command(flatten)]
    pub(crate) from: From,
    /// The line as it stands in the file
    #[arg(long, group = "what")]
    pub(crate) raw: bool,
    /// The events of its stream, with their times
    #[arg(long, group = "what")]
    pub(crate) events: bool,
    /// A curl command that repeats the request
    #[arg(long, group = "what")]
    pub(crate) curl: bool,
    /// With its credentials, not variables in their place
    #[arg(long, requires = "curl")]
    pub(crate) with_credentials: bool,
    /// What changed since another trace, and where a prompt cache stops: its id, or `parent`
    #[arg(long, value_name = "ID", group = "what")]
    pub(crate) diff: Option<Other>,
}

/// What a trace is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Other {
    /// The trace that it continues.
    Parent,
    /// This one.
    Trace(IdPrefix),
}

impl FromStr for Other {
    type Err = String;

    fn from_str(text: &str) -> Result<Other, String> {
        match text {
            "parent" => Ok(Other::Parent),
            id => id.parse().map(Other::Trace).map_err(|error: api_log::jsonl::find::NotAPrefix| error.to_string()),
        }
    }
}

/// How a trace's stream is sent again.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Writes the recorded events to standard output, as a gateway sent them.")]
pub(crate) struct Replay {
    /// Its id, or the beginning of it that no other has
    #[arg(value_name = "ID")]
    pub(crate) id: IdPrefix,
    #[command(flatten)]
    pub(crate) from: From,
    /// So many times as fast, up to 100
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) speed: Speed,
    /// Without pauses
    #[arg(long)]
    pub(crate) nodelay: bool,
    /// The first event, counted from 0
    #[arg(long = "from", value_name = "N", default_value_t = 0)]
    pub(crate) first: usize,
    /// The event before which it ends
    #[arg(long = "to", value_name = "N")]
    pub(crate) end: Option<usize>,
    /// Whose messages of a socket: server, client or both
    #[arg(long, value_name = "SIDE", default_value = "server")]
    pub(crate) dir: Sides,
}

/// How many times as fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Speed(pub(crate) f64);

impl FromStr for Speed {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Speed, &'static str> {
        let speed = text.parse().ok().filter(|speed: &f64| *speed > 0.0 && *speed <= 100.0);
        speed.map(Speed).ok_or("must be a number above 0 and up to 100")
    }
}

/// Whose messages of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sides {
    Server,
    Client,
    Both,
}

/// A moment: RFC 3339, or so long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Since(pub(crate) UnixMillis);

impl FromStr for Since {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Since, &'static str> {
        let ago = || {
            let ago = i64::try_from(humantime::parse_duration(text).ok()?.as_millis()).ok()?;
            Some(UnixMillis(UnixMillis::now().0.saturating_sub(ago)))
        };
        text.parse()
            .ok()
            .or_else(ago)
            .map(Since)
            .ok_or("not a time such as 2026-05-27T10:23:45Z, nor how long ago, such as 10m")
    }
}
