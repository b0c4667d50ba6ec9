//! `api-log verify`: the data dir checked against itself, and mended if that is asked for.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use api_log::config::Config;
use api_log::ids::UnixMillis;
use api_log::index::schema::open_reader;
use api_log::index::{files, texts};
use api_log::store::layout::Layout;
use api_log::store::lock::{self, DataDirLock, Holder, LockError};
use api_log::verify::{
    Beside, IndexRepair, Repair, RepairError, Report, Subject, Verification, VerifyError, repair_files, repair_index,
};
use api_log::work::Work;

use super::args::Verify;
use super::exit::Code;
use super::progress::{self, Interrupted, Unit};
use crate::record::rebuild::{BuildError, Priority, build, install};
use crate::runtimes;

/// Nothing can be said about the data dir, or it cannot be mended.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error("the repair ended before its end: {0}")]
    Repair(#[from] RepairError),
    #[error("the files are repaired, the index is not: {0}")]
    Build(#[from] BuildError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("{0}; a repair needs the recorder stopped")]
    InUse(LockError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// What came of it.
struct Outcome {
    report: Report,
    repairs: Vec<Repair>,
    recorder: Option<Holder>,
}

/// Checks, and says what was found: 0 if nothing is wrong, else 1.
pub(crate) fn run(asked: Verify, config: &Config) -> Code {
    let subject = Subject {
        layout: Layout::new(&config.storage.data_dir),
        beside: Beside::Nobody,
        arena_dir: config.capture.arena_dir.clone(),
    };
    match outcome(asked, subject) {
        Ok(outcome) => {
            tell(&outcome, asked);
            if outcome.report.is_clean() { Code::Done } else { Code::Failed }
        }
        Err(error) => {
            super::complain(format_args!("verify: {error}"));
            Code::Failed
        }
    }
}

fn outcome(asked: Verify, subject: Subject) -> Result<Outcome, CheckError> {
    if asked.repair {
        return repaired(subject);
    }
    let layout = subject.layout.clone();
    let recorder = lock::holder(&layout)?;
    let beside = if recorder.is_some() { Beside::Recorder } else { Beside::Nobody };
    let report = progress::run(Unit::Bytes, move |work| check(&Subject { beside, ..subject }, work))??;
    let now = lock::holder(&layout)?;
    if recorder.is_none() && now.is_some() {
        super::complain("verify: a recorder was started meanwhile, and what it writes may look wrong; verify again");
    }
    Ok(Outcome { report, repairs: Vec::new(), recorder })
}

/// Holds the data dir, checks it, mends it, and checks it again.
fn repaired(subject: Subject) -> Result<Outcome, CheckError> {
    let layout = &subject.layout;
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let myself = Holder {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").into(),
        started: UnixMillis::now(),
        proxy: nowhere,
        api: nowhere,
    };
    if !layout.root().exists() {
        // The lock would make it.
        return Ok(Outcome { report: check(&subject, &Work::new())?, repairs: vec![], recorder: None });
    }
    let held = match DataDirLock::acquire(layout, &myself) {
        Ok(held) => held,
        Err(error @ (LockError::InUse { .. } | LockError::InUseBySomebody { .. })) => {
            return Err(CheckError::InUse(error));
        }
        Err(error) => return Err(error.into()),
    };
    held.warnings.iter().for_each(|warning| super::complain(format_args!("verify: {warning}")));
    let (report, repairs) = progress::run(Unit::Bytes, move |work| {
        let _held = held;
        let found = check(&subject, work)?;
        let repairs = mend(&subject, &found, work)?;
        // Only what is so afterwards counts.
        let report = if repairs.is_empty() { found } else { check(&subject, work)? };
        Ok::<_, CheckError>((report, repairs))
    })??;
    Ok(Outcome { report, repairs, recorder: None })
}

/// Mends the files, then the index from them.
fn mend(subject: &Subject, found: &Report, work: &Work) -> Result<Vec<Repair>, CheckError> {
    let layout = &subject.layout;
    let (mut repairs, index) = repair_files(subject, found, work)?;
    match index {
        IndexRepair::None => {}
        IndexRepair::CatchUp { kind } => repairs.push(repair_index(layout, kind, work)?),
        IndexRepair::Anew { kind, is_unusable } => {
            // As it is: what is wanted the recorder sees to.
            let kept = open_reader(&layout.index()).ok().and_then(|index| texts::bytes_kept(&index).ok().flatten());
            let built = build(layout, kept, Priority::Usual, work)?;
            if is_unusable {
                files::set_aside(&layout.index(), UnixMillis::now()).map_err(BuildError::Install)?;
            }
            install(layout)?;
            let what = format!("made it anew from the files: {} rows", built.rows);
            repairs.push(Repair::of_index(layout, kind, what));
        }
    }
    Ok(repairs)
}

/// The whole check, a bucket at a time on each core.
fn check(subject: &Subject, work: &Work) -> Result<Report, VerifyError> {
    let (verification, mut report) = Verification::begin(subject, work)?;
    let next = AtomicUsize::new(0);
    let merged = Mutex::new((&mut report, None));
    std::thread::scope(|threads| {
        for _ in 0..runtimes::cores() {
            threads.spawn(|| {
                while let Some(bucket) = verification.buckets().get(next.fetch_add(1, Ordering::Relaxed)) {
                    let checked = verification.check(*bucket, work);
                    let mut merged = merged.lock().unwrap_or_else(|it| it.into_inner());
                    match checked {
                        Ok(part) => merged.0.merge(part),
                        Err(error) => {
                            merged.1.get_or_insert(error);
                            // Nobody begins another one.
                            next.store(usize::MAX / 2, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let (_, failed) = merged.into_inner().unwrap_or_else(|it| it.into_inner());
    if let Some(error) = failed {
        return Err(error);
    }
    verification.finish(&mut report, work)?;
    Ok(report)
}

fn tell(outcome: &Outcome, asked: Verify) {
    let Outcome { report, repairs, recorder } = outcome;
    let recorder = recorder.as_ref().map(ToString::to_string);
    if asked.json {
        super::say(format_args!("{}\n", report.to_json(repairs, recorder)));
        return;
    }
    if let Some(recorder) = recorder {
        super::say(format_args!("beside a running recorder ({recorder})\n"));
    }
    for Repair { path, what, error, .. } in repairs {
        match error {
            None => super::say(format_args!("repaired {path}: {what}\n")),
            Some(error) => super::say(format_args!("not repaired {path}: {error}\n")),
        }
    }
    super::say(report);
}
