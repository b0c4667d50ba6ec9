//! The proxy: sockets in, sockets out, and a copy of what passed.
//!
//! The [`listener`] accepts and deals connections to [`lane`]s; each has a [`connection`] actor. On a lane an
//! [`exchange`] strips what belongs to one hop ([`hops`]), borrows an [`upstream`] connection and taps both
//! bodies ([`tap`]) into its [`capture`], which hands over by itself when its last part has let go. After a 101 it is
//! a tunnel ([`upgrade`]); what passes on a WebSocket goes to its reader by a [`socket_tap`].

mod answers;
mod body;
mod capture;
mod client;
mod connection;
mod exchange;
mod heads;
mod hops;
mod lane;
pub(crate) mod listener;
mod mutation;
mod socket_tap;
mod start;
mod tap;
mod upgrade;
mod upstream;

pub(crate) use capture::Recorder;
use client::Limits;
use exchange::Settings;
use lane::Plan;
pub(crate) use lane::{LaneHandle, Live, Order};
pub(crate) use start::{LANE, start_lanes};
use upstream::Target;

/// Removes from a recorded request head what was not sent to the upstream.
pub(crate) fn strip_recorded(fields: &mut api_log::headers::Headers) {
    hops::strip_recorded(fields);
}

/// An error with its causes, in one line.
pub(crate) fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// TLS towards the upstream: the system's roots, HTTP/2 offered.
fn tls_connector() -> Result<tokio_rustls::TlsConnector, String> {
    let mut config = crate::tls::client_config()?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tokio_rustls::TlsConnector::from(std::sync::Arc::new(config)))
}
