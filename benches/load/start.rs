//! How soon the program forwards after its start, with much on the disk.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::plan::Plan;
use crate::process::{Running, Trouble, free_address};
use crate::recorder::{Arenas, command};
use crate::result::Outcome;
use crate::stand::Stand;
use crate::stored;

/// Starts that are timed.
const STARTS: usize = 10;
/// Between two tries to connect.
const TRY_EVERY: Duration = Duration::from_micros(200);

/// Starts it again and again over the same data dir.
pub(crate) fn measure(plan: &Plan, stand: &Stand) -> Result<Outcome, Trouble> {
    let data_dir = stand.fresh("on")?;
    stored::copy(plan, &stand.binary, &data_dir)?;
    let upstream = stand.same.address;
    let arenas = Arenas::named("start");
    let mut outcome = Outcome::default();
    for _ in 0..STARTS {
        let (proxy, api) = (free_address()?, free_address()?);
        let mut command = command(&stand.binary, &[("APILOG_STORAGE_SEAL", "off")]);
        command
            .env("APILOG_CAPTURE_ARENA_DIR", &arenas.0)
            .env("APILOG_PROXY_UPSTREAM", format!("http://{upstream}"))
            .env("APILOG_PROXY_LISTEN", proxy.to_string())
            .env("APILOG_API_LISTEN", api.to_string())
            .env("APILOG_STORAGE_DATA_DIR", &data_dir);
        let began = Instant::now();
        let running = Running::start("recorder-start", &stand.folder, &mut command)?;
        let mut stream = loop {
            match TcpStream::connect(proxy) {
                Ok(stream) => break stream,
                Err(_) if began.elapsed() < Duration::from_secs(30) => std::thread::sleep(TRY_EVERY),
                Err(error) => return Err(Trouble::at("the program does not listen after 30 s", error)),
            }
        };
        let first = stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .and_then(|()| stream.write_all(b"GET /v1/models HTTP/1.1\r\nHost: gateway\r\n\r\n"))
            .and_then(|()| stream.read_exact(&mut [0; 12]));
        first.map_err(|error| Trouble::at("the first answer", error))?;
        outcome.starts_ms.push(began.elapsed().as_secs_f64() * 1e3);
        drop(stream);
        running.end();
    }
    let _ = std::fs::remove_dir_all(data_dir);
    outcome.notes.push("the files are in the page cache".to_owned());
    Ok(outcome)
}
