//! The tables, in Markdown.

use crate::client::Measured;
use crate::result::{Outcome, Peer, Results, Run, median};
use crate::targets;

/// Prints everything.
pub(crate) fn print(results: &Results) {
    let machine = &results.machine;
    if results.quick {
        println!("**A smoke run: the figures mean nothing.**\n");
    }
    println!(
        "`{}`, {}, commit {}. {}, {} cores, {} MiB, Linux {}; load average {} before. {} with {} worker(s), {}, {}.\n",
        results.command,
        machine.date.split('T').next().unwrap_or_default(),
        machine.commit,
        machine.cpu,
        machine.cores,
        machine.memory_mib,
        machine.kernel,
        machine.load_average,
        machine.nginx,
        machine.nginx_workers,
        machine.wrk.split(" Copyright").next().unwrap_or_default(),
        if machine.oha.is_empty() { "no oha" } else { &machine.oha },
    );
    figures(results);
    memory(results);
    books(results);
    windows(results);
    println!("| target | seen | |\n|---|---|---|");
    // Judged anew: an older file may know fewer.
    for verdict in targets::judge(results) {
        let word = match verdict.is_met {
            Some(true) => "met",
            Some(false) => "**not met**",
            None => "not measured",
        };
        println!("| {} | {} | {word} |", verdict.target, verdict.seen);
    }
    println!();
    for (name, outcome) in &results.scenarios {
        for note in outcome.notes.iter().chain(&outcome.error) {
            println!("- `{name}`: {note}");
        }
        for complaint in outcome.books.iter().flat_map(|it| &it.complaints) {
            println!("- `{name}`, books: {complaint}");
        }
        let failures = outcome.peers.iter().flat_map(|(peer, it)| it.runs.iter().map(move |run| (peer, &run.measured)));
        for (peer, Measured { failed, first_failure, .. }) in failures.filter(|(_, it)| it.failed > 0) {
            let why = first_failure.as_deref().unwrap_or_default();
            println!("- `{name}`, {}: {failed} failed: {why}", peer.about().trim_matches('*'));
        }
    }
}

fn in_order(results: &Results) -> impl Iterator<Item = &Outcome> {
    let known = crate::scenario::SCENARIOS.iter();
    known.filter_map(|it| results.scenarios.get(it.name)).filter(|it| it.error.is_none())
}

fn figures(results: &Results) {
    println!(
        "| | requests or events/s (median, spread) | over nginx | over capture off | p50 | p99 | added to nginx, p50 / p99 | \
         first byte, p50 (added) | CPU per request |\n|---|---|---|---|---|---|---|---|---|"
    );
    for outcome in in_order(results).filter(|it| it.peers.values().any(|runs| !runs.runs.is_empty())) {
        let rate = outcome.rate.map(|it| format!(" ({it:.0}/s)")).unwrap_or_default();
        println!("| *{}*{rate} | | | | | | | | |", outcome.about);
        for (&peer, runs) in &outcome.peers {
            let rates: Vec<f64> = runs.runs.iter().map(Run::rate).collect();
            let Some(middle) = median(rates.iter().copied()) else { continue };
            let (least, most) =
                (rates.iter().copied().fold(f64::MAX, f64::min), rates.iter().copied().fold(0.0, f64::max));
            let over = |other: Peer| match outcome.ratio(peer, other, |it| it.rate()) {
                Some(ratio) if peer != other => format!("{ratio:.2}"),
                _ => String::new(),
            };
            let p50 = outcome.median(peer, |it| it.measured.p50_us).unwrap_or(f64::NAN);
            let p99 = outcome.median(peer, |it| it.measured.p99_us).unwrap_or(f64::NAN);
            let added = |of: fn(&Run) -> f64| match outcome.added(peer, Peer::Nginx, of) {
                Some(more) if peer > Peer::Nginx => time(more),
                _ => String::new(),
            };
            let (more50, more99) = (added(|it| it.measured.p50_us), added(|it| it.measured.p99_us));
            let more = if more50.is_empty() { String::new() } else { format!("{more50} / {more99}") };
            let first = outcome.median_of_some(peer, |it| it.measured.first_p50_us).map(time).unwrap_or_default();
            let first_more = added(|it| it.measured.first_p50_us.unwrap_or(f64::NAN));
            let first_more =
                if first.is_empty() || first_more.is_empty() { String::new() } else { format!(" ({first_more})") };
            let cpu = outcome.median(peer, Run::cpu_per_request).map(time).unwrap_or_default();
            println!(
                "| {} | {} ({}–{}) | {} | {} | {} | {} | {more} | {first}{first_more} | {cpu} |",
                peer.about(),
                grouped(middle),
                grouped(least),
                grouped(most),
                over(Peer::Nginx),
                over(Peer::Off),
                time(p50),
                time(p99),
            );
        }
    }
    println!();
}

