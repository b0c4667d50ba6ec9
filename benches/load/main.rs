//! The program under load, beside nginx as a plain reverse proxy: `benches/load/run`, described in the README here.
//!
//! One binary plays all parts. Without a role it is the harness, which starts everything and measures; as `client` it
//! makes a load and prints what it saw, as `upstream` it is the gateway of what a static file cannot play. Each part
//! is a process of its own, so that CPU time can be told apart.

#![expect(clippy::expect_used, reason = "a measurement that cannot be taken stops")]

mod books;
mod client;
#[path = "../api/dataset.rs"]
mod dataset;
mod gateway;
mod machine;
mod nginx;
mod plan;
mod pressure;
mod process;
mod recorder;
mod report;
mod result;
mod rounds;
mod scenario;
mod stand;
mod start;
mod stored;
mod targets;
mod tools;

use std::process::ExitCode;

use clap::Parser;

use plan::{Plan, Role};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    // Anything but `cargo bench` only wants to know that it builds.
    if !arguments.iter().any(|it| ["--bench", "client", "gateway"].contains(&it.as_str())) {
        return ExitCode::SUCCESS;
    }
    let plan = Plan::parse_from(arguments);
    match &plan.role {
        Some(Role::Client { load }) => {
            let load = serde_json::from_str(load).expect("the harness says what the load is");
            println!("{}", serde_json::to_string(&client::run(load)).expect("plain numbers"));
            ExitCode::SUCCESS
        }
        Some(Role::Gateway { listen }) => gateway::run(*listen),
        None => match scenario::run_all(&plan) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("load: {error}");
                ExitCode::FAILURE
            }
        },
    }
}
