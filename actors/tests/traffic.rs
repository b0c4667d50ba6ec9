//! Clients that ask all kinds of things and check every byte of every answer.

use std::net::SocketAddr;

use serde_json::json;

use super::upstream::{blob, chat_answer, events, receipt};

/// Clients at once.
const CLIENTS: u64 = 8;
/// Keys in use, each with a file of its own.
const KEYS: u64 = 3;
/// Tells the exchanges apart, in what is recorded too.
pub(super) const NUMBER: &str = "x-number";

/// Runs the exchanges of these numbers, some clients at once; returns when each has its answer.
///
/// # Panics
/// An answer is not whole and right.
pub(super) async fn run(proxy: SocketAddr, numbers: std::ops::Range<u64>) {
    let clients = (0..CLIENTS).map(|client| {
        let numbers = numbers.clone();
        tokio::spawn(async move {
            let http = http_client(client % 2 == 0);
            for number in numbers.filter(|it| it % CLIENTS == client) {
                exchange(&http, proxy, number).await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("every client gets its whole answer");
    }
}

/// A client that keeps its connections, or takes a new one each time.
pub(super) fn http_client(keeps_alive: bool) -> reqwest::Client {
    crate::tls::choose_provider();
    let idle = if keeps_alive { 4 } else { 0 };
    reqwest::Client::builder().no_proxy().pool_max_idle_per_host(idle).build().unwrap()
}

/// What is asked for: follows from an exchange's number.
enum Kind {
    Plain,
    Streamed,
    Upload(Vec<u8>),
    Download(usize),
}

impl Kind {
    fn of(number: u64) -> Kind {
        match number / CLIENTS % 4 {
            0 => Kind::Plain,
            1 => Kind::Streamed,
            2 => Kind::Upload(blob(number, (number * 7919 % 60_000) as usize)),
            _ => Kind::Download((number * 104_729 % 60_000) as usize),
        }
    }
}

/// The whole answer to an exchange.
pub(super) fn expected(number: u64) -> String {
    match Kind::of(number) {
        Kind::Plain => chat_answer(number),
        Kind::Streamed => events(number).concat(),
        Kind::Upload(body) => receipt(&body),
        Kind::Download(bytes) => String::from_utf8(blob(number, bytes)).unwrap(),
    }
}

/// One exchange.
pub(super) async fn exchange(http: &reqwest::Client, proxy: SocketAddr, number: u64) {
    let base = format!("http://{proxy}");
    let chat = || http.post(format!("{base}/v1/chat/completions"));
    let request = match Kind::of(number) {
        Kind::Plain => chat().json(&question(number, false)),
        Kind::Streamed => chat().json(&question(number, true)),
        Kind::Upload(body) => http.post(format!("{base}/v1/files")).body(body),
        Kind::Download(bytes) => http.get(format!("{base}/blob/{number}/{bytes}")),
    };
    let answer = request
        .header(NUMBER, number)
        .bearer_auth(format!("key-{}", number % KEYS))
        .send()
        .await
        .unwrap_or_else(|error| panic!("exchange {number} has no answer: {error:?}"));
    assert_eq!(answer.status(), 200, "exchange {number}");
    let text = answer.text().await.unwrap_or_else(|error| panic!("the answer of {number} broke off: {error:?}"));
    let expected = expected(number);
    assert!(text == expected, "exchange {number}: {} bytes of {}", text.len(), expected.len());
}

fn question(number: u64, stream: bool) -> serde_json::Value {
    json!({"model": "m", "seed": number, "stream": stream, "messages": [{"role": "user", "content": format!("q {number}")}]})
}
