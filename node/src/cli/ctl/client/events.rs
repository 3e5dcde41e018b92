//! Reader of server-sent events whose data are JSON.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::LARGEST;

/// Reader of a stream of events.
pub(in crate::cli::ctl) struct EventReader {
    body: Incoming,
    text: PartialEvents,
    /// Longest time between two pieces of the stream.
    patience: Duration,
}

/// Bytes of the stream that are no whole event yet.
#[derive(Default)]
struct PartialEvents(Vec<u8>);

// === impl EventReader ===

impl EventReader {
    pub(super) fn new(body: Incoming, patience: Duration) -> EventReader {
        EventReader {
            body,
            text: PartialEvents::default(),
            patience,
        }
    }

    /// Waits for the data of the next event; `None` at the end of the stream, after a long silence, or at data of another
    /// form.
    pub(in crate::cli::ctl) async fn next<T: DeserializeOwned>(&mut self) -> Option<T> {
        loop {
            if let Some(data) = self.text.take() {
                return serde_json::from_slice(&data).ok();
            }
            let frame = tokio::time::timeout(self.patience, self.body.frame()).await;
            let frame = frame.ok()??.ok()?;
            if let Ok(bytes) = frame.into_data() {
                self.text.0.extend_from_slice(&bytes);
            }
            if self.text.0.len() > LARGEST {
                return None;
            }
        }
    }
}

// === impl PartialEvents ===

impl PartialEvents {
    /// Removes the first whole event with data, and returns those.
    fn take(&mut self) -> Option<Vec<u8>> {
        loop {
            let end = self.0.windows(2).position(|pair| pair == b"\n\n")?;
            let event: Vec<u8> = self.0.drain(..end + 2).collect();
            let data = event
                .split(|byte| *byte == b'\n')
                .filter_map(|line| line.strip_prefix(b"data:"))
                .map(|data| data.strip_prefix(b" ").unwrap_or(data));
            let data = data.collect::<Vec<_>>().join(&b'\n');
            // Comments and names alone keep the connection open.
            if !data.is_empty() {
                return Some(data);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_from_pieces_of_any_size() {
        let stream = b": hello\n\nevent: overview\ndata: {\"node\":\ndata:1}\n\nevent: x\n\ndata: 2\n\nda";
        for size in [1, 3, stream.len()] {
            let mut text = PartialEvents::default();
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                text.0.extend_from_slice(piece);
                while let Some(data) = text.take() {
                    found.push(String::from_utf8(data).unwrap());
                }
            }
            assert_eq!(found, ["{\"node\":\n1}", "2"], "{size}");
            assert_eq!(text.0, b"da");
        }
    }
}
