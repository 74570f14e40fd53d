//! A certificate with its key, as it is kept and as TLS uses it.

use crate::renewal::{Validity, point_of};
use crate::schedule::Held;
use instant_acme::CertificateIdentifier;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use weir_rules::time::Time;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// A certificate with its key.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    /// For TLS.
    pub(crate) key: Arc<CertifiedKey>,
    /// When it is renewed.
    pub(crate) held: Held,
}

impl Issued {
    /// Reads a private key and a chain, leaf first, in PEM, and checks that they belong together and that the
    /// certificate is for `host`.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn read(pem: &str, host: &str) -> Result<Self, String> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        let key =
            PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
        let leaf = chain.first().ok_or("no certificate")?;
        if !names(leaf).iter().any(|name| name.eq_ignore_ascii_case(host)) {
            return Err(format!("the certificate is not for {host}"));
        }
        let held = held(leaf)?;
        let key = CertifiedKey::from_der(chain, key, &default_provider());
        let key = Arc::new(key.map_err(|error| error.to_string())?);
        Ok(Self { key, held })
    }

    /// By what the CA knows it (RFC 9773 §4.1); `None` if it has no such name.
    pub(crate) fn id(&self) -> Option<CertificateIdentifier<'static>> {
        let leaf = self.key.cert.first()?;
        CertificateIdentifier::try_from(leaf).ok().map(CertificateIdentifier::into_owned)
    }
}

fn held(leaf: &CertificateDer<'_>) -> Result<Held, String> {
    let (_, parsed) = parse_x509_certificate(leaf).map_err(|error| error.to_string())?;
    let time = |time: x509_parser::time::ASN1Time| {
        Time::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
    };
    let validity = parsed.validity();
    let validity = Validity { begin: time(validity.not_before), end: time(validity.not_after) };
    Ok(Held { validity, point: point_of(parsed.raw_serial()) })
}

/// When a certificate ends; `None` if it cannot be read.
pub fn expiry(certificate: &CertificateDer<'_>) -> Option<Time> {
    held(certificate).ok().map(|held| held.validity.end)
}

/// The DNS names of a certificate; none if it cannot be read.
pub fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return Vec::new() };
    let Ok(Some(names)) = parsed.subject_alternative_name() else { return Vec::new() };
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(dns).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_read_with_its_key_and_for_its_host_alone() {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let pem = format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem());
        let issued = Issued::read(&pem, "A.test").unwrap();
        assert!(issued.held.validity.begin < issued.held.validity.end);
        assert_eq!(expiry(made.cert.der()), Some(issued.held.validity.end));
        assert!(Issued::read(&pem, "b.test").unwrap_err().contains("not for b.test"));
        let other = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let mixed = format!("{}{}", other.signing_key.serialize_pem(), made.cert.pem());
        assert!(Issued::read(&mixed, "a.test").is_err());
        for text in ["", "x", made.cert.pem().as_str(), made.signing_key.serialize_pem().as_str()] {
            assert!(Issued::read(text, "a.test").is_err());
        }
    }
}
