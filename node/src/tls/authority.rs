//! Authority of a cluster that issues the certificates of its nodes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{CertificateInfo, provider};

/// Name of the authority, which its certificates name as their issuer.
const AUTHORITY_NAME: &str = "Rookery nodes";
/// Days for which the certificate of an authority is valid: it is replaced when its key may be known to others.
const AUTHORITY_DAYS: u32 = 3_650;
/// Time before its making from which on a certificate is valid, for nodes whose clocks are behind.
const CLOCK_SKEW: Duration = Duration::from_secs(3_600);

/// Authority with its key.
pub struct CertificateAuthority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Certificate and key of a node, as PEM.
pub struct IssuedCertificate {
    pub certificate: String,
    pub key: String,
}

// === impl CertificateAuthority ===

impl CertificateAuthority {
    /// Makes a new authority. Returns it with its key, as PEM.
    ///
    /// # Errors
    /// Without randomness.
    pub fn create() -> Result<(CertificateAuthority, String), rcgen::Error> {
        let key = KeyPair::generate()?;
        let pem = key.serialize_pem();
        let params = authority_params();
        let certificate = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        Ok((CertificateAuthority { certificate, issuer }, pem))
    }

    /// Opens an authority that [`create`](CertificateAuthority::create) made.
    ///
    /// # Errors
    /// A text for people: files that are no authority of this program, or that do not belong together.
    pub fn open(certificate: &str, key: &str) -> Result<CertificateAuthority, String> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes());
        let der = der.map_err(|error| format!("the certificate of the authority: {error}"))?;
        let info = CertificateInfo::of(&der);
        let info = info.map_err(|error| format!("the certificate of the authority: {error}"))?;
        if info.subject != format!("CN={AUTHORITY_NAME}") || !info.is_authority {
            return Err(
                "the authority is not one of `rookery certs init`: issue with the tool that made it"
                    .to_owned(),
            );
        }
        let private = PrivateKeyDer::from_pem_slice(key.as_bytes());
        let private = private.map_err(|error| format!("the key of the authority: {error}"))?;
        let pair = CertifiedKey::from_der(vec![der], private, &provider());
        pair.map_err(|error| format!("the key of the authority: {error}"))?;
        let key = KeyPair::from_pem(key).map_err(|error| format!("the key of the authority: {error}"))?;
        Ok(CertificateAuthority {
            certificate: certificate.to_owned(),
            issuer: Issuer::new(authority_params(), key),
        })
    }

    /// Returns the certificate of the authority, as PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Issues a certificate for these DNS names and IP addresses, for either side of a connection.
    ///
    /// # Errors
    /// A name that is none, or no randomness.
    pub fn issue(&self, names: &[String], days: u32) -> Result<IssuedCertificate, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.to_vec())?;
        if let Some(last) = names.last() {
            params.distinguished_name = distinguished_name(last);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, days);
        Ok(IssuedCertificate {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(AUTHORITY_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, AUTHORITY_DAYS);
    params
}

fn distinguished_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn set_validity(params: &mut CertificateParams, days: u32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + now + Duration::from_secs(u64::from(days) * 86_400);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_issues_after_it_was_opened_again() {
        let (authority, key) = CertificateAuthority::create().unwrap();
        let opened = CertificateAuthority::open(authority.certificate(), &key).unwrap();
        let names = ["node", "node-7"].map(str::to_owned);
        let issued = opened.issue(&names, 30).unwrap();
        let read = cluster::transport::NodeCertificates::from_pem(
            authority.certificate().as_bytes(),
            issued.certificate.as_bytes(),
            issued.key.as_bytes(),
        );
        assert!(read.is_ok(), "{:?}", read.err());
        let info =
            CertificateInfo::of(&CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap());
        let info = info.unwrap();
        assert_eq!(
            (info.subject.as_str(), info.issuer.as_str()),
            ("CN=node-7", "CN=Rookery nodes")
        );
        assert_eq!(info.names, names);
        assert!(!info.is_authority);
        let valid = info.not_after.0 - info.not_before.0;
        assert_eq!(valid, 30 * 86_400 + CLOCK_SKEW.as_secs());
    }

    #[test]
    fn files_that_are_no_authority_are_refused() {
        let (one, one_key) = CertificateAuthority::create().unwrap();
        let (_, other_key) = CertificateAuthority::create().unwrap();
        let refused = |certificate: &str, key: &str| CertificateAuthority::open(certificate, key).err();
        assert!(
            refused(one.certificate(), &other_key)
                .unwrap()
                .starts_with("the key of the authority: ")
        );
        assert!(
            refused("", &one_key)
                .unwrap()
                .starts_with("the certificate of the authority: ")
        );
        let issued = one.issue(&["node".to_owned()], 1).unwrap();
        assert!(
            refused(&issued.certificate, &issued.key)
                .unwrap()
                .contains("certs init")
        );
    }
}
