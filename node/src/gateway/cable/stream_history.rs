//! Requests for history of the extended protocol: `{"since":…,"streams":{id:{"epoch","offset"}}}`. Pure.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Epoch of all streams. A log lives as long as its conversation, so there is no other one.
pub(super) const EPOCH: &str = "1";
/// Maximum number of streams in a request; further ones are ignored.
const STREAMS: usize = 200;

/// Start of the history that a client lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamHistory {
    /// Unix time in seconds from which a stream without a position is sent.
    pub(super) since: Option<u64>,
    positions: HashMap<String, StreamPosition>,
}

/// Position of a client in one stream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct StreamPosition {
    #[serde(default)]
    epoch: String,
    offset: u64,
}

/// Start of the history of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HistoryStart {
    /// Behind this offset of the stream.
    Behind(u64),
    /// At the first event of this Unix time in seconds, or later.
    Since(u64),
    /// The client's position belongs to another epoch.
    Unknown,
    /// The client names no start: it lacks nothing.
    Nothing,
}

#[derive(Deserialize)]
struct HistoryFields<'a> {
    #[serde(borrow, default)]
    since: Option<&'a RawValue>,
    #[serde(borrow, default)]
    streams: HashMap<String, &'a RawValue>,
}

// === impl StreamHistory ===

impl StreamHistory {
    /// Reads the JSON text of a request. Malformed parts count as absent: the client asks by their absence for less.
    pub(super) fn parse(json: &str) -> StreamHistory {
        let Ok(fields) = serde_json::from_str::<HistoryFields<'_>>(json) else {
            return StreamHistory::default();
        };
        let positions = fields.streams.into_iter().take(STREAMS);
        let position = |json: &RawValue| {
            // A malformed position must not read as the start of the log: it is one of an unknown epoch.
            let unknown = StreamPosition {
                epoch: String::new(),
                offset: 0,
            };
            serde_json::from_str(json.get()).unwrap_or(unknown)
        };
        StreamHistory {
            // A client may say `false` for "no time".
            since: fields
                .since
                .and_then(|json| serde_json::from_str(json.get()).ok()),
            positions: positions.map(|(id, json)| (id, position(json))).collect(),
        }
    }

    /// Returns the start for the stream of a conversation. A position is exact, so it has precedence over a time.
    pub(super) fn start(&self, stream: &str) -> HistoryStart {
        match (self.positions.get(stream), self.since) {
            (Some(position), _) if position.epoch == EPOCH => HistoryStart::Behind(position.offset),
            (Some(_), _) => HistoryStart::Unknown,
            (None, Some(since)) => HistoryStart::Since(since),
            (None, None) => HistoryStart::Nothing,
        }
    }

    /// Returns true if the client names a position in any stream.
    pub(super) fn has_positions(&self) -> bool {
        !self.positions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_exact_and_precedes_a_time() {
        let request =
            StreamHistory::parse(r#"{"since":1700000000,"streams":{"g_1":{"epoch":"1","offset":7}}}"#);
        assert_eq!(request.start("g_1"), HistoryStart::Behind(7));
        assert_eq!(request.start("g_2"), HistoryStart::Since(1_700_000_000));
        assert!(request.has_positions());
    }

    #[test]
    fn a_position_of_another_epoch_is_unknown() {
        for streams in [
            r#"{"g_1":{"epoch":"2","offset":7}}"#,
            r#"{"g_1":{"offset":7}}"#,
            r#"{"g_1":{"epoch":"1","offset":-1}}"#,
            r#"{"g_1":7}"#,
        ] {
            let request = StreamHistory::parse(&format!("{{\"streams\":{streams}}}"));
            assert_eq!(request.start("g_1"), HistoryStart::Unknown, "{streams}");
        }
    }

    #[test]
    fn absent_or_malformed_parts_ask_for_nothing() {
        for json in [
            "{}",
            "null",
            "7",
            r#"{"since":false}"#,
            r#"{"since":null,"streams":{}}"#,
            r#"{"streams":[]}"#,
        ] {
            assert_eq!(
                StreamHistory::parse(json).start("g_1"),
                HistoryStart::Nothing,
                "{json}"
            );
        }
    }
}
