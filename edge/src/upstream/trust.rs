//! What the certificates of members are held against, and what is shown to them.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use weir_config::{Certificate, OriginTls};

/// What origins' certificates are held against where nothing else is said.
pub(crate) fn tls() -> ClientConfig {
    with_roots(public_roots()).with_no_client_auth()
}

/// The same with the authorities in a PEM file beside the public ones.
pub(crate) fn tls_with(ca: Option<&Path>) -> Result<ClientConfig, String> {
    Ok(with_roots(roots(ca)?).with_no_client_auth())
}

/// What the origins of a pool are spoken to with.
pub(crate) fn tls_of(pool: &OriginTls) -> Result<ClientConfig, String> {
    let builder = match pool.insecure {
        false => {
            let roots = roots(pool.ca.as_deref()).map_err(|error| format!("ca: {error}"))?;
            with_roots(roots)
        }
        true => {
            let provider = provider();
            let any = AnyCertificate(Arc::clone(&provider));
            versions(provider).dangerous().with_custom_certificate_verifier(Arc::new(any))
        }
    };
    let Some(Certificate { chain, key }) = &pool.certificate else {
        return Ok(builder.with_no_client_auth());
    };
    let wrong =
        |key: &str, path: &Path, why: &dyn Display| format!("{key}: {}: {why}", path.display());
    let read =
        CertificateDer::pem_file_iter(chain).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| wrong("certificate", chain, &error))?;
    if certificates.is_empty() {
        return Err(wrong("certificate", chain, &"it has no certificate"));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong("key", key, &error))?;
    builder
        .with_client_auth_cert(certificates, secret)
        .map_err(|error| wrong("certificate", chain, &error))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = public_roots();
    if let Some(ca) = ca {
        let wrong = |why: &dyn Display| format!("{}: {why}", ca.display());
        let certificates = CertificateDer::pem_file_iter(ca).map_err(|error| wrong(&error))?;
        let public = roots.len();
        for certificate in certificates {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
        if roots.len() == public {
            return Err(wrong(&"it has no certificate"));
        }
    }
    Ok(roots)
}

/// The authorities that browsers trust.
fn public_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn versions(
    provider: Arc<CryptoProvider>,
) -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring offers the default protocol versions")
}

fn with_roots(
    roots: RootCertStore,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    versions(provider()).with_root_certificates(roots)
}

/// Takes any certificate (`insecure = true`). That the member has its key is still seen.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
