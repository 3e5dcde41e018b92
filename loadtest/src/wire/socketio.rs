//! Engine.IO 4 and Socket.IO 5 over one transport, as `socket.io-client` speaks them with `transports: ["websocket"]` or
//! `["polling"]`.
//!
//! The client resumes by `pid` and offset. It sends no heartbeats: the node pings, and the pongs confirm the events.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::Request;

use super::client_wire::{ClientWire, CommandHead, WireEnd, WireLogin, WireTransport, malformed, upgrade_to};
use crate::clock::{MILLISECOND, Nanos};

/// Socket.IO client in the main namespace.
pub(super) struct SocketIoWire {
    login: WireLogin,
    transport: WireTransport,
    /// Id of the connection's state. Together with the offset it recovers the events since then.
    pid: Option<String>,
    /// Offset of the last event.
    offset: Option<String>,
    /// `true` if the node has confirmed the recovery of the state.
    recovered: bool,
    liveness_timeout: Option<Nanos>,
}

/// Handshake of the engine.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EngineOpen {
    ping_interval: u64,
    ping_timeout: u64,
}

/// Confirmation of a CONNECT.
#[derive(Deserialize)]
struct Connected {
    pid: String,
}

/// Refusal of a CONNECT.
#[derive(Deserialize)]
struct ConnectError<'a> {
    message: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ResumedFlag {
    #[serde(default)]
    resumed: bool,
}

const PATH: &str = "/socket.io/?EIO=4&transport=websocket";

// === impl SocketIoWire ===

impl SocketIoWire {
    pub(super) fn new(login: WireLogin, transport: WireTransport) -> SocketIoWire {
        SocketIoWire {
            login,
            transport,
            pid: None,
            offset: None,
            recovered: false,
            liveness_timeout: None,
        }
    }

    /// Returns the CONNECT packet.
    fn connect(&self) -> String {
        let mut auth = json!({
            "token": self.login.token,
            "device": self.login.device,
            "instance": self.login.instance,
        });
        if let (Some(pid), Some(offset)) = (&self.pid, &self.offset) {
            auth["pid"] = Value::from(pid.as_str());
            auth["offset"] = Value::from(offset.as_str());
        }
        format!("40{auth}")
    }

    /// Handles a packet of Socket.IO: what follows the type of the engine's packet.
    fn packet(&mut self, packet: &str, frames: &mut dyn FnMut(&str)) -> Result<(), WireEnd> {
        let (kind, data) = packet.split_at_checked(1).unwrap_or((packet, ""));
        match kind {
            "0" => {
                let Connected { pid } =
                    serde_json::from_str(data).map_err(|error| malformed(error, packet))?;
                self.recovered = self.pid.as_ref() == Some(&pid);
                self.pid = Some(pid);
                Ok(())
            }
            "1" => {
                // A client that the server has disconnected recovers nothing.
                self.forget();
                Err(WireEnd::Ended("io server disconnect".to_owned()))
            }
            "2" => self.event(data, frames),
            "3" => {
                let arguments = data.trim_start_matches(|digit: char| digit.is_ascii_digit());
                let [response]: [&RawValue; 1] =
                    serde_json::from_str(arguments).map_err(|error| malformed(error, packet))?;
                frames(response.get());
                Ok(())
            }
            "4" => {
                let refused: ConnectError<'_> =
                    serde_json::from_str(data).map_err(|error| malformed(error, packet))?;
                if let Some(data) = refused.data {
                    frames(data.get());
                }
                Err(WireEnd::Ended(format!("connect_error {}", refused.message)))
            }
            _ => Err(malformed("no packet of the server", packet)),
        }
    }

