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

/// The same for a client of HTTP/1.1 that may do without TLS: only who needs the roots fails for want of them.
///
/// # Errors
/// It is to speak TLS, and the system has no roots.
pub(crate) fn http1_client(is_https: bool) -> Result<ClientConfig, String> {
    let mut tls = match client_config() {
        Ok(tls) => tls,
        Err(reason) if is_https => return Err(reason),
        Err(_) => ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
    };
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

/// Makes the one implementation of TLS that is compiled in that of the process. Clients of HTTP cannot be made
/// before, not even those that never speak TLS.
pub(crate) fn choose_provider() {
    // An error means that it was chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
