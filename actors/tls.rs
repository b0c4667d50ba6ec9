//! TLS towards others: whom to believe.

use rustls::{ClientConfig, RootCertStore};

/// A client that believes the system's roots. Which protocols it offers is the caller's to say.
///
/// # Errors
/// The system has none.
pub(crate) fn client_config() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(|| "none are installed".to_owned(), ToString::to_string);
        return Err(format!("the system has no root certificates: {why}"));
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// Makes the one implementation of TLS that is compiled in that of the process. Clients of HTTP cannot be made
/// before, not even those that never speak TLS.
pub(crate) fn choose_provider() {
    // An error means that it was chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
