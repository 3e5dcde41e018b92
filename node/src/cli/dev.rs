//! `rookery dev`: a cluster of one node, running the same code as a large one.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{Error, SettingArgs, banner, configure, mqtt_port, serve};
use crate::config::WebPages;
use crate::gateway::server::StreamProtocol;
use crate::lifecycle::shutdown;

/// Arguments of `rookery dev`.
#[derive(Args)]
pub(super) struct Dev {
    /// The data directory of the node.
    #[arg(long, value_name = "DIR", default_value = "./rookery-data")]
    data: PathBuf,
    /// The address and port for clients.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    #[command(flatten)]
    set: SettingArgs,
}

// === impl Dev ===

impl Dev {
    pub(super) async fn run(self) -> Result<(), Error> {
        let Dev { data, http, set } = self;
        let between = match http.port() {
            0 => 0,
            // Subtracted for high ports, where the sum would exceed 65535.
            port => port.checked_add(1_000).unwrap_or(port - 1_000),
        };
        let preset = vec![
            ("server.listen", http.to_string().into()),
            // One port for everything: an operator of this node is its developer.
            ("server.admin", "".into()),
            ("server.web", "chat".into()),
            ("storage.dir", data.display().to_string().into()),
            ("auth.dev_tokens", true.into()),
            ("cluster.listen", format!("127.0.0.1:{between}").into()),
            (
                "mqtt.listen",
                format!("127.0.0.1:{}", mqtt_port(http.port())).into(),
            ),
        ];
        let mut config = configure(preset, None, set)?;
        if config.cluster.seeds.is_empty() {
            // Alone, whatever its address is.
            config.cluster.seeds = vec![config.cluster.advertised().to_owned()];
        }
        let dir = config.storage.dir.clone();
        let page = config.server.web == WebPages::Chat;
        let schemes = banner::Schemes::of(config.server.has_tls());
        let running = serve(config).await?;
        banner::dev(
            schemes,
            running.http_addr(),
            running.protocol_addr(StreamProtocol::Mqtt),
            &dir,
            page,
        );
        shutdown::requested().await;
        shutdown::or_again(running.stop()).await;
        Ok(())
    }
}
