//! `rookery certs`: certificates for TLS between nodes, without a running node.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use cluster::NodeId;
use cluster::transport::certificate_name;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Error;
use crate::tls::{CertificateAuthority, CertificateInfo};

/// Files of the authority.
const AUTHORITY: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";

/// Arguments of `rookery certs`.
#[derive(Args)]
pub(super) struct Certs {
    #[command(subcommand)]
    command: CertsCommand,
}

#[derive(Subcommand)]
enum CertsCommand {
    /// Makes the authority of a cluster: ca.crt for every node, and ca.key, which stays off the nodes.
    Init(InitCerts),
    /// Issues the certificate of a node, or a new one: DIR/node-N is its `cluster.tls_dir`.
    Issue(IssueCerts),
    /// Prints the names and the end of each certificate in a file.
    Show(ShowCerts),
}

/// Arguments of `rookery certs init`.
#[derive(Args)]
struct InitCerts {
    /// The directory of the authority. It must not have one.
    dir: PathBuf,
}

/// Arguments of `rookery certs issue`.
#[derive(Args)]
struct IssueCerts {
    /// The number of the node in the cluster.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    node: u64,
    /// The number of days for which the certificate is valid.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// The directory of the authority.
    dir: PathBuf,
}

/// Arguments of `rookery certs show`.
#[derive(Args)]
struct ShowCerts {
    /// The file (PEM), of a node or of anything else.
    file: PathBuf,
}

// === impl Certs ===

impl Certs {
    pub(super) fn run(self) -> Result<(), Error> {
        match self.command {
            CertsCommand::Init(init) => init.run(),
            CertsCommand::Issue(issue) => issue.run(),
            CertsCommand::Show(show) => show.run(),
        }
    }
}

// === impl InitCerts ===

impl InitCerts {
    fn run(self) -> Result<(), Error> {
        let [certificate, key] = [AUTHORITY, AUTHORITY_KEY].map(|name| self.dir.join(name));
        for path in [&certificate, &key] {
            // Certificates of the earlier authority would be worthless.
            if path.exists() {
                return Err(Error::Certificate(format!("{}: exists already", path.display())));
            }
        }
        std::fs::create_dir_all(&self.dir).map_err(|error| at(&self.dir, &error))?;
        let made = CertificateAuthority::create();
        let (authority, secret) = made.map_err(|error| Error::Certificate(error.to_string()))?;
        write(&key, &secret, 0o600)?;
        write(&certificate, authority.certificate(), 0o644)?;
        println!("{}: for every node", certificate.display());
        println!("{}: signs certificates of nodes; no node needs it", key.display());
        Ok(())
    }
}

// === impl IssueCerts ===

impl IssueCerts {
    fn run(self) -> Result<(), Error> {
        let [certificate, key] = [AUTHORITY, AUTHORITY_KEY].map(|name| read(&self.dir.join(name)));
        let authority = CertificateAuthority::open(&certificate?, &key?).map_err(Error::Certificate)?;
        let names = [NodeId(0), NodeId(self.node)].map(certificate_name);
        let issued = authority.issue(&names, self.days);
        let issued = issued.map_err(|error| Error::Certificate(error.to_string()))?;
        let dir = self.dir.join(certificate_name(NodeId(self.node)));
        std::fs::create_dir_all(&dir).map_err(|error| at(&dir, &error))?;
        write(&dir.join(AUTHORITY), authority.certificate(), 0o644)?;
        write(&dir.join("tls.key"), &issued.key, 0o600)?;
        write(&dir.join("tls.crt"), &issued.certificate, 0o644)?;
        println!(
            "{}: for node {}, valid for {} days; its cluster.tls_dir",
            dir.display(),
            self.node,
            self.days
        );
        Ok(())
    }
}

// === impl ShowCerts ===

