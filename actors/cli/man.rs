//! `api-log man`: the manual, a page for each command, made of the same arguments as the help.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::args::Args;
use super::examples::{self, ENVIRONMENT, Example};
use super::exit::Code;

/// Which pages, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Manual {
    /// Write every page to this folder, as api-log.1, api-log-verify.1 and so on
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    out: Option<PathBuf>,
    /// The page of this command, to standard output
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

/// Writes one page to standard output, or all of them to a folder.
pub(crate) fn run(asked: &Manual) -> Code {
    let mut root = Args::command();
    root.build();
    if let Some(folder) = &asked.out {
        return match write_all(&root, folder) {
            Ok(()) => Code::Done,
            Err(error) => {
                super::complain(format_args!("cannot write to {}: {error}; give another --out", folder.display()));
                Code::Failed
            }
        };
    }
    let mut command = &root;
    for word in &asked.command {
        command = match command.find_subcommand(word) {
            Some(below) => below,
            None => {
                let asked = asked.command.join(" ");
                super::complain(format_args!("there is no command \"{asked}\"; `api-log --help` names them"));
                return Code::Usage;
            }
        };
    }
    match page(command, &asked.command.join(" ")).and_then(|page| io::stdout().write_all(&page)) {
        Ok(()) => Code::Done,
        Err(error) => super::out_failed(&error),
    }
}

fn write_all(root: &Command, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    write(root, "", folder)
}

/// Writes the command's page and those of all below it.
fn write(command: &Command, path: &str, folder: &Path) -> io::Result<()> {
    let name = format!("api-log {path}").trim_end().replace(' ', "-");
    fs::write(folder.join(format!("{name}.1")), page(command, path)?)?;
    for below in command.get_subcommands() {
        write(below, format!("{path} {}", below.get_name()).trim_start(), folder)?;
    }
    Ok(())
}

/// A built command's page.
fn page(command: &Command, path: &str) -> io::Result<Vec<u8>> {
    let version = concat!("api-log ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(version).manual("api-log");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    if let Some(notes) = examples::notes(command) {
        literal(rest.control("SH", ["NOTES"]), &notes);
    }
    let mut examples = examples::of(path).peekable();
    if examples.peek().is_some() {
        rest.control("SH", ["EXAMPLES"]);
    }
    for Example { why, line } in examples {
        rest.control("TP", []);
        rest.text([roman(why)]);
        rest.text([bold(line)]);
    }
    rest.control("SH", ["EXIT STATUS"]);
    for code in Code::ALL {
        rest.control("TP", []);
        rest.text([bold((code as u8).to_string())]);
        rest.text([roman(code.meaning())]);
    }
    literal(rest.control("SH", ["ENVIRONMENT"]), ENVIRONMENT);
    rest.to_writer(&mut page)?;
    Ok(page)
}

/// Text whose line breaks are meant.
fn literal(roff: &mut Roff, text: &str) {
    roff.control("nf", []);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}