fn memory(results: &Results) {
    println!("| RSS, MiB | | idle | under load | after a rest | of that captures |\n|---|---|---|---|---|---|");
    for outcome in in_order(results) {
        for (peer, runs) in outcome.peers.iter().filter(|(peer, _)| **peer != Peer::Upstream) {
            let [idle, steady, after] = [runs.idle, runs.steady, runs.after].map(|it| it.rss_kib / 1024);
            let captures = runs.after.shared_kib / 1024;
            println!("| {} | {} | {idle} | {steady} | {after} | {captures} |", outcome.about, peer.about());
        }
    }
    println!();
}

fn books(results: &Results) {
    println!(
        "| recording | sent | recorded | dropped | rows | index behind, at most | all indexed after, at most | bytes on disk per byte captured |\n|---|---|---|---|---|---|---|---|"
    );
    for outcome in in_order(results) {
        let Some(books) = &outcome.books else { continue };
        let after = books.indexed_after_s.iter().copied().fold(0.0, f64::max);
        let broken = if books.broken_off_at_most > 0 {
            format!(" (+ {} broken off)", books.broken_off_at_most)
        } else {
            String::new()
        };
        let per_byte = match books.captured_bytes {
            0 => String::new(),
            captured => format!("{:.2}", books.disk_bytes as f64 / captured as f64),
        };
        println!(
            "| {} | {}{broken} | {} | {} | {} | {:.2} s | {after:.2} s | {per_byte} |",
            outcome.about,
            grouped(books.sent as f64),
            grouped(books.recorded as f64),
            books.dropped,
            grouped(books.rows as f64),
            books.lag_s,
        );
    }
    println!();
}

fn windows(results: &Results) {
    if in_order(results).all(|it| it.windows.is_none()) {
        return;
    }
    println!(
        "| under pressure | quiet p50 / p99 / most | pressed p50 / p99 / most | p99 over quiet |\n|---|---|---|---|"
    );
    for outcome in in_order(results) {
        let Some(windows) = &outcome.windows else { continue };
        let told = |runs: &[Measured]| {
            let times = [|it: &Measured| it.p50_us, |it: &Measured| it.p99_us, |it: &Measured| it.max_us];
            times.map(|of| time(median(runs.iter().map(of)).unwrap_or(f64::NAN))).join(" / ")
        };
        let ratio = windows.ratio().unwrap_or(f64::NAN);
        println!("| {} | {} | {} | {ratio:.2} |", outcome.about, told(&windows.quiet), told(&windows.pressed));
    }
    println!();
}

/// Of µs.
fn time(micros: f64) -> String {
    match micros.abs() {
        less if less < 100.0 => format!("{micros:.1} µs"),
        less if less < 1_000.0 => format!("{micros:.0} µs"),
        less if less < 1_000_000.0 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// With commas; small numbers with a digit behind.
fn grouped(number: f64) -> String {
    if number < 100.0 && number.fract() != 0.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
