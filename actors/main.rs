//! The program: what runs, what it hears, who starts it again.

#[cfg_attr(not(test), allow(dead_code, unused_imports, reason = "called by the subcommands"))]
mod mock;

fn main() {}
