//! Packets of the MQTT client, and what a PUBACK says in the words of the native protocol.

use std::fmt::Write;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{
    Connect, ConnectProperties, Filter, Login, Packet, PubAck, PubAckReason, Subscribe,
};
use rumqttc::v5::mqttbytes::{Error, QoS};
use tokio_tungstenite::tungstenite::Message;

use crate::wire::client_wire::{WireEnd, WireLogin, quoted};

/// Maximum size of a packet in bytes, in both directions.
const PACKET: u32 = 1 << 20;
/// Seconds for which a session outlives its connection, longer than every planned absence.
const SESSION_EXPIRY: u32 = 600;
/// Seconds between the packets of a client. The heartbeats of the harness are more frequent.
const KEEP_ALIVE: u16 = 60;

/// Returns CONNECT of a persistent session. The device is the client id, and the token the password.
pub(super) fn connect(login: &WireLogin, clean_start: bool) -> Packet {
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(SESSION_EXPIRY);
    let connect = Connect {
        keep_alive: KEEP_ALIVE,
        client_id: login.device.clone(),
        clean_start,
        properties: Some(properties),
    };
    let login = Login {
        username: "token".to_owned(),
        password: login.token.clone(),
    };
    Packet::Connect(connect, None, Some(login))
}

/// Returns the SUBSCRIBE for all events and answers of the client's own user.
pub(super) fn subscribe(packet_id: u16) -> Packet {
    let filters = [
        Filter::new("u/me/answers", QoS::AtMostOnce),
        Filter::new("u/me/events", QoS::AtLeastOnce),
    ];
    let mut subscribe = Subscribe::new_many(filters, None);
    subscribe.pkid = packet_id;
    Packet::Subscribe(subscribe)
}

/// Returns the WebSocket message with one packet.
pub(super) fn message(packet: &Packet) -> Result<Message, WireEnd> {
    let mut bytes = BytesMut::new();
    packet
        .write(&mut bytes, Some(PACKET))
        .map_err(|error| WireEnd::Malformed(error.to_string()))?;
    Ok(Message::binary(bytes.freeze()))
}

/// Removes the next complete packet from the received bytes; `None` if there is none.
pub(super) fn next(received: &mut BytesMut) -> Result<Option<Packet>, WireEnd> {
    if received.is_empty() {
        return Ok(None);
    }
    match Packet::read(received, Some(PACKET)) {
        Ok(packet) => Ok(Some(packet)),
        Err(Error::InsufficientBytes(_)) => Ok(None),
        Err(error) => Err(WireEnd::Malformed(format!("{error}, before {received:?}"))),
    }
}

/// Returns the native response to command `id` that a PUBACK means.
pub(super) fn response(id: u64, ack: &PubAck) -> String {
    let properties = ack.properties.as_ref();
    let properties = properties.map_or(&[][..], |properties| &properties.user_properties[..]);
    let value = |name: &str| {
        properties
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    };
    if ack.reason != PubAckReason::Success {
        let mut text = format!(r#"{{"t":"err","id":{id}"#);
        for name in ["code", "msg"] {
            if let Some(value) = value(name) {
                let _ = write!(text, r#","{name}":{}"#, quoted(value));
            }
        }
        return text + "}";
    }
    // A move of a cursor has no position in the log.
    if value("s").is_none() {
        return format!(r#"{{"t":"ok","id":{id}}}"#);
    }
    let mut text = format!(r#"{{"t":"ack","id":{id}"#);
    if let Some(c) = value("c") {
        let _ = write!(text, r#","c":{}"#, quoted(c));
    }
    for name in ["s", "mn", "ts", "dup"] {
        if let Some(value) = value(name) {
            let _ = write!(text, r#","{name}":{value}"#);
        }
    }
    text + "}"
}