    fn event(&mut self, data: &str, frames: &mut dyn FnMut(&str)) -> Result<(), WireEnd> {
        let arguments: Vec<&RawValue> = serde_json::from_str(data).map_err(|error| malformed(error, data))?;
        let (Some(name), Some(event)) = (arguments.first(), arguments.get(1)) else {
            return Err(malformed("an event without an object", data));
        };
        if name.get() == r#""ready""# {
            let ready: ResumedFlag =
                serde_json::from_str(event.get()).map_err(|error| malformed(error, data))?;
            // `socket.recovered` follows from the id alone, so an application would miss events, or sync for nothing.
            if ready.resumed != self.recovered {
                return Err(malformed(format!("recovered is {}", self.recovered), data));
            }
        }
        // Behind some events there is no offset: they are not recovered.
        if let Some(offset) = arguments.get(2) {
            let offset = serde_json::from_str(offset.get()).map_err(|error| malformed(error, data))?;
            self.offset = Some(offset);
        }
        frames(event.get());
        Ok(())
    }
}

impl ClientWire for SocketIoWire {
    fn transport(&self) -> WireTransport {
        self.transport
    }

    fn upgrade(&self, node: &str) -> Result<Request, String> {
        upgrade_to(node, PATH, None)
    }

    fn begin(&mut self, _out: &mut Vec<Message>) {
        // The server speaks first, with the handshake of the engine.
        self.liveness_timeout = None;
    }

    fn send(&mut self, command: String, out: &mut Vec<Message>) {
        let head = CommandHead::read(&command);
        let id = match (head.t, head.id) {
            // CONNECT authenticates, and pongs are the heartbeats.
            ("auth" | "hb", _) => return,
            (_, Some(id)) => id.to_string(),
            (_, None) => String::new(),
        };
        // The fields of a command may contain its tag and id, which have no meaning there.
        out.push(Message::text(format!("42{id}[\"{}\",{command}]", head.t)));
    }

    fn receive(
        &mut self,
        message: &Message,
        out: &mut Vec<Message>,
        frames: &mut dyn FnMut(&str),
    ) -> Result<(), WireEnd> {
        let Message::Text(text) = message else {
            return Err(WireEnd::Malformed("a binary message".to_owned()));
        };
        let text = text.as_str();
        let (kind, data) = text.split_at_checked(1).unwrap_or((text, ""));
        match (kind, data) {
            ("0", _) => {
                let open: EngineOpen = serde_json::from_str(data).map_err(|error| malformed(error, text))?;
                self.liveness_timeout = Some((open.ping_interval + open.ping_timeout) * MILLISECOND);
                out.push(Message::text(self.connect()));
                Ok(())
            }
            ("1", _) => Err(WireEnd::Ended("engine closed".to_owned())),
            ("2", "") => {
                out.push(Message::text("3"));
                Ok(())
            }
            ("4", _) => self.packet(data, frames),
            ("6", "") => Ok(()),
            _ => Err(malformed("no packet of the engine", text)),
        }
    }

    fn forget(&mut self) {
        self.pid = None;
        self.offset = None;
    }

