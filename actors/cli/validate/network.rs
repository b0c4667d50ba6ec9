//! The network: whether the listeners can have their addresses, and whether the gateway answers.

use std::io;
use std::time::Duration;

use api_log::config::{Config, ListenAddress, Upstream};
use api_log::store::lock::Holder;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use super::{Check, Finding, Severity};
use crate::{proxy, sockets};

/// How long the gateway may take to take a connection, and again for TLS.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes both addresses for a moment, but for those that the recorder has whose data dir this is.
pub(super) fn check_ports(config: &Config, holder: Option<&Holder>, findings: &mut Vec<Finding>) {
    let mut taken = Vec::new();
    for (key, address, held) in [
        ("proxy.listen", &config.proxy.listen, holder.map(|it| it.proxy)),
        ("api.listen", &config.api.listen, holder.map(|it| it.api)),
    ] {
        if held.is_some_and(|it| it.port() == address.port) {
            continue;
        }
        match sockets::bind(address) {
            // Kept, so that the second is not given what the first has.
            Ok(socket) => taken.push(socket),
            Err(error) => findings.push(Finding {
                check: Check::Ports,
                severity: Severity::Error,
                place: format!("{address} ({key})"),
                what: format!("cannot listen there: {error}"),
                advice: advice(&error, address),
            }),
        }
    }
}

fn advice(error: &io::Error, address: &ListenAddress) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("end what listens there (ss -ltnp 'sport = :{}' names it), or set another port", address.port)
        }
        io::ErrorKind::PermissionDenied => "set a port from 1024 on, or grant CAP_NET_BIND_SERVICE".to_owned(),
        io::ErrorKind::AddrNotAvailable => "set an address that this machine has (ip address)".to_owned(),
        _ => "set an address that this machine has, or none: `:PORT`".to_owned(),
    }
}

/// Connects, with TLS for https; nothing is asked of it.
pub(super) fn check_upstream(upstream: &Upstream, findings: &mut Vec<Finding>) {
    let reached =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Unreached::Connect).and_then(
            |runtime| {
                let reached = runtime.block_on(reach(upstream));
                // A name that is still being looked up is not waited for.
                runtime.shutdown_background();
                reached
            },
        );
    let (severity, what, advice) = match reached {
        Ok(()) => return,
        Err(Unreached::Connect(error)) => (
            Severity::Warning,
            format!("cannot connect to {}:{}: {error}", upstream.host, upstream.port),
            "start the gateway, or mend the address; until then clients get 502",
        ),
        Err(Unreached::Tls(why)) => (
            Severity::Error,
            format!("it answers, and TLS fails: {why}"),
            "install its authority on this machine (or point SSL_CERT_FILE to it), or mend scheme, host and port; until \
             then clients get 502",
        ),
    };
    let place = format!("{upstream} (proxy.upstream)");
    findings.push(Finding { check: Check::Upstream, severity, place, what, advice: advice.to_owned() });
}

/// Why the gateway was not reached.
enum Unreached {
    /// It may come up later.
    Connect(io::Error),
    /// It is there, and time does not mend it.
    Tls(String),
}

async fn reach(upstream: &Upstream) -> Result<(), Unreached> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", PATIENCE.as_secs()));
    let connecting = TcpStream::connect((&*upstream.host, upstream.port));
    let stream = tokio::time::timeout(PATIENCE, connecting)
        .await
        .map_err(late)
        .and_then(|connected| connected)
        .map_err(Unreached::Connect)?;
    if upstream.https {
        let tls = proxy::tls_connector().map_err(Unreached::Tls)?;
        let name = ServerName::try_from(upstream.host.to_string()).map_err(|it| Unreached::Tls(it.to_string()))?;
        let shaken = tokio::time::timeout(PATIENCE, tls.connect(name, stream)).await;
        shaken.map_err(late).and_then(|shaken| shaken).map_err(|error| Unreached::Tls(error.to_string()))?;
    }
    Ok(())
}
