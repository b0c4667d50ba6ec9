//! What was recorded, read back through the read API as any tool would.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use api_log::ids::UnixMillis;
use api_log::store::token::{self, TokenError};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::client::{Kind, Kinds};
use super::report::Places;
use super::traffic::Sent;

/// How long the recorder may take from a client's last byte to its row.
const PATIENCE: Duration = Duration::from_secs(15);
/// The pause before the recorder is asked again.
const PAUSE: Duration = Duration::from_millis(50);
/// Rows asked for at once: the API's maximum.
const PAGE: usize = 500;

/// Why the read API did not tell what was recorded.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadBackError {
    #[error("demo: {0}")]
    Token(#[from] TokenError),
    #[error("demo: the read API does not answer: {0}")]
    Api(#[from] reqwest::Error),
}

/// A row as the read API lists it, as far as it is shown here.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) ts_start: String,
    pub(super) path: String,
    pub(super) status: i32,
    pub(super) model: Option<String>,
    pub(super) prompt_tokens: Option<i64>,
    pub(super) completion_tokens: Option<i64>,
    pub(super) key_hash: String,
    pub(super) session_root_id: String,
    pub(super) jsonl_path: String,
    pub(super) end: String,
    pub(super) protocol: String,
    pub(super) duration_ms: i64,
    pub(super) first_event_ms: Option<u64>,
}

/// The ledger as `/healthz` tells it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Ledger {
    pub(super) accepted: u64,
    pub(super) recorded: u64,
    pub(super) filtered: u64,
    pub(super) dropped: BTreeMap<String, u64>,
    pub(super) in_flight: u64,
    pub(super) balanced: bool,
}

/// What the recorder says of the traffic.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// The newest rows: those of the last round. Oldest first.
    pub(super) last_round: Vec<Row>,
    /// How many of each kind in all.
    pub(super) kinds: Kinds,
    pub(super) ledger: Ledger,
}

#[derive(Deserialize)]
struct Health {
    ledger: Ledger,
}

#[derive(Deserialize)]
struct Page {
    traces: Vec<Row>,
    next_cursor: Option<String>,
}

impl Recorded {
    /// Waits until everything sent since then is listed, or for so long that it is lost; tells what is there.
    ///
    /// # Errors
    /// The API cannot be asked.
    pub(super) async fn read(places: &Places, since: UnixMillis, sent: &Sent) -> Result<Recorded, ReadBackError> {
        let api = Api::new(places)?;
        let began = Instant::now();
        loop {
            let ledger: Ledger = api.get::<Health>("/healthz").await?.ledger;
            let is_over = began.elapsed() >= PATIENCE;
            if is_over || (ledger.in_flight == 0 && ledger.accepted >= sent.exchanges()) {
                let recorded = api.list(since, sent.of_round(), ledger).await?;
                if is_over || recorded.kinds.values().sum::<u64>() >= sent.exchanges() {
                    return Ok(recorded);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What is missing, and what should not be there; nothing if all is well.
    pub(super) fn wrong(&self, sent: &Sent) -> Vec<String> {
        let count = |kinds: &Kinds, kind: &Kind| kinds.get(kind).copied().unwrap_or(0);
        let mut wrong: Vec<String> = sent
            .kinds
            .iter()
            .map(|(kind, sent)| (kind, sent, count(&self.kinds, kind)))
            .filter(|(_, sent, recorded)| recorded != *sent)
            .map(|(kind, sent, recorded)| format!("{kind}: {sent} sent, {recorded} recorded"))
            .collect();
        let never_sent = self.kinds.iter().filter(|(kind, _)| !sent.kinds.contains_key(kind));
        wrong.extend(never_sent.map(|(kind, recorded)| format!("{kind}: none sent, {recorded} recorded")));
        if self.ledger.accepted != sent.exchanges() || self.ledger.recorded != sent.exchanges() {
            wrong.push(format!("the ledger does not say that all {} exchanges were recorded", sent.exchanges()));
        }
        if !self.ledger.balanced {
            wrong.push("the ledger does not balance".to_owned());
        }
        wrong
    }
}

/// The read API with its token.
struct Api {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Api {
    fn new(places: &Places) -> Result<Api, ReadBackError> {
        let token = token::read_or_create(&places.layout.token())?.secret;
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        Ok(Api { http, base: format!("http://{}", places.api), token })
    }

    async fn get<T: DeserializeOwned>(&self, target: &str) -> reqwest::Result<T> {
        let request = self.http.get(format!("{}{target}", self.base)).bearer_auth(&self.token);
        request.send().await?.error_for_status()?.json().await
    }

    /// Everything since then, counted; only the newest `kept` rows are kept.
    async fn list(&self, since: UnixMillis, kept: u64, ledger: Ledger) -> reqwest::Result<Recorded> {
        let kept = usize::try_from(kept).unwrap_or(usize::MAX);
        let mut recorded = Recorded { ledger, ..Recorded::default() };
        let mut cursor = String::new();
        loop {
            // An empty cursor is none.
            let page: Page = self.get(&format!("/api/traces?since={since}&limit={PAGE}&cursor={cursor}")).await?;
            for row in page.traces {
                *recorded.kinds.entry(row.kind()).or_default() += 1;
                if recorded.last_round.len() < kept {
                    recorded.last_round.push(row);
                }
            }
            match page.next_cursor {
                Some(next) => cursor = next,
                None => break,
            }
        }
        recorded.last_round.reverse();
        Ok(recorded)
    }
}

impl Row {
    fn kind(&self) -> Kind {
        Kind { protocol: self.protocol.clone(), target: self.path.clone(), status: self.status, end: self.end.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: i32) -> Kind {
        Kind { protocol: "chat".into(), target: "/v1".into(), status, end: "complete".into() }
    }

    fn sent(kinds: &[(i32, u64)]) -> Sent {
        let kinds = kinds.iter().map(|(status, times)| (kind(*status), *times)).collect();
        Sent { kinds, rounds: 1, surprises: Vec::new() }
    }

    #[test]
    fn whatever_is_missing_is_named() {
        let sent = sent(&[(200, 3), (429, 1)]);
        let ledger = Ledger { accepted: 4, recorded: 4, balanced: true, ..Ledger::default() };
        let whole = Recorded { kinds: sent.kinds.clone(), ledger: ledger.clone(), ..Recorded::default() };
        assert_eq!(whole.wrong(&sent), Vec::<String>::new());

        let lacking = Recorded { kinds: [(kind(200), 3), (kind(500), 1)].into(), ledger, ..Recorded::default() };
        assert_eq!(
            lacking.wrong(&sent),
            [
                "chat POST /v1 with status 429, complete: 1 sent, 0 recorded",
                "chat POST /v1 with status 500, complete: none sent, 1 recorded"
            ]
        );
        let unbalanced = Ledger { accepted: 4, recorded: 3, ..Ledger::default() };
        let lost = Recorded { kinds: sent.kinds.clone(), ledger: unbalanced, ..Recorded::default() };
        assert_eq!(
            lost.wrong(&sent),
            ["the ledger does not say that all 4 exchanges were recorded", "the ledger does not balance"]
        );
    }
}
