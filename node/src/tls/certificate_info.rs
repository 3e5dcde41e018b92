//! Facts about a certificate, for the log, the metrics and `rookery certs show`.

use std::net::{Ipv4Addr, Ipv6Addr};

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::{self, Decode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};
use x509_cert::time::Time;

/// Subject, names and validity of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    pub subject: String,
    pub issuer: String,
    /// DNS names and IP addresses.
    pub names: Vec<String>,
    /// Begin of the validity in seconds since 1970, and as text.
    pub not_before: (u64, String),
    /// End of the validity in seconds since 1970, and as text.
    pub not_after: (u64, String),
    /// Set for a certificate that may sign others.
    pub is_authority: bool,
}

// === impl CertificateInfo ===

impl CertificateInfo {
    /// Reads a certificate.
    ///
    /// # Errors
    /// Bytes that are no X.509 certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<CertificateInfo, der::Error> {
        let certificate = Certificate::from_der(certificate)?;
        let facts = certificate.tbs_certificate();
        let names = facts.get_extension::<SubjectAltName>()?;
        let names = names.map(|(_critical, SubjectAltName(names))| names.iter().filter_map(name).collect());
        let constraints = facts.get_extension::<BasicConstraints>()?;
        Ok(CertificateInfo {
            subject: facts.subject().to_string(),
            issuer: facts.issuer().to_string(),
            names: names.unwrap_or_default(),
            not_before: time(facts.validity().not_before),
            not_after: time(facts.validity().not_after),
            is_authority: constraints.is_some_and(|(_critical, constraints)| constraints.ca),
        })
    }

    /// Returns the earliest end of a certificate and those that link it to an authority, in seconds since 1970.
    ///
    /// # Errors
    /// Bytes that are no X.509 certificate.
    pub fn earliest_end(chain: &[CertificateDer<'_>]) -> Result<u64, der::Error> {
        let mut earliest = u64::MAX;
        for certificate in chain {
            earliest = earliest.min(CertificateInfo::of(certificate)?.not_after.0);
        }
        Ok(earliest)
    }
}

fn time(time: Time) -> (u64, String) {
    (time.to_unix_duration().as_secs(), time.to_date_time().to_string())
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(address) => {
            let bytes = address.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).to_string());
            let v6 = <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).to_string());
            v4.or(v6).ok()
        }
        _ => None,
    }
}
