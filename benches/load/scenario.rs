//! The scenarios by name, and the way through them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use api_log::ids::UnixMillis;

use crate::client::{Kind, What};
use crate::machine::Machine;
use crate::plan::Plan;
use crate::process::{Trouble, allow_descriptors};
use crate::result::{Outcome, Peer, Results, median};
use crate::rounds::{Holds, Setup, measure};
use crate::stand::{Answers, Stand};
use crate::tools::Tool;
use crate::{pressure, report, start, targets, tools};

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    run: fn(&Plan, &Stand) -> Result<Outcome, Trouble>,
}

/// Two for each stream at each of client, program and upstream, and some.
const DESCRIPTORS: u64 = 16_384;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "chat-1",
        about: "small chat (1 KB in, 0.5 KB out), 1 connection",
        run: |plan, stand| chat(plan, stand, 1, Holds::Nothing),
    },
    Scenario {
        name: "chat-16",
        about: "small chat, 16 connections",
        run: |plan, stand| chat(plan, stand, 16, Holds::Nothing),
    },
    Scenario {
        name: "chat-64",
        about: "small chat, 64 connections",
        run: |plan, stand| chat(plan, stand, 64, Holds::Nothing),
    },
    Scenario {
        name: "open-loop",
        about: "small chat at half of nginx's rate, 64 connections, late from when a request was due",
        run: |plan, stand| {
            open_loop(plan, stand, |seconds, rate| Tool::Own {
                connections: 64,
                kind: Kind::Open { what: What::Chat, seconds, rate },
            })
        },
    },
    Scenario {
        name: "open-loop-oha",
        about: "the same by oha",
        run: |plan, stand| open_loop(plan, stand, |seconds, rate| Tool::Oha { connections: 64, seconds, rate }),
    },
    Scenario {
        name: "rows",
        about: "small chat, 16 connections, on an index of 1,000,000 rows",
        run: |plan, stand| chat(plan, stand, 16, Holds::Stored),
    },
    Scenario { name: "sustained", about: "small chat, 16 connections, for 60 s", run: sustained },
    Scenario {
        name: "agent",
        about: "agent request (200 KB in, 2 KB out; growing conversations), 16 connections",
        run: |plan, stand| own(plan, stand, 16, What::Agent),
    },
    Scenario {
        name: "sse-1",
        about: "51 events of 200 bytes as fast as possible, 1 connection",
        run: |plan, stand| own(plan, stand, 1, What::Stream),
    },
    Scenario {
        name: "sse-16",
        about: "51 events, 16 connections",
        run: |plan, stand| own(plan, stand, 16, What::Stream),
    },
    Scenario {
        name: "sse-64",
        about: "51 events, 64 connections",
        run: |plan, stand| own(plan, stand, 64, What::Stream),
    },
    Scenario { name: "streams", about: "5,000 streams of one event a second each", run: streams },
    Scenario {
        name: "upload",
        about: "64 MiB in, 4 connections",
        run: |plan, stand| own(plan, stand, 4, What::Upload(plan.transfer_bytes())),
    },
    Scenario {
        name: "download",
        about: "64 MiB out, 4 connections",
        run: |plan, stand| own(plan, stand, 4, What::Download(plan.transfer_bytes())),
    },
    Scenario { name: "sockets", about: "turns of 12 messages on 16 WebSockets", run: sockets },
    Scenario {
        name: "disk-stalled",
        about: "2,000 small chats a second, and the disk stands still for 10 s",
        run: pressure::disk_stalled,
    },
    Scenario {
        name: "index-locked",
        about: "2,000 small chats a second, and another program locks the index for 10 s",
        run: pressure::index_locked,
    },
    Scenario {
        name: "export",
        about: "2,000 small chats a second, and 1 GiB of lines is exported",
        run: pressure::export,
    },
    Scenario {
        name: "rebuild",
        about: "2,000 small chats a second, and the index of 1,000,000 rows is made anew",
        run: pressure::rebuild,
    },
    Scenario {
        name: "start",
        about: "from the start of the process to the first forwarded byte, 10 GiB on disk",
        run: start::measure,
    },
];

const ALL: &[Peer] = &Peer::ALL;

fn chat(plan: &Plan, stand: &Stand, connections: usize, holds: Holds) -> Result<Outcome, Trouble> {
    let tool = Tool::Wrk { connections, seconds: plan.seconds() };
    measure(plan, stand, &Setup { peers: ALL, answers: Answers::Same, tool, rounds: plan.rounds(), holds })
}

fn sustained(plan: &Plan, stand: &Stand) -> Result<Outcome, Trouble> {
    let tool = Tool::Wrk { connections: 16, seconds: plan.sustained() };
    let peers = &[Peer::Nginx, Peer::Off, Peer::On];
    measure(plan, stand, &Setup { peers, answers: Answers::Same, tool, rounds: 1, holds: Holds::Nothing })
}

fn own(plan: &Plan, stand: &Stand, connections: usize, what: What) -> Result<Outcome, Trouble> {
    let tool = Tool::Own { connections, kind: Kind::Closed { what, seconds: plan.seconds() } };
    let setup = Setup { peers: ALL, answers: Answers::Made, tool, rounds: plan.rounds(), holds: Holds::Nothing };
    measure(plan, stand, &setup)
}

fn streams(plan: &Plan, stand: &Stand) -> Result<Outcome, Trouble> {
    let tool = Tool::Own { connections: plan.streams(), kind: Kind::Paced { events: plan.stream_events() } };
    let peers = &[Peer::Nginx, Peer::Off, Peer::On];
    measure(plan, stand, &Setup { peers, answers: Answers::Made, tool, rounds: 1, holds: Holds::Nothing })
}

