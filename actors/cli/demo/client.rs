//! One client: its key, what it sends, and what it expects to have been recorded of it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use api_log::exchange::End;
use reqwest::Response;
use reqwest::header::ACCEPT_ENCODING;
use serde_json::Value;

use super::dialect::{Dialect, Said};

/// A server that is silent for so long will not answer any more.
const PATIENCE: Duration = Duration::from_secs(20);

/// Nobody reads more than so many complaints.
const MOST_SURPRISES: usize = 10;

/// What is special about an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Twist {
    /// Nothing.
    None,
    /// The answer comes compressed.
    Gzip,
    /// The gateway answers with this status.
    Fails(u16),
    /// The gateway resets the connection in the middle of its answer.
    Cut,
    /// The client leaves in the middle of the answer.
    Leaves,
}

/// What exchanges have in common that cannot be told apart in a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    pub(super) protocol: String,
    pub(super) target: String,
    pub(super) status: i32,
    pub(super) end: String,
}

/// How many exchanges of each kind.
pub(super) type Kinds = BTreeMap<Kind, u64>;

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    server: SocketAddr,
    pub(super) dialect: Dialect,
    /// What it has sent.
    pub(super) kinds: Kinds,
    /// What it did not expect, as far as anybody reads it.
    pub(super) surprises: Vec<String>,
}

impl Client {
    /// A client of `server`.
    ///
    /// # Errors
    /// No HTTP client can be had.
    pub(super) fn new(dialect: Dialect, server: SocketAddr) -> reqwest::Result<Client> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("api-log-demo/", env!("CARGO_PKG_VERSION")))
            // The environment may name a proxy for the world outside.
            .no_proxy()
            .read_timeout(PATIENCE)
            .build()?;
        Ok(Client { http, server, dialect, kinds: Kinds::new(), surprises: Vec::new() })
    }

    /// Sends a request and takes what there is of its answer.
    pub(super) async fn ask(&mut self, target: &str, body: &Value, twist: Twist) -> Said {
        let kind = Kind {
            protocol: self.dialect.protocol().name().to_owned(),
            target: target.to_owned(),
            status: if let Twist::Fails(status) = twist { i32::from(status) } else { 200 },
            end: twist.end().name().to_owned(),
        };
        let (name, key) = self.dialect.key();
        let mut request = self.http.post(format!("http://{}{target}", self.server)).header(name, key).json(body);
        if twist == Twist::Gzip {
            request = request.header(ACCEPT_ENCODING, "gzip");
        }
        if let Some(fault) = twist.fault() {
            request = request.header("x-mock-fault", fault);
        }
        let outcome = match request.send().await {
            Ok(answer) if i32::from(answer.status().as_u16()) != kind.status => {
                Err(format!("the client got status {}", answer.status()))
            }
            Ok(answer) => take(answer, twist).await,
            Err(error) => Err(format!("the client got no answer: {error}")),
        };
        let answer = outcome.unwrap_or_else(|surprise| {
            if self.surprises.len() < MOST_SURPRISES {
                self.surprises.push(format!("{kind}: {surprise}"));
            }
            Vec::new()
        });
        *self.kinds.entry(kind).or_default() += 1;
        self.dialect.read(&answer)
    }
}

async fn take(mut answer: Response, twist: Twist) -> Result<Vec<u8>, String> {
    let mut taken = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => taken.extend_from_slice(&chunk),
            Ok(None) if twist == Twist::Cut => return Err("the client got a whole answer".to_owned()),
            Ok(None) => return Ok(taken),
            Err(_) if twist == Twist::Cut => return Ok(taken),
            Err(error) => return Err(format!("the answer broke off: {error}")),
        }
        if twist == Twist::Leaves {
            // Dropping the answer closes the connection.
            return Ok(taken);
        }
    }
}

impl Twist {
    /// How the exchange ends.
    fn end(self) -> End {
        match self {
            Twist::None | Twist::Gzip | Twist::Fails(_) => End::Complete,
            Twist::Cut => End::UpstreamGone,
            Twist::Leaves => End::ClientGone,
        }
    }

    /// What the mock is asked to do.
    fn fault(self) -> Option<String> {
        match self {
            Twist::None | Twist::Gzip => None,
            Twist::Fails(status) => Some(format!("error-{status}")),
            Twist::Cut => Some("cut-mid-stream".to_owned()),
            // The answer must not be over before the client has left.
            Twist::Leaves => Some("stall".to_owned()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} POST {} with status {}, {}", self.protocol, self.target, self.status, self.end)
    }
}
