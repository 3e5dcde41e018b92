//! TLS: certificates for clients and between nodes, renewed while connections stay open.
//!
//! | part | holds |
//! |---|---|
//! | [`ClientTls`] | certificate and protocol settings of the ports for clients |
//! | [`CertificateWatch`] | task that reads changed files again, and their metrics |
//! | [`CertificateInfo`] | end, names and issuer of a certificate |
//! | [`CertificateAuthority`] | authority of the nodes' certificates, for `rookery certs` |
//! | [`OutgoingTls`] | client's side, for receivers of webhooks and object storage |
//!
//! TLS between nodes itself is in the crate `cluster` (`transport/tls`). All use rustls with ring.

mod authority;
mod certificate_info;
mod client_tls;
mod outgoing_tls;
mod pem_files;
mod trust;
mod watch;

pub use authority::CertificateAuthority;
#[cfg(feature = "testkit")]
pub use authority::IssuedCertificate;
pub use certificate_info::CertificateInfo;
pub use client_tls::{ClientTls, certified_key};
pub use outgoing_tls::OutgoingTls;
pub use pem_files::PemFiles;
pub use trust::{AnyCertificate, provider, system_roots};
pub use watch::{CertificateMetrics, CertificateSource, CertificateUse, CertificateWatch};
