//! The lanes as the configuration wants them: how many, towards which gateway, with which limits.

use std::sync::Arc;

use api_log::config::Config;
use arc_swap::ArcSwap;
use hyper::header::HeaderValue;
use rustls::pki_types::ServerName;

use super::{LaneHandle, Limits, Live, Plan, Recorder, Settings, Target, tls_connector};
use crate::kit::Registry;
use crate::runtimes;
use crate::system::StartError;

/// What the pulses of lanes are called, with their numbers behind.
pub(crate) const LANE: &str = "lane-";

impl Live {
    /// As the configuration has it.
    pub(crate) fn of(config: &Config) -> Live {
        Live {
            is_capturing: config.capture.enabled,
            limits: Limits {
                read_header: config.timeouts.read_header,
                idle: config.timeouts.idle,
                stream_idle: config.timeouts.stream_idle,
            },
        }
    }
}

/// Starts the lanes' threads.
///
/// # Errors
/// The gateway's address is of no use, TLS cannot be set up, or there are no threads to be had.
pub(crate) fn start_lanes(
    config: &Config,
    recorder: Arc<Recorder>,
    live: Arc<ArcSwap<Live>>,
    registry: &Registry,
) -> Result<Vec<LaneHandle>, StartError> {
    let upstream = &config.proxy.upstream;
    let not_a_host = |_| StartError::Tls { upstream: upstream.text.clone(), reason: "not a host name".into() };
    let tls = match upstream.https {
        false => None,
        true => Some((
            tls_connector().map_err(|reason| StartError::Tls { upstream: upstream.text.clone(), reason })?,
            ServerName::try_from(upstream.host.to_string()).map_err(not_a_host)?,
        )),
    };
    let invalid = |_| StartError::Threads(std::io::Error::other("the upstream's authority is no header value"));
    let plan = Plan {
        settings: Arc::new(Settings {
            host: HeaderValue::from_str(&upstream.authority).map_err(invalid)?,
            authority: upstream
                .authority
                .parse()
                .map_err(|_| StartError::Threads(std::io::Error::other("the upstream's authority cannot be parsed")))?,
            prefix: upstream.path_prefix.to_string(),
            preserve_host: config.proxy.preserve_host,
            response_header: config.timeouts.response_header,
        }),
        target: Arc::new(Target {
            host: upstream.host.to_string(),
            port: upstream.port,
            tls,
            idle: config.proxy.upstream_idle,
            max_header_bytes: config.proxy.max_header_bytes,
        }),
        recorder,
        live,
        max_header_bytes: config.proxy.max_header_bytes,
    };
    let count = match config.proxy.lanes {
        0 => runtimes::cores(),
        lanes => lanes as usize,
    };
    let start = |number| {
        let pulse = registry.pulse(&format!("{LANE}{number}"));
        LaneHandle::start(number, plan.clone(), pulse).map_err(StartError::Threads)
    };
    (0..count).map(start).collect()
}