    fn liveness_timeout(&self) -> Option<Nanos> {
        self.liveness_timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn wire() -> SocketIoWire {
        let login = WireLogin {
            token: "dev:ann".to_owned(),
            device: "d".to_owned(),
            instance: "i".to_owned(),
        };
        SocketIoWire::new(login, WireTransport::WebSocket)
    }

    /// Returns the sent texts and the native frames of some received texts.
    fn receive(wire: &mut SocketIoWire, texts: &[&str]) -> (Vec<String>, Vec<String>, Result<(), WireEnd>) {
        let (mut out, mut frames) = (Vec::new(), Vec::new());
        let received = texts.iter().try_for_each(|text| {
            wire.receive(&Message::text(*text), &mut out, &mut |frame| {
                frames.push(frame.to_owned());
            })
        });
        (sent(out), frames, received)
    }

    fn sent(out: Vec<Message>) -> Vec<String> {
        out.into_iter()
            .map(|message| message.into_text().unwrap().to_string())
            .collect()
    }

    const OPEN: &str =
        r#"0{"sid":"e","upgrades":[],"pingInterval":4000,"pingTimeout":8000,"maxPayload":65536}"#;
    const READY: &str = r#"{"t":"ready","sid":"1a","n":0,"resumed":false}"#;

    #[test]
    fn client_connects_and_recovers_by_pid_and_offset() {
        let mut wire = wire();
        let ready = format!(r#"42["ready",{READY},"1a:0"]"#);
        let event = r#"42["msg",{"n":1,"t":"msg","b":{"a":[1,"x"]}},"1a:1"]"#;
        let (out, frames, received) = receive(
            &mut wire,
            &[OPEN, r#"40{"sid":"s","pid":"p1"}"#, &ready, "2", event],
        );
        assert_eq!(received, Ok(()));
        let connect: Value = serde_json::from_str(out[0].strip_prefix("40").unwrap()).unwrap();
        assert_eq!(
            connect,
            json!({"token": "dev:ann", "device": "d", "instance": "i"})
        );
        assert_eq!(out[1..], ["3"]);
        assert_eq!(frames, [READY, r#"{"n":1,"t":"msg","b":{"a":[1,"x"]}}"#]);
        assert_eq!(wire.liveness_timeout(), Some(12_000 * MILLISECOND));

        let (out, ..) = receive(&mut wire, &[OPEN]);
        assert!(out[0].contains(r#""offset":"1a:1""#), "{out:?}");
        // Recovered by the id, and not by the session: a client would skip its sync.
        let (_, _, received) = receive(&mut wire, &[r#"40{"sid":"t","pid":"p1"}"#, &ready]);
        assert!(matches!(received, Err(WireEnd::Malformed(_))), "{received:?}");
    }

    #[test]
    fn command_is_an_event_with_an_acknowledgement() {
        let mut out = Vec::new();
        let c = protocol::ConversationId::parse("g_1").unwrap();
        wire().send(wire::encode(Some(7 << 32), wire::newest(&c, 5)), &mut out);
        wire().send(wire::encode(None, wire::heartbeat(3)), &mut out);
        wire().send(wire::encode(None, wire::typing(&c)), &mut out);
        let out = sent(out);
        assert_eq!(out.len(), 2, "{out:?}");
        assert!(out[0].starts_with(r#"4230064771072["hist",{"#), "{out:?}");
        assert!(out[1].starts_with(r#"42["typing",{"#), "{out:?}");
        let (_, frames, _) = receive(&mut wire(), &[r#"4330064771072[{"t":"hist","id":30064771072}]"#]);
        assert_eq!(frames, [r#"{"t":"hist","id":30064771072}"#]);
    }

    #[test]
    fn client_that_is_disconnected_recovers_nothing() {
        let mut wire = wire();
        receive(&mut wire, &[r#"40{"sid":"s","pid":"p1"}"#]).2.unwrap();
        receive(&mut wire, &[r#"42["msg",{"n":1,"t":"msg"},"1a:1"]"#])
            .2
            .unwrap();
        let (.., ended) = receive(&mut wire, &["41"]);
        assert!(matches!(ended, Err(WireEnd::Ended(_))));
        assert!(!wire.connect().contains("pid"));
        let refused = r#"44{"message":"token_expired","data":{"t":"err","code":"token_expired"}}"#;
        let (_, frames, ended) = receive(&mut wire, &[refused]);
        assert_eq!(frames, [r#"{"t":"err","code":"token_expired"}"#]);
        assert_eq!(
            ended,
            Err(WireEnd::Ended("connect_error token_expired".to_owned()))
        );
    }

    #[test]
    fn packets_that_no_server_sends_are_caught() {
        for text in [
            "",
            "5",
            "2probe",
            "45",
            "42{}",
            "42[]",
            r#"42["msg"]"#,
            "43[]",
            "40{}",
        ] {
            let (.., received) = receive(&mut wire(), &[text]);
            assert!(
                matches!(received, Err(WireEnd::Malformed(_))),
                "{text:?}: {received:?}"
            );
        }
    }
}
