//! What is asked of the program, and whether a run shows it.

use serde::{Deserialize, Serialize};

use crate::result::{Outcome, Peer, Results, Windows, median};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) target: String,
    /// What the run gave; empty if it did not run.
    pub(crate) seen: String,
    pub(crate) is_met: Option<bool>,
}

/// Judges what there is. Scenarios that did not run are told as not measured.
pub(crate) fn judge(results: &Results) -> Vec<Verdict> {
    let judge = Judge { results, verdicts: Vec::new() };
    judge.rates().latencies().streams().under_pressure().resources().books().verdicts
}

struct Judge<'r> {
    results: &'r Results,
    verdicts: Vec<Verdict>,
}

impl Judge<'_> {
    fn scenario(&self, name: &str) -> Option<&Outcome> {
        self.results.scenarios.get(name).filter(|it| it.error.is_none())
    }

    fn least(&mut self, target: &str, value: Option<f64>, least: f64) {
        self.say(format!("{target} ≥ {least}"), value.map(|it| (format!("{it:.2}"), it >= least)));
    }

    fn most(&mut self, target: &str, unit: &str, value: Option<f64>, most: f64) {
        self.say(format!("{target} ≤ {most}{unit}"), value.map(|it| (format!("{it:.2}{unit}"), it <= most)));
    }

    fn say(&mut self, target: String, seen: Option<(String, bool)>) {
        let is_met = seen.as_ref().map(|(_, is_met)| *is_met);
        let seen = seen.map(|(seen, _)| seen).unwrap_or_default();
        self.verdicts.push(Verdict { target, seen, is_met });
    }

    fn ratio(&self, name: &str, over: Peer) -> Option<f64> {
        self.scenario(name)?.ratio(Peer::On, over, |it| it.rate())
    }

    fn rates(mut self) -> Self {
        let chat = self.scenario("chat-16");
        let cpu = |peer| chat.and_then(|it| it.median(peer, |run| run.cpu_per_request()));
        let (recording, passing) = (cpu(Peer::On), cpu(Peer::Off));
        self.least("small chat, 16 connections, over nginx", self.ratio("chat-16", Peer::Nginx), 0.65);
        self.most("… CPU per recorded request", " µs", recording, 28.0);
        self.most("… CPU per request passed through", " µs", passing, 14.0);
        self.least("… over our own capture off", self.ratio("chat-16", Peer::Off), 0.80);
        let sustained = self.scenario("sustained").and_then(|it| it.books.as_ref());
        let (lag, trend) = (sustained.map(|it| it.lag_s), sustained.and_then(|it| it.trend()));
        self.least("… sustained for 60 s, over nginx", self.ratio("sustained", Peer::Nginx), 0.50);
        self.most("… … index lag throughout", " s", lag, 2.0);
        self.least("… … no downward trend: last third over first", trend, 0.95);
        self.least("… on 1,000,000 rows, over nginx", self.ratio("rows", Peer::Nginx), 0.50);
        self.least("agent request over capture off", self.ratio("agent", Peer::Off), 0.75);
        self.least("64 MiB in over nginx", self.ratio("upload", Peer::Nginx), 0.9);
        self.least("64 MiB out over nginx", self.ratio("download", Peer::Nginx), 0.9);
        self
    }

    fn latencies(mut self) -> Self {
        let one = self.scenario("chat-1");
        let p50 = one.and_then(|it| it.added(Peer::On, Peer::Nginx, |run| run.measured.p50_us));
        let p99 = one.and_then(|it| it.median(Peer::On, |run| run.measured.p99_us / 1e3));
        let open = self.scenario("open-loop");
        let open = open.and_then(|it| it.added(Peer::On, Peer::Nginx, |run| run.measured.p99_us / 1e3));
        self.most("p50 at one connection, added over nginx", " µs", p50, 25.0);
        self.most("p99 at one connection", " ms", p99, 1.0);
        self.most("p99 in the open loop, added over nginx", " ms", open, 0.5);
        self
    }

    fn streams(mut self) -> Self {
        for connections in [16, 64] {
            let ratio = self.ratio(&format!("sse-{connections}"), Peer::Nginx);
            self.least(&format!("SSE events/s, {connections} connections, over nginx"), ratio, 0.85);
        }
        let first = |run: &crate::result::Run| run.measured.first_p50_us.unwrap_or(f64::NAN);
        let added = self.scenario("sse-1").and_then(|it| it.added(Peer::On, Peer::Nginx, first));
        self.most("time to first event, p50, added over nginx", " µs", added, 60.0);
        let streams = self.scenario("streams");
        let over = |of: fn(&Outcome, Peer) -> Option<f64>| {
            streams.and_then(|it| Some(of(it, Peer::On)? / of(it, Peer::Nginx)?))
        };
        let memory = over(|it, peer| it.peers.get(&peer).map(|runs| runs.steady.rss_kib as f64));
        let cpu = over(|it, peer| it.median(peer, |run| run.cpu_us));
        self.most("5,000 paced streams, RSS over nginx", "", memory, 2.0);
        self.most("… CPU over nginx", "", cpu, 2.0);
        self
    }

    fn under_pressure(mut self) -> Self {
        for (name, about) in [
            ("disk-stalled", "disk stalled"),
            ("index-locked", "index locked"),
            ("export", "export running"),
            ("rebuild", "rebuild running"),
        ] {
            let ratio = self.scenario(name).and_then(|it| it.windows.as_ref()).and_then(Windows::ratio);
            self.most(&format!("{about}: forwarding p99 over the quiet run"), "", ratio, 1.25);
        }
        self
    }

    fn resources(mut self) -> Self {
        let kept = self.scenario("chat-16").and_then(|it| {
            let runs = it.peers.get(&Peer::On)?;
            Some(runs.after.rss_kib as f64 / runs.idle.rss_kib.max(1) as f64)
        });
        self.most("RSS 30 s after the load (small chat, 16 connections) over idle", "", kept, 1.3);
        let bytes = self.results.machine.binary_bytes;
        self.most("binary", " MB", (bytes > 0).then_some(bytes as f64 / 1e6), 20.0);
        let starts = self.scenario("start").and_then(|it| median(it.starts_ms.iter().copied()));
        self.most("start to first forwarded byte with 10 GiB on disk", " ms", starts, 50.0);
        self
    }

    /// Asked of every run.
    fn books(mut self) -> Self {
        let whole = self.results.scenarios.iter().filter(|(_, it)| it.error.is_none());
        let books: Vec<_> = whole.filter_map(|(name, it)| Some((name, it.books.as_ref()?))).collect();
        let complaining = books.iter().filter(|(_, it)| !it.complaints.is_empty());
        let complaining: Vec<&str> = complaining.map(|(name, _)| name.as_str()).collect();
        let pressed = |name: &str| self.scenario(name).is_some_and(|it| it.windows.is_some());
        let quiet = books.iter().filter(|(name, _)| !pressed(name));
        let late = quiet.flat_map(|(_, it)| it.indexed_after_s.iter().copied()).fold(0.0, f64::max);
        let seen = if complaining.is_empty() { "all".to_owned() } else { format!("not in {}", complaining.join(", ")) };
        let are_there = !books.is_empty();
        let is_whole = complaining.is_empty();
        self.say("no drops, every request recorded and indexed".to_owned(), are_there.then_some((seen, is_whole)));
        self.most("everything indexed, after the end of a run", " s", are_there.then_some(late), 1.0);
        self
    }
}

impl Windows {
    /// The p99 under pressure over the quiet one.
    pub(crate) fn ratio(&self) -> Option<f64> {
        median(self.quiet.iter().zip(&self.pressed).map(|(quiet, pressed)| pressed.p99_us / quiet.p99_us))
    }
}
