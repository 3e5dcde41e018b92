//! Command of a published message: the payload is its fields as one JSON object. Pure.

use std::borrow::Cow;

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use protocol::{ClientMessageId, DecodeError, Request};
use sha2::{Digest, Sha256};

use super::publish_topic::{CommandTarget, PublishTopic};
use crate::gateway::native_command::{CommandFields, refused};

/// Command with what its answer needs.
#[derive(Debug)]
pub(super) struct PublishedCommand {
    pub(super) request: Result<Request, DecodeError>,
    /// The client's number of the command.
    pub(super) id: Option<i64>,
    /// Key of the command, to name it in a refusal.
    pub(super) cid: Option<String>,
}

// === impl PublishedCommand ===

impl PublishedCommand {
    /// Reads the payload of a message. `number`: the gateway's number of the request.
    pub(super) fn read(
        topic: &PublishTopic,
        payload: &[u8],
        correlation: Option<&Bytes>,
        number: i64,
    ) -> PublishedCommand {
        let mut command = PublishedCommand {
            request: Err(refused(number, String::new())),
            id: None,
            cid: None,
        };
        command.request = command.fields(topic, payload, correlation).map_or_else(
            |message| Err(refused(number, message)),
            |fields| fields.request(topic.tag, number),
        );
        command
    }

    fn fields<'a>(
        &mut self,
        topic: &PublishTopic,
        payload: &'a [u8],
        correlation: Option<&Bytes>,
    ) -> Result<CommandFields<'a>, String> {
        let text = std::str::from_utf8(payload).map_err(|_| "the payload must be UTF-8".to_owned())?;
        // A command without fields needs no payload.
        let mut fields = CommandFields::parse(if text.is_empty() { "{}" } else { text })?;
        if let Some(json) = fields.take("id") {
            let id = serde_json::from_str(&json);
            self.id = Some(id.map_err(|_| "id must be a 64-bit integer".to_owned())?);
        }
        match &topic.target {
            CommandTarget::Conversation(conversation) => fields.set_string("c", conversation.as_str()),
            CommandTarget::Direct(user) => {
                fields.take("c");
                fields.set_string("to", user.as_str());
            }
            CommandTarget::Own => {}
        }
        match fields.take("cid") {
            Some(json) => {
                self.cid = serde_json::from_str(&json).ok();
                fields.set("cid", json);
            }
            None => {
                if let Some(cid) = correlation.and_then(cid_of) {
                    fields.set_string("cid", &cid);
                    self.cid = Some(cid.into_owned());
                }
            }
        }
        Ok(fields)
    }
}

/// Returns the `cid` of correlation data: the text itself, or a digest of what is no text of that length.
fn cid_of(data: &Bytes) -> Option<Cow<'_, str>> {
    if data.is_empty() {
        return None;
    }
    let text = std::str::from_utf8(data)
        .ok()
        .filter(|text| ClientMessageId::is_valid(text));
    Some(text.map_or_else(
        || Cow::Owned(BASE64URL_NOPAD.encode(&Sha256::digest(data))),
        Cow::Borrowed,
    ))
}

#[cfg(test)]
mod tests {
    use protocol::ErrorCode;
    use serde_json::{Value, json};

    use super::*;

    fn read(topic: &str, payload: &[u8], correlation: Option<&'static [u8]>) -> PublishedCommand {
        let topic = PublishTopic::parse(topic).unwrap();
        let correlation = correlation.map(Bytes::from_static);
        PublishedCommand::read(&topic, payload, correlation.as_ref(), 7)
    }

    fn native(command: &PublishedCommand) -> Value {
        serde_json::from_str(&command.request.as_ref().unwrap().encode()).unwrap()
    }

    #[test]
    fn target_comes_from_the_topic_alone() {
        let command = read(
            "c/g_1/send",
            br#"{"c":"g_2","cid":"k1","id":5,"b":{"text":"hi"}}"#,
            None,
        );
        let expected = json!({"t": "send", "id": 7, "c": "g_1", "cid": "k1", "b": {"text": "hi"}});
        assert_eq!(native(&command), expected);
        assert_eq!((command.id, command.cid.as_deref()), (Some(5), Some("k1")));
        let command = read("u/bob/send", br#"{"c":"g_2","to":"eve","cid":"k1","b":{}}"#, None);
        let sent = native(&command);
        assert_eq!((&sent["to"], &sent["c"]), (&json!("bob"), &Value::Null));
        assert_eq!(native(&read("me/list", b"", None))["t"], "list");
    }

    #[test]
    fn cid_is_the_payloads_or_the_correlation_data() {
        let cid = |payload: &[u8], correlation| {
            let command = read("c/g_1/send", payload, correlation);
            command.cid.unwrap()
        };
        assert_eq!(cid(br#"{"cid":"k1","b":{}}"#, Some(b"k2")), "k1");
        assert_eq!(cid(br#"{"b":{}}"#, Some(b"k2")), "k2");
        let digest = cid(br#"{"b":{}}"#, Some(&[0xFF, 0]));
        assert_eq!(digest.len(), 43);
        assert_eq!(cid(br#"{"b":{}}"#, Some(&[b'x'; 65])).len(), 43);
        assert_ne!(digest, cid(br#"{"b":{}}"#, Some(&[0xFF, 1])));
    }

    #[test]
    fn command_without_a_cid_is_refused() {
        for (payload, correlation) in [
            (&br#"{"b":{}}"#[..], None),
            (br#"{"id":3,"b":{}}"#, None),
            (br#"{"b":{}}"#, Some(&b""[..])),
        ] {
            let refusal = read("c/g_1/send", payload, correlation).request.unwrap_err();
            assert_eq!((refusal.id, refusal.code), (Some(7), ErrorCode::BadRequest));
        }
    }

    #[test]
    fn malformed_payload_is_refused() {
        for payload in [
            &b"\xFF"[..],
            b"[]",
            b"{",
            b"hello",
            br#"{"id":"x","cid":"k","b":{}}"#,
        ] {
            let refusal = read("c/g_1/send", payload, None).request.unwrap_err();
            assert_eq!(refusal.code, ErrorCode::BadRequest, "{payload:?}");
        }
    }
}
