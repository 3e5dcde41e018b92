//! Frames of a client, `{"command","identifier","data"}` in JSON, of both subprotocols. Pure.
//!
//! Length and nesting are checked before a parser reads the text. `data` of a message is JSON in a string, and stays
//! one here. `join` and `leave` have no meaning: the members of a conversation and their identities are known.

use std::borrow::Cow;

use protocol::text;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::stream_history::StreamHistory;

/// Maximum bytes of an identifier.
pub(super) const IDENTIFIER_BYTES: usize = 1_024;

/// Frame of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CableFrame<'a> {
    Subscribe {
        identifier: Cow<'a, str>,
        /// History to be sent behind the confirmation.
        history: Option<StreamHistory>,
    },
    Unsubscribe {
        identifier: Cow<'a, str>,
    },
    /// Action of a channel.
    Message {
        identifier: Cow<'a, str>,
        /// Text of a JSON object with the action and its fields.
        data: Cow<'a, str>,
    },
    History {
        identifier: Cow<'a, str>,
        request: StreamHistory,
    },
    /// Transient notice to the other subscribers.
    Whisper {
        identifier: Cow<'a, str>,
        /// Text of a JSON value.
        data: &'a str,
    },
    /// Request for the members that are online.
    Presence {
        identifier: Cow<'a, str>,
    },
    /// Answer to a ping, or a presence notice: no reaction.
    Ignored,
}

/// Frame that has no meaning. The connection stays, as in Rails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CableFrameError {
    #[error("malformed frame: {0}")]
    Malformed(String),
    #[error("unknown command")]
    Unknown,
    #[error("the identifier is absent or longer than {} bytes", IDENTIFIER_BYTES)]
    Identifier,
    #[error("the data of the command is absent")]
    Data,
}

/// Fields of a frame, before their check.
#[derive(Deserialize)]
struct CableFields<'a> {
    #[serde(borrow)]
    command: Cow<'a, str>,
    #[serde(borrow, default)]
    identifier: Option<FieldText<'a>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    history: Option<&'a RawValue>,
}

/// String that is borrowed unless it has an escape.
#[derive(Deserialize)]
struct FieldText<'a>(#[serde(borrow)] Cow<'a, str>);

// === impl CableFrame ===

