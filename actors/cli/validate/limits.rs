//! How many files the process may have open, against the connections it is told to take.

use api_log::config::Config;
use rustix::process::{Resource, getrlimit};

use super::{Check, Finding, Severity};

/// What the recorder has open beside connections: files of lines, the index, captures, pipes.
const BESIDE_CONNECTIONS: u64 = 256;
/// Exchanges at once that should be possible where no number is configured.
const EXCHANGES: u64 = 1024;

/// Compares them.
pub(super) fn check(config: &Config, findings: &mut Vec<Finding>) {
    if let Some((what, advice)) = shortage(config, getrlimit(Resource::Nofile).current) {
        let place = "ulimit -n".to_owned();
        findings.push(Finding { check: Check::FileLimit, severity: Severity::Warning, place, what, advice });
    }
}

/// What a limit is too low for, and what to do; `None` for no limit is none at all.
fn shortage(config: &Config, limit: Option<u64>) -> Option<(String, String)> {
    let limit = limit?;
    let api = u64::try_from(config.api.max_connections).unwrap_or(u64::MAX);
    let clients = if config.proxy.max_connections == 0 { EXCHANGES } else { config.proxy.max_connections };
    // Each exchange has its client's connection and one to the gateway.
    let wanted = clients.saturating_mul(2).saturating_add(api).saturating_add(BESIDE_CONNECTIONS);
    if limit >= wanted {
        return None;
    }
    let left = limit.saturating_sub(api.saturating_add(BESIDE_CONNECTIONS)) / 2;
    let configured = match config.proxy.max_connections {
        0 => "proxy.max_connections sets no bound".to_owned(),
        most => format!("proxy.max_connections allows {most}"),
    };
    let what = format!("{limit} open files leave room for {left} exchanges beside the API's {api}; {configured}");
    let advice = format!("raise it to {wanted} (LimitNOFILE of the unit, --ulimit of a container)");
    Some((what, advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_held_against_the_connections_that_are_allowed() {
        let mut config = Config::default();
        config.api.max_connections = 44;
        config.proxy.max_connections = 100;
        assert_eq!(shortage(&config, None), None);
        assert_eq!(shortage(&config, Some(500)), None);
        let (what, advice) = shortage(&config, Some(499)).unwrap();
        assert!(what.starts_with("499 open files leave room for 99 exchanges"), "{what}");
        assert!(advice.starts_with("raise it to 500 "), "{advice}");
        config.proxy.max_connections = 0;
        assert!(shortage(&config, Some(1024)).unwrap().0.ends_with("sets no bound"));
        assert_eq!(shortage(&config, Some(65_536)), None);
        assert!(shortage(&config, Some(0)).unwrap().0.contains("room for 0 exchanges"));
    }
}
