//! TLS to upstreams: who is trusted, what is offered, and what a failed handshake means.
//!
//! Verification cannot be turned off; a private CA is added with `ca_file`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig, Error as TlsError, RootCertStore};
use tokio_rustls::TlsConnector;

use super::error::{ClientError, TlsFault};

/// Why a client cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file with the extra roots cannot be read.
    #[error("cannot read certificates from {path}; `ca_file` wants a PEM file")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: rustls::pki_types::pem::Error,
    },
    /// The file with the extra roots holds none.
    #[error("{0} holds no certificate; `ca_file` wants `-----BEGIN CERTIFICATE-----` blocks")]
    NoCertificate(PathBuf),
    /// A certificate in the file is none of a CA we can use.
    #[error("{path} holds a certificate that cannot be a root")]
    BadRoot {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: TlsError,
    },
}

/// A client's TLS: it trusts the system's roots, or Mozilla's on a machine without any, and those of `ca_file`.
///
/// The connector is made for the first connection that needs one: most upstreams are spoken to without, and would only
/// pay for the roots and the cryptography with memory.
pub(super) struct Tls {
    /// Those of `ca_file`.
    roots: RootCertStore,
    connector: OnceLock<TlsConnector>,
}

impl Tls {
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, SetupError> {
        let roots = ca_file.map_or_else(|| Ok(RootCertStore::empty()), of_file)?;
        Ok(Self { roots, connector: OnceLock::new() })
    }

    /// # Errors
    /// If the cryptography lacks what TLS 1.2 and 1.3 need.
    pub(super) fn connector(&self) -> Result<&TlsConnector, ClientError> {
        if let Some(connector) = self.connector.get() {
            return Ok(connector);
        }
        let unavailable =
            |cause| ClientError::Tls { fault: TlsFault::Unavailable, cause: io::Error::other(cause) };
        let made = connector(&self.roots).map_err(unavailable)?;
        Ok(self.connector.get_or_init(|| made))
    }
}

fn connector(own: &RootCertStore) -> Result<TlsConnector, TlsError> {
    let mut roots = of_system();
    roots.extend(own.roots.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "a certificate store of the system cannot be read");
    }
    let (_, unusable) = roots.add_parsable_certificates(native.certs);
    if unusable > 0 {
        tracing::debug!(unusable, "root certificates of the system passed over");
    }
    if roots.is_empty() {
        tracing::info!("the system has no root certificates: trusting Mozilla's");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn of_file(path: &Path) -> Result<RootCertStore, SetupError> {
    let unreadable = |cause| SetupError::CaFile { path: path.to_owned(), cause };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let added = roots.add(certificate.map_err(unreadable)?);
        added.map_err(|cause| SetupError::BadRoot { path: path.to_owned(), cause })?;
    }
    if roots.is_empty() { Err(SetupError::NoCertificate(path.to_owned())) } else { Ok(roots) }
}

/// What a failed handshake means.
pub(super) fn failed(cause: io::Error) -> ClientError {
    let fault = match cause.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
        Some(TlsError::InvalidCertificate(error)) => certificate_fault(error),
        Some(TlsError::AlertReceived(_)) => TlsFault::Declined,
        Some(TlsError::PeerIncompatible(_) | TlsError::NoApplicationProtocol) => TlsFault::Incompatible,
        Some(_) => TlsFault::NotTls,
        None => TlsFault::Closed,
    };
    ClientError::Tls { fault, cause }
}

fn certificate_fault(error: &CertificateError) -> TlsFault {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsFault::NotYetValid,
        CertificateError::UnknownIssuer => TlsFault::UnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsFault::WrongHost
        }
        CertificateError::Revoked => TlsFault::Revoked,
        _ => TlsFault::BadCertificate,
    }
}
