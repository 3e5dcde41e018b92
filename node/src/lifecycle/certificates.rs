//! Certificates of a node: those that the settings name, and their watch.

use std::path::{Path, PathBuf};

use cluster::transport::{NodeCertificates, PeerTls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Error;
use crate::config::Config;
use crate::tls::{
    CertificateInfo, CertificateSource, CertificateUse, CertificateWatch, ClientTls, PemFiles, certified_key,
};

/// Files in `cluster.tls_dir`, with the names that cert-manager and Kubernetes give them.
const NODE_FILES: [&str; 3] = ["ca.crt", "tls.crt", "tls.key"];

/// Certificates of a running node, each in use already.
pub(super) struct Certificates {
    pub(super) clients: Option<ClientTls>,
    pub(super) peers: Option<PeerTls>,
    pub(super) watch: CertificateWatch,
}

// === impl Certificates ===

impl Certificates {
    /// Reads the certificates that the settings name.
    ///
    /// # Errors
    /// Files that cannot be used, with the setting that names them.
    pub(super) fn open(config: &Config) -> Result<Certificates, Error> {
        let mut watch = CertificateWatch::default();
        let clients = config.server.has_tls().then(|| for_clients(config, &mut watch));
        let clients = clients.transpose().map_err(|reason| Error::Certificate {
            setting: "server.tls_cert_file",
            reason,
        })?;
        let has_tls = !config.cluster.tls_dir.is_empty();
        let peers = has_tls.then(|| between_nodes(config, &mut watch));
        let peers = peers.transpose().map_err(|reason| Error::Certificate {
            setting: "cluster.tls_dir",
            reason,
        })?;
        Ok(Certificates {
            clients,
            peers,
            watch,
        })
    }
}

fn for_clients(config: &Config, watch: &mut CertificateWatch) -> Result<ClientTls, String> {
    let paths = [&config.server.tls_cert_file, &config.server.tls_key_file].map(PathBuf::from);
    let mut files = PemFiles::new(paths.to_vec());
    let read = |contents: &[Vec<u8>]| match contents {
        [certificate, key] => certified_key(certificate, key),
        _ => Err("a file is missing".to_owned()),
    };
    let (certificate, end) = read(&files.read()?)?;
    let tls = ClientTls::new(certificate).map_err(|error| error.to_string())?;
    let renewed = tls.clone();
    let source = CertificateSource::new(CertificateUse::Clients, files, move |contents| {
        let (certificate, end) = read(contents)?;
        renewed.replace(certificate);
        Ok(end)
    });
    watch.add(source, end);
    Ok(tls)
}

fn between_nodes(config: &Config, watch: &mut CertificateWatch) -> Result<PeerTls, String> {
    let dir = Path::new(&config.cluster.tls_dir);
    let mut files = PemFiles::new(NODE_FILES.map(|name| dir.join(name)).to_vec());
    let (certificates, end) = node_certificates(&files.read()?)?;
    let tls = PeerTls::new(certificates, config.cluster.tls_required);
    let renewed = tls.clone();
    let source = CertificateSource::new(CertificateUse::Nodes, files, move |contents| {
        let (certificates, end) = node_certificates(contents)?;
        renewed.replace(certificates);
        Ok(end)
    });
    watch.add(source, end);
    Ok(tls)
}

/// Reads the certificates of a node from the contents of its files, with their earliest end.
fn node_certificates(contents: &[Vec<u8>]) -> Result<(NodeCertificates, u64), String> {
    let [authorities, certificate, key] = contents else {
        return Err("a file is missing".to_owned());
    };
    let certificates = NodeCertificates::from_pem(authorities, certificate, key);
    let certificates = certificates.map_err(|error| error.to_string())?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|error| error.to_string())?;
    let end = CertificateInfo::earliest_end(&chain).map_err(|error| error.to_string())?;
    Ok((certificates, end))
}
