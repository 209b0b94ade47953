//! TLS for the servers of the tests: an authority made for one test, and what it vouches for.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::NamedTempFile;
use tokio_rustls::TlsAcceptor;

/// An authority, and the file that makes a client trust it.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: NamedTempFile,
}

/// How a server presents itself.
#[derive(Clone)]
pub struct Identity {
    names: Vec<String>,
    /// What it offers to speak, the best first.
    offers: Vec<Vec<u8>>,
    expired: bool,
}

impl Identity {
    /// A server for `localhost` that offers these protocols by ALPN.
    pub fn localhost(offers: &[&str]) -> Self {
        Self::named("localhost", offers)
    }

    /// A server for this name.
    pub fn named(name: &str, offers: &[&str]) -> Self {
        let offers = offers.iter().map(|offer| offer.as_bytes().to_vec()).collect();
        Self { names: vec![name.into()], offers, expired: false }
    }

    /// With a certificate that was good twenty years ago.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.expired = true;
        self
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new("Authority of a test")
    }
}

impl Authority {
    /// An authority of this name.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let file = NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), issuer.pem()).expect("the certificate in a file");
        Self { issuer, file }
    }

    /// The file with its certificate (PEM).
    pub fn file(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn acceptor(&self, identity: &Identity) -> TlsAcceptor {
        let mut params = CertificateParams::new(identity.names.clone()).expect("names");
        if identity.expired {
            params.not_before = rcgen::date_time_ymd(2005, 1, 1);
            params.not_after = rcgen::date_time_ymd(2006, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate with its key");
        config.alpn_protocols.clone_from(&identity.offers);
        TlsAcceptor::from(Arc::new(config))
    }
}