fn sockets(plan: &Plan, stand: &Stand) -> Result<Outcome, Trouble> {
    let tool = Tool::Own { connections: 16, kind: Kind::Sockets { seconds: plan.seconds() } };
    let setup = Setup { peers: ALL, answers: Answers::Made, tool, rounds: plan.rounds(), holds: Holds::Nothing };
    measure(plan, stand, &setup)
}

/// At half of what nginx can do now.
fn open_loop(plan: &Plan, stand: &Stand, tool: fn(f64, f64) -> Tool) -> Result<Outcome, Trouble> {
    let seconds = plan.seconds();
    let saturated = Tool::Wrk { connections: 16, seconds };
    let most = (0..plan.rounds().min(3)).map(|_| {
        let measured = saturated.run(stand.same.by_nginx, &stand.folder)?;
        Ok(measured.requests as f64 / measured.seconds)
    });
    let most: Vec<f64> = most.collect::<Result<_, Trouble>>()?;
    let rate = median(most.into_iter()).unwrap_or_default() / 2.0;
    let setup = Setup {
        peers: ALL,
        answers: Answers::Same,
        tool: tool(seconds, rate),
        rounds: plan.rounds(),
        holds: Holds::Nothing,
    };
    let mut outcome = measure(plan, stand, &setup)?;
    outcome.rate = Some(rate);
    for (peer, runs) in &outcome.peers {
        let kept = median(runs.runs.iter().map(|it| it.rate() / rate)).unwrap_or_default();
        if kept < 0.98 {
            outcome.notes.push(format!("{}: {kept:.2} of the rate was kept", peer.about().trim_matches('*')));
        }
    }
    Ok(outcome)
}

/// Runs what is asked for, writes results after each, prints the tables; whether all gave figures.
pub(crate) fn run_all(plan: &Plan) -> Result<bool, Trouble> {
    if plan.list {
        SCENARIOS.iter().for_each(|it| println!("{:<14} {}", it.name, it.about));
        return Ok(true);
    }
    if plan.table {
        let results = Results::read(&plan.json)?;
        if results.scenarios.is_empty() {
            return Err(Trouble::said(format!("{} holds no results", plan.json.display())));
        }
        report::print(&results);
        return Ok(true);
    }
    let wanted = plan.wanted()?;
    for program in ["nginx", "wrk"] {
        Command::new(program).arg("-v").output().map_err(|error| {
            Trouble::said(format!("{program} cannot be run ({error}): apt-get install nginx-light wrk"))
        })?;
    }
    allow_descriptors(DESCRIPTORS)?;
    let binary = binary()?;
    let machine = Machine::here(&binary, tools::oha().as_deref(), plan.nginx_workers);
    let mut results = Results::read(&plan.json)?;
    let is_same = results.machine.commit == machine.commit && results.settings == settings(plan);
    if !is_same || (!plan.resume && plan.only.is_empty()) {
        if !results.scenarios.is_empty() {
            eprintln!("load: the results that are there are of {}: they are replaced", results.machine.commit);
        }
        results = Results::default();
    }
    results.machine = machine;
    results.quick = plan.quick;
    results.settings = settings(plan);
    results.command = command_line(plan);
    let stand = Stand::start(plan, &binary)?;
    let mut is_whole = true;
    for scenario in SCENARIOS.iter().filter(|it| wanted.contains(&it.name)) {
        if plan.resume && results.scenarios.get(scenario.name).is_some_and(|it| it.error.is_none()) {
            continue;
        }
        eprintln!("load: {}: {}", scenario.name, scenario.about);
        let began = Instant::now();
        let mut outcome = (scenario.run)(plan, &stand).unwrap_or_else(|error| {
            eprintln!("load: {} failed: {error}", scenario.name);
            is_whole = false;
            Outcome { error: Some(error.to_string()), ..Outcome::default() }
        });
        outcome.about = scenario.about.to_owned();
        outcome.ended = UnixMillis::now().to_string();
        for complaint in outcome.books.iter().flat_map(|it| &it.complaints) {
            eprintln!("load: {}: {complaint}", scenario.name);
        }
        results.scenarios.insert(scenario.name.to_owned(), outcome);
        results.targets = targets::judge(&results);
        results.write(&plan.json)?;
        eprintln!("load: {} took {:.0} s", scenario.name, began.elapsed().as_secs_f64());
    }
    report::print(&results);
    eprintln!("load: results are in {}; logs in {}", plan.json.display(), plan.work.display());
    Ok(is_whole)
}

/// The program as it is shipped, or the one that `API_LOG` names.
fn binary() -> Result<PathBuf, Trouble> {
    let binary =
        std::env::var_os("API_LOG").map_or_else(|| Path::new(env!("CARGO_BIN_EXE_api-log")).to_owned(), PathBuf::from);
    binary.canonicalize().map_err(|error| Trouble::at(&binary.display().to_string(), error))
}

fn command_line(plan: &Plan) -> String {
    let quick = if plan.quick { " --quick" } else { "" };
    let only = if plan.only.is_empty() { String::new() } else { format!(" --only {}", plan.only.join(",")) };
    format!("benches/load/run{quick}{only} {}", settings(plan))
}

fn settings(plan: &Plan) -> String {
    format!("--rounds {} --seconds {} --nginx-workers {}", plan.rounds(), plan.seconds(), plan.nginx_workers)
}
