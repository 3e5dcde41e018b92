//! Choice of the protocol that a client speaks.

use clap::ValueEnum;
use serde::{Deserialize, Deserializer};

use super::cable::CableWire;
use super::client_wire::{ClientWire, WireLogin, WireTransport};
use super::mqtt::MqttWire;
use super::native::NativeWire;
use super::socketio::SocketIoWire;

/// Protocol of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Wire {
    /// Rookery's own protocol, over a WebSocket.
    Native,
    /// Engine.IO 4 and Socket.IO 5, over a WebSocket.
    #[value(name = "socketio")]
    SocketIo,
    /// The same by long polling, each request at another node.
    #[value(name = "socketio-polling")]
    SocketIoPolling,
    /// MQTT 5 at the topics of a chat.
    Mqtt,
    /// Extended protocol of ActionCable.
    #[value(name = "actioncable")]
    ActionCable,
}

// === impl Wire ===

impl Wire {
    /// Returns the protocol as of a client that was never connected.
    pub(crate) fn client(self, login: WireLogin) -> Box<dyn ClientWire> {
        match self {
            Wire::Native => Box::new(NativeWire),
            Wire::SocketIo => Box::new(SocketIoWire::new(login, WireTransport::WebSocket)),
            Wire::SocketIoPolling => Box::new(SocketIoWire::new(login, WireTransport::Polling)),
            Wire::Mqtt => Box::new(MqttWire::new(login)),
            Wire::ActionCable => Box::new(CableWire::new(login)),
        }
    }

    /// Returns the name, as on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Wire::Native => "native",
            Wire::SocketIo => "socketio",
            Wire::SocketIoPolling => "socketio-polling",
            Wire::Mqtt => "mqtt",
            Wire::ActionCable => "actioncable",
        }
    }

    /// Settings of a local node with which the client detects a silent node as soon as a native client does.
    pub(crate) fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // Only the pings of the node show that it is alive: they come every five eighths of the idle timeout, and half of
            // it is the patience for each.
            Wire::SocketIo | Wire::SocketIoPolling => &[("session.idle_timeout", "12s")],
            Wire::Native | Wire::Mqtt | Wire::ActionCable => &[],
        }
    }
}

/// Reads one protocol or a list of them, by their names.
pub(crate) fn wires<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Wire>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        One(String),
        Several(Vec<String>),
    }
    let names = match Names::deserialize(deserializer)? {
        Names::One(name) => vec![name],
        Names::Several(names) => names,
    };
    let parsed = names.iter().map(|name| Wire::from_str(name, false));
    parsed
        .collect::<Result<_, _>>()
        .map_err(|error| serde::de::Error::custom(format!("wire: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wire_has_the_name_of_the_command_line() {
        for wire in Wire::value_variants() {
            assert_eq!(Wire::from_str(wire.name(), false), Ok(*wire));
        }
    }
}
