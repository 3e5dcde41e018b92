//! Requests of a client: its CONNECT and its events become native commands. Pure.

use protocol::command::{Authenticate, ResumeSession, ResumeTarget};
use protocol::limits::DEVICE_BYTES;
use protocol::{ClientCommand, DecodeError, Request};
use serde::Deserialize;

use super::socket_packet::SocketEvent;
use crate::gateway::native_command::{CommandFields, refused};

/// Number of the requests without an acknowledgement. Clients count theirs from 0.
pub(super) const UNACKNOWLEDGED: i64 = -1;

/// Payload of a CONNECT, as the client's option `auth` and its recovery make it.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct ConnectPayload {
    token: String,
    device: Option<String>,
    instance: Option<String>,
    /// Id of the connection whose state the client recovers.
    pid: Option<String>,
    /// Last event of that connection, `<sid>:<n>`.
    offset: Option<String>,
}

// === impl ConnectPayload ===

impl ConnectPayload {
    /// Reads the data of a CONNECT. Without any it is empty.
    ///
    /// # Errors
    /// The defect, in words fit for the client.
    pub(super) fn parse(data: Option<&str>) -> Result<ConnectPayload, String> {
        let payload: ConnectPayload = match data {
            None => ConnectPayload::default(),
            Some(data) => serde_json::from_str(data).map_err(|error| error.to_string())?,
        };
        let names = [&payload.device, &payload.instance];
        if names.into_iter().flatten().any(|name| name.len() > DEVICE_BYTES) {
            return Err(format!(
                "device and instance are limited to {DEVICE_BYTES} bytes each"
            ));
        }
        Ok(payload)
    }

    /// Returns the request that opens the session, and the `pid` that the client keeps if it is resumed.
    pub(super) fn into_request(self) -> (Request, Option<String>) {
        // Both come from an earlier connection; one alone recovers nothing.
        let recovery = self.pid.filter(|pid| pid.len() <= DEVICE_BYTES).zip(self.offset);
        let (pid, offset) = recovery.unzip();
        let resume = offset.map(|offset| ResumeTarget::Session(resume_at(&offset)));
        let command = ClientCommand::Auth(Authenticate {
            token: self.token,
            device: self.device,
            instance: self.instance,
            resume,
        });
        (Request { id: None, command }, pid)
    }
}

/// Returns the session of an offset. One that cannot be read is a session that nobody has.
fn resume_at(offset: &str) -> ResumeSession {
    let split = offset.split_once(':');
    let parsed = split.and_then(|(sid, n)| Some((sid, n.parse().ok()?)));
    let (sid, session_seq) = parsed.unwrap_or_default();
    ResumeSession {
        session_id: sid.to_owned(),
        session_seq,
    }
}

/// Returns the request that an event makes. `is_binary`: it has attachments.
///
/// # Errors
/// The refusal of a malformed command.
pub(super) fn of_event(
    event: &SocketEvent<'_>,
    ack: Option<u64>,
    is_binary: bool,
) -> Result<Request, DecodeError> {
    let id = ack
        .and_then(|ack| i64::try_from(ack).ok())
        .unwrap_or(UNACKNOWLEDGED);
    if is_binary {
        return Err(refused(id, "a command has no binary data".to_owned()));
    }
    let [fields] = event.arguments[..] else {
        return Err(refused(
            id,
            "an event has one object with the fields of its command".to_owned(),
        ));
    };
    let fields = CommandFields::parse(fields.get()).map_err(|defect| refused(id, defect))?;
    // `socket.send` emits this name.
    let tag = if event.name == "message" {
        "send"
    } else {
        &*event.name
    };
    fields.request(tag, id)
}

#[cfg(test)]
mod tests {
    use protocol::ErrorCode;

    use super::*;
    use crate::gateway::socketio::socket_packet::SocketPacket;

    fn of(packet: &str) -> Result<Request, DecodeError> {
        let packet = SocketPacket::parse(packet).unwrap();
        of_event(&packet.event().unwrap(), packet.ack, packet.attachments > 0)
    }

    #[test]
    fn event_is_the_native_command_of_its_name() {
        let fields = r#"{"c":"g_1","cid":"k","b":{"text":"x"}}"#;
        let native = |id| {
            let text = format!(r#"{{"t":"send","id":{id},"c":"g_1","cid":"k","b":{{"text":"x"}}}}"#);
            Request::decode(&text).unwrap().unwrap()
        };
        assert_eq!(of(&format!(r#"25["send",{fields}]"#)), Ok(native(5)));
        assert_eq!(of(&format!(r#"20["message",{fields}]"#)), Ok(native(0)));
        assert_eq!(of(&format!(r#"2["send",{fields}]"#)), Ok(native(UNACKNOWLEDGED)));
    }

    #[test]
    fn what_is_no_command_is_a_bad_request() {
        for (packet, id) in [
            (r#"25["send"]"#, 5),
            (r#"25["send",{},{}]"#, 5),
            (r#"25["send","text"]"#, 5),
            (r#"25["message","text"]"#, 5),
            (r#"25["send",{"c":"g_1","b":{}}]"#, 5),
            (r#"25["dance",{}]"#, 5),
            (r#"2["dance",{}]"#, UNACKNOWLEDGED),
            (r#"2[7,{}]"#, UNACKNOWLEDGED),
            (r#"51-5["send",{"_placeholder":true,"num":0}]"#, 5),
        ] {
            let refusal = of(packet).unwrap_err();
            assert_eq!(
                (refusal.id, refusal.code),
                (Some(id), ErrorCode::BadRequest),
                "{packet}"
            );
        }
    }

    #[test]
    fn connect_names_token_device_and_the_recovered_session() {
        let data = r#"{"pid":"p1","offset":"1ab:412","token":"t","device":"d","instance":"i","x":[1]}"#;
        let (request, pid) = ConnectPayload::parse(Some(data)).unwrap().into_request();
        assert_eq!((request.id, pid.as_deref()), (None, Some("p1")));
        let ClientCommand::Auth(auth) = request.command else {
            panic!("no auth");
        };
        let session = ResumeSession {
            session_id: "1ab".to_owned(),
            session_seq: 412,
        };
        assert_eq!(auth.resume, Some(ResumeTarget::Session(session)));
        assert_eq!((&*auth.token, auth.device.as_deref()), ("t", Some("d")));
    }

    #[test]
    fn recovery_needs_pid_and_offset() {
        let resume = |data: &str| {
            let (request, pid) = ConnectPayload::parse(Some(data)).unwrap().into_request();
            let ClientCommand::Auth(auth) = request.command else {
                panic!("no auth");
            };
            (auth.resume.is_some(), pid.is_some())
        };
        for data in ["{}", r#"{"pid":"p"}"#, r#"{"offset":"1ab:2"}"#] {
            assert_eq!(resume(data), (false, false), "{data}");
        }
        assert_eq!(resume(r#"{"pid":"p","offset":"nonsense"}"#), (true, true));
        let (request, _) = ConnectPayload::parse(None).unwrap().into_request();
        assert!(matches!(request.command, ClientCommand::Auth(auth) if auth.token.is_empty()));
    }

    #[test]
    fn fields_of_another_type_refuse_the_connect() {
        let long = format!(r#"{{"device":"{}"}}"#, "x".repeat(DEVICE_BYTES + 1));
        for data in [r#"{"token":5}"#, r#"{"device":{}}"#, &long] {
            assert!(ConnectPayload::parse(Some(data)).is_err(), "{data}");
        }
    }
}
