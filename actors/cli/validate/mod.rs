//! `api-log validate`: whether the recorder would start and do what it is told, here and now.
//!
//! An error is what keeps it from starting, or from doing what it is told. A warning may pass by itself, or costs
//! something only under load. Each finding says where, what, and what to do.

mod data_dir;
mod limits;
mod network;
mod set_at_run_time;

use std::path::Path;

use api_log::config::{Complaint, Complaints, Config};
use api_log::store::layout::Layout;
use api_log::store::lock;
use serde::Serialize;

use super::exit::Code;

/// How much is checked, and how it is told.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Checks file and environment, what was set at run time, the data dir (who holds it, rights, room),\n\
                        ports, the limit of open files, and whether the gateway answers. A gateway that cannot be\n\
                        reached is a warning: the recorder starts without it. Changes nothing."
)]
pub(crate) struct Validate {
    /// Leave out what needs the network: ports and gateway
    #[arg(long)]
    offline: bool,
    /// Fail for a warning too
    #[arg(long)]
    strict: bool,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// How the check of file and environment alone is told.
#[derive(Debug, clap::Args)]
pub(crate) struct FileCheck {
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Check {
    Configuration,
    RuntimeOverrides,
    DataDir,
    FileLimit,
    Ports,
    Upstream,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Check::Configuration => "configuration",
            Check::RuntimeOverrides => "what was set at run time",
            Check::DataDir => "data dir",
            Check::FileLimit => "file limit",
            Check::Ports => "ports",
            Check::Upstream => "upstream",
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Severity {
    /// Worth knowing.
    Note,
    /// It may pass by itself, or costs something only under load.
    Warning,
    /// The recorder would not start, or not do what it is told.
    Error,
}

/// Something that was found.
#[derive(Debug, Serialize)]
struct Finding {
    check: Check,
    severity: Severity,
    /// A file, an address, a key.
    #[serde(rename = "where")]
    place: String,
    what: String,
    /// What to do about it; empty where `what` says so.
    #[serde(rename = "do")]
    advice: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "; {}", self.advice) }
    }
}

/// What the configuration comes to.
#[derive(Debug, Serialize)]
struct Summary {
    upstream: String,
    proxy: String,
    api: String,
    data_dir: String,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    /// `null` if there is no configuration to tell of.
    config: Option<Summary>,
    checked: Vec<Check>,
    findings: Vec<Finding>,
}

/// Checks the configuration and what surrounds it. Exit codes: 0 = no error, 1 = one, 2 = of the configuration itself.
pub(crate) fn run(file: Option<&Path>, asked: &Validate) -> Code {
    check(file, Some(asked), asked.strict, asked.json)
}

/// Checks file and environment alone. Exit codes: 0 = right, 2 = wrong.
pub(crate) fn file_alone(file: Option<&Path>, asked: &FileCheck) -> Code {
    check(file, None, false, asked.json)
}

fn check(file: Option<&Path>, surroundings: Option<&Validate>, is_strict: bool, as_json: bool) -> Code {
    let (sources, mut complaints) = super::gather(file);
    let (config, mut findings) = match sources.into_config() {
        Ok((config, warnings)) => {
            let told = warnings.into_iter().map(|it| configuration(Severity::Warning, &it.0));
            (Some(config), told.collect::<Vec<_>>())
        }
        Err(more) => {
            let left_out = left_out(&more);
            complaints.extend(more.iter().cloned());
            (None, left_out.into_iter().collect())
        }
    };
    let is_right = complaints.is_empty() && config.is_some();
    let told = complaints.iter().map(|it| configuration(Severity::Error, it)).collect::<Vec<_>>();
    findings.splice(0..0, told);
    let mut checked = vec![Check::Configuration];
    if let (true, Some(config), Some(asked)) = (is_right, &config, surroundings) {
        look_around(config, asked.offline, &mut checked, &mut findings);
    }
    let worst = |severity: Severity| findings.iter().any(|it| it.severity == severity);
    let code = match () {
        () if !is_right => Code::Usage,
        () if worst(Severity::Error) || (is_strict && worst(Severity::Warning)) => Code::Failed,
        () => Code::Done,
    };
    let summary = config.filter(|_| is_right).map(|config| Summary {
        upstream: config.proxy.upstream.to_string(),
        proxy: config.proxy.listen.to_string(),
        api: config.api.listen.to_string(),
        data_dir: config.storage.data_dir.display().to_string(),
    });
    let report = Report { ok: code == Code::Done, config: summary, checked, findings };
    if as_json {
        tell_as_json(&report)
    } else {
        tell(&report)
    }
    code
}

/// Everything around the configuration.
fn look_around(config: &Config, is_offline: bool, checked: &mut Vec<Check>, findings: &mut Vec<Finding>) {
    let layout = Layout::new(&config.storage.data_dir);
    let holder = lock::holder(&layout);
    checked.extend([Check::DataDir, Check::RuntimeOverrides, Check::FileLimit]);
    data_dir::check(config, &layout, &holder, findings);
    set_at_run_time::check(&layout, findings);
    limits::check(config, findings);
    if !is_offline {
        checked.extend([Check::Ports, Check::Upstream]);
        network::check_ports(config, holder.ok().flatten().as_ref(), findings);
        network::check_upstream(&config.proxy.upstream, findings);
    }
}

fn configuration(severity: Severity, complaint: &Complaint) -> Finding {
    let key = complaint.key.as_ref().map_or_else(String::new, |key| format!("{key}: "));
    Finding {
        check: Check::Configuration,
        severity,
        place: complaint.origin.to_string(),
        what: format!("{key}{}", complaint.text),
        advice: String::new(),
    }
}

/// A configuration of nothing but mistakes is told of in part.
fn left_out(complaints: &Complaints) -> Option<Finding> {
    (complaints.left_out() > 0).then(|| Finding {
        check: Check::Configuration,
        severity: Severity::Error,
        place: "configuration".to_owned(),
        what: format!("and {} more", complaints.left_out()),
        advice: String::new(),
    })
}

fn tell_as_json(report: &Report) {
    match serde_json::to_string_pretty(report) {
        Ok(text) => super::say(format_args!("{text}\n")),
        Err(error) => super::complain(format_args!("validate: the report cannot be written: {error}")),
    }
}

/// What is wrong goes to standard error, as everything that is; a wrong configuration leaves nothing else to tell.
fn tell(report: &Report) {
    for finding in &report.findings {
        match finding.severity {
            Severity::Error => super::complain(finding),
            Severity::Warning => super::complain(format_args!("warning: {finding}")),
            Severity::Note => {}
        }
    }
    let Some(Summary { upstream, proxy, api, data_dir }) = &report.config else { return };
    let verdict = if report.ok { "ok" } else { "not ok" };
    super::say(format_args!(
        "{verdict}\nupstream  {upstream}\nproxy     {proxy}\napi       {api}\ndata dir  {data_dir}\n"
    ));
    let checked: Vec<&str> = report.checked.iter().map(|it| it.name()).collect();
    super::say(format_args!("checked   {}\n", checked.join(", ")));
    for note in report.findings.iter().filter(|it| it.severity == Severity::Note) {
        super::say(format_args!("note      {note}\n"));
    }
}