impl<'a> CableFrame<'a> {
    /// Reads a text message. The reader of the connection has bounded its length.
    ///
    /// # Errors
    /// The reason for which the frame is ignored.
    pub(super) fn parse(text: &'a str) -> Result<CableFrame<'a>, CableFrameError> {
        let malformed = |why: &dyn std::fmt::Display| CableFrameError::Malformed(why.to_string());
        text::scan(text).map_err(|flaw| malformed(&flaw))?;
        if !text.trim_start().starts_with('{') {
            return Err(malformed(&"a frame must be one JSON object"));
        }
        let fields: CableFields<'a> = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        let history = || fields.history.map(|json| StreamHistory::parse(json.get()));
        let identifier = fields.identifier.map(|FieldText(text)| text);
        let identifier = identifier.filter(|text| text.len() <= IDENTIFIER_BYTES);
        let identifier = identifier.ok_or(CableFrameError::Identifier);
        Ok(match &*fields.command {
            "subscribe" => CableFrame::Subscribe {
                identifier: identifier?,
                history: history(),
            },
            "unsubscribe" => CableFrame::Unsubscribe {
                identifier: identifier?,
            },
            "message" => {
                let data = fields.data.and_then(|json| serde_json::from_str(json.get()).ok());
                let FieldText(data) = data.ok_or(CableFrameError::Data)?;
                CableFrame::Message {
                    identifier: identifier?,
                    data,
                }
            }
            "history" => CableFrame::History {
                identifier: identifier?,
                request: history().unwrap_or_default(),
            },
            "whisper" => CableFrame::Whisper {
                identifier: identifier?,
                data: fields.data.ok_or(CableFrameError::Data)?.get(),
            },
            "presence" => CableFrame::Presence {
                identifier: identifier?,
            },
            "pong" | "join" | "leave" => CableFrame::Ignored,
            _ => return Err(CableFrameError::Unknown),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const IDENTIFIER: &str = r#"{"channel":"ChatChannel","c":"g_1"}"#;

    #[test]
    fn commands_of_both_protocols_are_read() {
        let parsed = |frame: serde_json::Value| format!("{:?}", CableFrame::parse(&frame.to_string()));
        let of = |command: &str| parsed(json!({"command": command, "identifier": IDENTIFIER, "data": "{}"}));
        for (command, variant) in [
            ("subscribe", "Ok(Subscribe"),
            ("unsubscribe", "Ok(Unsubscribe"),
            ("message", "Ok(Message"),
            ("history", "Ok(History"),
            ("whisper", "Ok(Whisper"),
            ("presence", "Ok(Presence"),
            ("join", "Ok(Ignored"),
            ("leave", "Ok(Ignored"),
            ("pong", "Ok(Ignored"),
            ("dance", "Err(Unknown"),
        ] {
            assert!(of(command).starts_with(variant), "{command}: {}", of(command));
        }
        assert_eq!(parsed(json!({"command": "pong"})), "Ok(Ignored)");
    }

    #[test]
    fn identifier_and_data_are_the_texts_inside_the_strings() {
        let text = json!({"command": "message", "identifier": IDENTIFIER, "data": r#"{"action":"send"}"#})
            .to_string();
        let CableFrame::Message { identifier, data } = CableFrame::parse(&text).unwrap() else {
            panic!("no message");
        };
        assert_eq!((&*identifier, &*data), (IDENTIFIER, r#"{"action":"send"}"#));
    }

    #[test]
    fn history_of_a_subscribe_is_read() {
        let text = json!({
            "command": "subscribe",
            "identifier": IDENTIFIER,
            "history": {"since": 5, "streams": {"g_1": {"epoch": "1", "offset": 7}}},
        });
        let text = text.to_string();
        let CableFrame::Subscribe { history, .. } = CableFrame::parse(&text).unwrap() else {
            panic!("no subscribe");
        };
        assert_eq!(history.unwrap().since, Some(5));
    }

    #[test]
    fn a_frame_without_what_it_needs_is_an_error() {
        let long = "x".repeat(IDENTIFIER_BYTES + 1);
        for (frame, error) in [
            (json!({"command": "subscribe"}), CableFrameError::Identifier),
            (
                json!({"command": "subscribe", "identifier": long}),
                CableFrameError::Identifier,
            ),
            (
                json!({"command": "message", "identifier": IDENTIFIER}),
                CableFrameError::Data,
            ),
            (
                json!({"command": "message", "identifier": IDENTIFIER, "data": {}}),
                CableFrameError::Data,
            ),
            (
                json!({"command": "whisper", "identifier": IDENTIFIER}),
                CableFrameError::Data,
            ),
            (
                json!({"command": "", "identifier": IDENTIFIER}),
                CableFrameError::Unknown,
            ),
        ] {
            assert_eq!(CableFrame::parse(&frame.to_string()), Err(error), "{frame}");
        }
        for text in [
            "",
            "[]",
            "1",
            "{",
            r#"{"command":7}"#,
            r#"{"identifier":"x"}"#,
            r#"["subscribe","x"]"#,
        ] {
            assert!(
                matches!(CableFrame::parse(text), Err(CableFrameError::Malformed(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn nesting_is_refused_before_a_tree_is_built() {
        let deep = format!(
            r#"{{"command":"whisper","identifier":"x","data":{}{}}}"#,
            "[".repeat(20_000),
            "]".repeat(20_000)
        );
        assert!(matches!(
            CableFrame::parse(&deep),
            Err(CableFrameError::Malformed(_))
        ));
    }

    proptest! {
        #[test]
        fn texts_pass_through_unchanged(identifier in "\\PC{0,80}", data in "\\PC{0,80}") {
            let text = json!({"command": "message", "identifier": &identifier, "data": &data}).to_string();
            prop_assert_eq!(
                CableFrame::parse(&text),
                Ok(CableFrame::Message { identifier: identifier.into(), data: data.into() })
            );
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            let _ignored = CableFrame::parse(&text);
        }
    }
}
