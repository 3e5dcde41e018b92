//! Listeners of a node: those of HTTP for clients and operators, and those of other protocols.

use std::net::{SocketAddr, TcpListener};

use super::error::Error;
use super::patience::{Patience, is_address_held};
use crate::config::Config;
use crate::gateway::server;

/// Binds the address of a setting. Waits for a predecessor that still holds it.
pub(super) async fn bind(setting: &'static str, address: &str) -> Result<(TcpListener, SocketAddr), Error> {
    let mut patience = Patience::with(setting);
    loop {
        match server::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((addr, listener)) => return Ok((listener, addr)),
            Err(error) if is_address_held(&error) && patience.goes_on(&error).await => {}
            Err(source) => {
                let address = address.to_owned();
                return Err(Error::Gateway {
                    setting,
                    address,
                    source,
                });
            }
        }
    }
}

/// Lets the listener of a setting accept connections.
pub(super) fn listen(setting: &'static str, listener: &TcpListener) -> Result<(), Error> {
    server::listen(listener).map_err(|source| Error::Gateway {
        setting,
        address: listener
            .local_addr()
            .map_or_else(|_| String::new(), |addr| addr.to_string()),
        source,
    })
}

/// Binds the listeners of the protocols other than HTTP.
pub(super) async fn bind_protocols(
    config: &Config,
) -> Result<Vec<(server::ProtocolListener, SocketAddr)>, Error> {
    let mut listeners = Vec::new();
    if !config.mqtt.listen.is_empty() {
        let (listener, addr) = bind("mqtt.listen", &config.mqtt.listen).await?;
        let listener = server::ProtocolListener {
            setting: "mqtt.listen",
            protocol: mqtt_protocol(config),
            listener,
        };
        listeners.push((listener, addr));
    }
    #[cfg(feature = "conformance")]
    if !config.tuning.line_echo_listen.is_empty() {
        let (listener, addr) = bind("tuning.line_echo_listen", &config.tuning.line_echo_listen).await?;
        let listener = server::ProtocolListener {
            setting: "tuning.line_echo_listen",
            protocol: server::StreamProtocol::LineEcho,
            listener,
        };
        listeners.push((listener, addr));
    }
    #[cfg(not(feature = "conformance"))]
    if !config.tuning.line_echo_listen.is_empty() {
        tracing::warn!("this build has no line echo");
    }
    Ok(listeners)
}

/// Returns the protocol of the MQTT listener: the chat, or the topic tree on which the suites for brokers run.
fn mqtt_protocol(config: &Config) -> server::StreamProtocol {
    #[cfg(feature = "conformance")]
    if config.tuning.mqtt_free_topics && config.auth.dev_tokens {
        return server::StreamProtocol::MqttTopics;
    }
    if config.tuning.mqtt_free_topics {
        tracing::warn!("this node has no free topics of MQTT");
    }
    server::StreamProtocol::Mqtt
}
