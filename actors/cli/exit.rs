//! The exit codes, and what each means: help, manual pages and docs/cli.md say it in these words.

use std::process::ExitCode;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// It did what it was asked for.
    Done = 0,
    /// It was begun and failed, or found something wrong.
    Failed = 1,
    /// The command line or the configuration is wrong; nothing was begun.
    Usage = 2,
}

impl Code {
    /// Every code.
    pub(crate) const ALL: [Code; 3] = [Code::Done, Code::Failed, Code::Usage];

    /// What it means, for people.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Code::Done => "done; what was checked is right",
            Code::Failed => "it failed while it ran, or what was checked is not right",
            Code::Usage => "wrong usage or configuration; nothing was begun (package: 1)",
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code as u8)
    }
}
