//! TLS: who is trusted, and what the others are told to be.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::NamedTempFile;

use super::super::{Client, ClientError, Settings, SetupError, TlsFault};
use super::peers::{Peer, Script};
use super::{Rig, Tasks};

/// A CA of our own, and a file that makes a client trust it.
pub(super) struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: NamedTempFile,
}

impl Ca {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // CAs are looked up by name before their keys are tried.
        params.distinguished_name.push(DnType::CommonName, format!("CA {}", getrandom::u64().unwrap()));
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), issuer.pem()).unwrap();
        Self { issuer, file }
    }

    pub(super) fn trusting(&self) -> Settings {
        Settings { ca_file: Some(self.file.path().to_owned()), ..Settings::default() }
    }

    /// A server with a certificate of this CA for 127.0.0.1 and localhost.
    pub(super) fn server(&self, alpn: &[&str]) -> ServerConfig {
        self.server_with(&leaf(), alpn)
    }

    fn server_with(&self, params: &CertificateParams, alpn: &[&str]) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        config(certificate.der().clone(), &key, alpn)
    }
}

fn leaf() -> CertificateParams {
    CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap()
}

fn config(certificate: CertificateDer<'static>, key: &KeyPair, alpn: &[&str]) -> ServerConfig {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

async fn fault_of(rig: &Rig, config: ServerConfig) -> TlsFault {
    let peer = Peer::tls(config, 100).await;
    let error = rig.get(&peer.tls_target("localhost", "/")).await.unwrap_err();
    assert!(error.never_sent());
    assert_eq!(rig.client.stats().open(), 0);
    match error {
        ClientError::Tls { fault, .. } => fault,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_of_a_trusted_ca_is_spoken_to() {
    let ca = Ca::new();
    let rig = Rig::new(ca.trusting());
    for alpn in [&["http/1.1"][..], &[]] {
        let peer = Peer::tls(ca.server(alpn), 100).await;
        for host in ["localhost", "127.0.0.1"] {
            let authority = format!("{host}:{}", peer.address.port());
            assert_eq!(rig.read(&peer.tls_target(host, "/host")).await, authority);
            assert_eq!(rig.read(&peer.tls_target(host, "/host")).await, authority);
        }
        assert_eq!(peer.accepted(), 2);
    }
}

#[tokio::test]
async fn a_bad_certificate_is_refused_and_called_by_its_fault() {
    let ca = Ca::new();
    let rig = Rig::new(ca.trusting());

    let mut expired = leaf();
    (expired.not_before, expired.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    assert_eq!(fault_of(&rig, ca.server_with(&expired, &[])).await, TlsFault::Expired);

    let mut early = leaf();
    (early.not_before, early.not_after) = (date_time_ymd(3001, 1, 1), date_time_ymd(3002, 1, 1));
    assert_eq!(fault_of(&rig, ca.server_with(&early, &[])).await, TlsFault::NotYetValid);

    let other = CertificateParams::new(vec!["other.example".into()]).unwrap();
    assert_eq!(fault_of(&rig, ca.server_with(&other, &[])).await, TlsFault::WrongHost);

    assert_eq!(fault_of(&rig, Ca::new().server(&[])).await, TlsFault::UnknownIssuer);

    let key = KeyPair::generate().unwrap();
    let own = leaf().self_signed(&key).unwrap();
    assert_eq!(fault_of(&rig, config(own.der().clone(), &key, &[])).await, TlsFault::UnknownIssuer);
}

#[tokio::test]
async fn the_systems_roots_do_not_vouch_for_a_private_ca() {
    let rig = Rig::new(Settings::default());
    assert_eq!(fault_of(&rig, Ca::new().server(&[])).await, TlsFault::UnknownIssuer);
}

#[tokio::test]
async fn plain_http_behind_an_https_url_is_called_so() {
    let (script, rig) = (Script::new().await, Rig::new(Settings::default()));
    let answer = "HTTP/1.1 400 Bad Request\r\n\r\n";
    let target = script.tls_target();
    let (outcome, _stream) = tokio::join!(rig.get(&target), script.answer(answer));
    let error = outcome.unwrap_err();
    assert!(matches!(error, ClientError::Tls { fault: TlsFault::NotTls, .. }), "{error:?}");
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_sent_nothing() {
    let settings = Settings { connect_timeout: Duration::from_millis(20), ..Settings::default() };
    let (script, rig) = (Script::new().await, Rig::new(settings));
    let error = rig.get(&script.tls_target()).await.unwrap_err();
    assert!(matches!(error, ClientError::ConnectTimeout(_)), "{error:?}");
    assert!(error.is_timeout() && error.never_sent());
}

#[tokio::test]
async fn a_ca_file_without_certificates_is_refused_at_the_start() {
    let refused = |path: &std::path::Path| {
        let settings = Settings { ca_file: Some(path.to_owned()), ..Settings::default() };
        Client::new(settings, Tasks::new()).unwrap_err()
    };
    let file = NamedTempFile::new().unwrap();
    assert!(matches!(refused(file.path()), SetupError::NoCertificate(_)));
    assert!(matches!(refused(&file.path().with_extension("missing")), SetupError::CaFile { .. }));
    let der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(file.path(), der).unwrap();
    assert!(matches!(refused(file.path()), SetupError::BadRoot { .. }));
}
