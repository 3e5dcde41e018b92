//! Addresses of a local cluster's nodes among themselves, and their change between two starts.

use std::net::SocketAddr;

use toml::{Table, Value};

use super::{BETWEEN, Error, LocalProcesses, PROXIES};
use crate::network_proxy::ProxyEndpoint;

/// Offset from a node's first port to its second one, for the node and for its proxy endpoint.
const SECOND: u16 = 50;

// === impl LocalProcesses: addresses ===

impl LocalProcesses {
    /// Switches nodes between their two addresses, from their next start on. With `hint`, `cluster.seeds` of every node
    /// names the current addresses of the others.
    pub(crate) fn change_addresses(&self, ids: &[u64], hint: bool) -> Result<(), Error> {
        for id in ids {
            let mut moved = self.moved.borrow_mut();
            if !moved.remove(id) {
                moved.insert(*id);
            }
        }
        // All nodes are configured anew: those that stay need the changed addresses of the others among the seeds.
        for node in &self.nodes {
            let others = self.nodes.iter().filter(|other| other.id != node.id);
            let seeds: Vec<Value> = others
                .map(|other| Value::String(self.advertised(other.id).to_string()))
                .collect();
            self.configure(node.id, |cluster| {
                let listen = self.listens(node.id).to_string();
                let advertised = self.advertised(node.id).to_string();
                cluster.insert("listen".to_owned(), Value::String(listen));
                cluster.insert("advertise".to_owned(), Value::String(advertised));
                if hint {
                    cluster.insert("seeds".to_owned(), Value::Array(seeds));
                }
            })?;
        }
        Ok(())
    }

    /// Returns the address at which a node listens for the others from its next start on.
    pub(crate) fn listens(&self, id: u64) -> SocketAddr {
        at(self.http_base + BETWEEN + offset(id) + self.shift(id))
    }

    fn advertised(&self, id: u64) -> SocketAddr {
        match self.links {
            Some(_) => at(self.http_base + PROXIES + offset(id) + self.shift(id)),
            None => self.listens(id),
        }
    }

    fn shift(&self, id: u64) -> u16 {
        if self.moved.borrow().contains(&id) {
            SECOND
        } else {
            0
        }
    }

    fn configure(&self, id: u64, change: impl FnOnce(&mut Table)) -> Result<(), Error> {
        let path = self.folder(id).join("node.toml");
        let wrong = |error: String| Error::Description(path.clone(), error);
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        let mut settings: Table = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if let Some(Value::Table(cluster)) = settings.get_mut("cluster") {
            change(cluster);
        }
        let text = toml::to_string(&settings).map_err(|error| wrong(error.to_string()))?;
        std::fs::write(&path, text).map_err(|error| wrong(error.to_string()))
    }
}

/// Returns the proxy endpoints of all nodes, for each of their two addresses.
pub(super) fn proxies(nodes: usize, http_base: u16) -> Vec<ProxyEndpoint> {
    let both = |offset: u16| {
        [0, SECOND].map(|shift| ProxyEndpoint {
            node: u64::from(offset) + 1,
            listen: at(http_base + PROXIES + offset + shift),
            to: at(http_base + BETWEEN + offset + shift),
        })
    };
    (0..nodes as u16).flat_map(both).collect()
}

fn offset(id: u64) -> u16 {
    id.saturating_sub(1) as u16
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
