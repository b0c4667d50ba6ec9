//! Thousands of streams at once, an event a second on each.

use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use super::connection::Connection;
use super::{Load, Notes};
use crate::gateway::EVENT_BYTES;

/// Streams that are begun in a second.
const BEGUN_A_SECOND: f64 = 1_000.0;

/// One stream on each connection, to its end.
pub(crate) async fn run(load: &Load, events: u64) -> Notes {
    let tasks = LocalSet::new();
    let address = load.address;
    let streams: Vec<_> = (0..load.connections)
        .map(|number| {
            tasks.spawn_local(async move {
                tokio::time::sleep(Duration::from_secs_f64(number as f64 / BEGUN_A_SECOND)).await;
                let mut notes = Notes::default();
                let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"Slowly."}]}"#;
                let request = format!(
                    "POST /v1/chat/completions?paced={events} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n\
                     Authorization: Bearer bench-{}\r\nContent-Length: {}\r\n\r\n{body}",
                    number % 4,
                    body.len()
                );
                let sent = Instant::now();
                let streamed = async {
                    let mut connection = Connection::open(address).await?;
                    connection.send(request.as_bytes()).await?;
                    connection.answer().await
                };
                match streamed.await {
                    Ok(answer) if answer.body == events * EVENT_BYTES as u64 => {
                        notes.whole_us.push(sent.elapsed().as_micros() as f32);
                        notes.first_us.push((answer.first - sent).as_nanos() as f32 / 1e3);
                        notes.measured.requests += 1;
                        notes.measured.events += events;
                        notes.measured.sent_bytes += request.len() as u64;
                        notes.measured.received_bytes += answer.bytes;
                    }
                    Ok(answer) => notes.failed(format!("a stream of {} bytes", answer.body)),
                    Err(error) => notes.failed(error),
                }
                notes
            })
        })
        .collect();
    tasks.await;
    let mut all = Notes::default();
    for stream in streams {
        all.add(stream.await.expect("a stream's task"));
    }
    all
}