impl ShowCerts {
    fn run(self) -> Result<(), Error> {
        let read = CertificateDer::pem_file_iter(&self.file);
        let read = read.and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>());
        let read = read.map_err(|error| at(&self.file, &error))?;
        if read.is_empty() {
            return Err(at(&self.file, &"contains no certificate"));
        }
        let mut text = String::new();
        for certificate in &read {
            let info = CertificateInfo::of(certificate).map_err(|error| at(&self.file, &error))?;
            text.push_str(&describe(&info, SystemTime::now()));
        }
        print!("{text}");
        Ok(())
    }
}

/// Returns the facts about a certificate, line by line.
fn describe(info: &CertificateInfo, now: SystemTime) -> String {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (end, end_text) = &info.not_after;
    let left = match end.checked_sub(now) {
        Some(left) => format!("{} days left", left / 86_400),
        None => "ended".to_owned(),
    };
    let usage = if info.is_authority { " (authority)" } else { "" };
    format!(
        "subject: {}{usage}\n  issuer: {}\n  names: {}\n  valid: {} to {end_text}, {left}\n",
        info.subject,
        info.issuer,
        info.names.join(", "),
        info.not_before.1,
    )
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|error| at(path, &error))
}

/// Writes a file whole or not at all: a node may be reading the one before.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let unfinished = path.with_extension("new");
    let written = || {
        // One that was left behind may have another mode.
        match std::fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)
    };
    written().map_err(|error| at(path, &error))
}

fn at(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Certificate(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn an_authority_is_made_once_and_issues_again_and_again() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("certs");
        let init = || InitCerts { dir: dir.clone() }.run();
        init().unwrap();
        let authority = read(&dir.join("ca.crt")).unwrap();
        assert!(init().unwrap_err().to_string().contains("exists already"));
        assert_eq!(read(&dir.join("ca.crt")).unwrap(), authority);
        assert_eq!(
            (mode(&dir.join("ca.crt")), mode(&dir.join("ca.key"))),
            (0o644, 0o600)
        );

        let issue = |node, days| {
            let dir = dir.clone();
            IssueCerts { node, days, dir }.run()
        };
        issue(3, 30).unwrap();
        let node = dir.join("node-3");
        let load = || {
            let [authorities, certificate, key] =
                ["ca.crt", "tls.crt", "tls.key"].map(|name| std::fs::read(node.join(name)).unwrap());
            cluster::transport::NodeCertificates::from_pem(&authorities, &certificate, &key).unwrap();
            certificate
        };
        let first = load();
        issue(3, 60).unwrap();
        assert_ne!(load(), first);
        assert_eq!(mode(&node.join("tls.key")), 0o600);
        ShowCerts {
            file: node.join("tls.crt"),
        }
        .run()
        .unwrap();
        let nothing = ShowCerts {
            file: node.join("tls.key"),
        };
        assert!(nothing.run().unwrap_err().to_string().contains("no certificate"));
    }

    #[test]
    fn the_end_of_a_certificate_is_printed_with_the_days_until_it() {
        let mut info = CertificateInfo {
            subject: "CN=node-3".to_owned(),
            issuer: "CN=Rookery nodes".to_owned(),
            names: vec!["node".to_owned(), "node-3".to_owned()],
            not_before: (0, "1970-01-01T00:00:00Z".to_owned()),
            not_after: (10 * 86_400, "1970-01-11T00:00:00Z".to_owned()),
            is_authority: false,
        };
        let day = |day: u64| UNIX_EPOCH + Duration::from_secs(day * 86_400);
        assert_eq!(
            describe(&info, day(3)),
            "subject: CN=node-3\n  issuer: CN=Rookery nodes\n  names: node, node-3\n  valid: 1970-01-01T00:00:00Z to \
             1970-01-11T00:00:00Z, 7 days left\n"
        );
        info.is_authority = true;
        assert!(describe(&info, day(11)).contains("(authority)"));
        assert!(describe(&info, day(11)).contains(", ended\n"));
    }
}
