//! Answers of the session.

use bytes::{BufMut, BytesMut};
use protocol::ErrorCode;
use protocol::response::{HistoryResponse, LastEvent};
use serde::Deserialize;

use super::{CableTranslator, FrameSink, RequestPurpose, server_frame};
use crate::gateway::cable::stream_effect::PageEvent;
use crate::gateway::cable::subscription_table::SubscriptionKey;

/// Head of an answer, which begins with the tag and the number of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ResponseHead<'a> {
    tag: &'a str,
    id: Option<i64>,
    /// Everything behind tag and number, from a comma or the closing brace on.
    rest: &'a [u8],
}

/// Fields of a conversation that the gateway needs.
#[derive(Deserialize)]
struct OpenedConversation {
    last: LastEvent,
}

#[derive(Deserialize)]
struct RefusedRequest {
    code: ErrorCode,
}

#[derive(Deserialize)]
struct EventTime {
    s: u64,
    ts: u64,
}

// === impl CableTranslator: answers ===

impl CableTranslator {
    /// Handles an answer of the session, a whole JSON object.
    pub(in crate::gateway::cable) fn on_answer(&mut self, body: &[u8], sink: &mut impl FrameSink) {
        let Some(head) = ResponseHead::read(body) else {
            return;
        };
        let Some(id) = head.id else {
            // Others belong to the connection, and a disconnect follows that says the same.
            if head.tag == "ready" {
                self.on_ready(body, sink);
            }
            return;
        };
        match self.requests.take(id) {
            Some(RequestPurpose::Action { identifier, id }) => {
                sink.frame(|out| {
                    let start = out.len();
                    head.write(out, id);
                    let answer = out.split_off(start);
                    server_frame::message(out, &identifier, &answer);
                });
            }
            Some(RequestPurpose::Open(key)) => self.on_open_answer(key, head.tag, body, sink),
            Some(RequestPurpose::Page(key)) => self.on_page_answer(key, head.tag, body, sink),
            Some(RequestPurpose::Members(key)) => self.on_members_answer(key, head.tag, body, sink),
            Some(RequestPurpose::Watch(key)) => self.on_watch_answer(key, head.tag, sink),
            None => {}
        }
    }

    fn on_open_answer(&mut self, key: SubscriptionKey, tag: &str, body: &[u8], sink: &mut impl FrameSink) {
        let opened = serde_json::from_slice::<OpenedConversation>(body);
        let opened = opened.ok().filter(|_| tag == "conv").map(|opened| opened.last);
        if self.on_restore_answer(key, opened, sink) {
            return;
        }
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        let effects = match opened {
            Some(last) => subscription.stream.on_opened(last),
            None => match refusal(body) {
                // It comes into being with its first message, and only its two users have its name.
                ErrorCode::NotMember if subscription.is_direct => {
                    subscription.stream.on_opened(LastEvent::default())
                }
                code => subscription.stream.on_refused(code.temporary()),
            },
        };
        self.apply(key, effects, None, sink);
    }

    fn on_page_answer(&mut self, key: SubscriptionKey, tag: &str, body: &[u8], sink: &mut impl FrameSink) {
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        let page = serde_json::from_slice::<HistoryResponse>(body);
        let Some(page) = page.ok().filter(|_| tag == "hist") else {
            let effects = subscription.stream.on_page_refused(refusal(body).temporary());
            return self.apply(key, effects, None, sink);
        };
        let times: Option<Vec<PageEvent>> = page.events.iter().map(|event| time_of(event.as_str())).collect();
        let effects = match times {
            Some(times) => subscription.stream.on_page(&times, page.more, page.gap),
            // An event of a later version without a position: the client reads it by itself.
            None => subscription.stream.on_page_refused(true),
        };
        self.apply(key, effects, Some(&page), sink);
    }
}

fn time_of(event: &str) -> Option<PageEvent> {
    let EventTime { s, ts } = serde_json::from_str(event).ok()?;
    Some(PageEvent { seq: s, ts })
}

/// Returns the code of a refusal. An answer that cannot be read counts as a fault of the server.
fn refusal(body: &[u8]) -> ErrorCode {
    serde_json::from_slice::<RefusedRequest>(body).map_or(ErrorCode::Internal, |refused| refused.code)
}

// === impl ResponseHead ===

impl<'a> ResponseHead<'a> {
    fn read(body: &'a [u8]) -> Option<ResponseHead<'a>> {
        let behind = body.strip_prefix(br#"{"t":""#)?;
        let end = behind.iter().position(|byte| *byte == b'"')?;
        let tag = std::str::from_utf8(&behind[..end]).ok()?;
        let rest = &behind[end + 1..];
        let Some(number) = rest.strip_prefix(br#","id":"#) else {
            return Some(ResponseHead { tag, id: None, rest });
        };
        let end = number.iter().position(|byte| matches!(byte, b',' | b'}'))?;
        let id = std::str::from_utf8(&number[..end]).ok()?.parse().ok()?;
        Some(ResponseHead {
            tag,
            id: Some(id),
            rest: &number[end..],
        })
    }

    /// Appends the answer with another number, or without one.
    fn write(&self, out: &mut BytesMut, id: Option<i64>) {
        out.put_slice(br#"{"t":""#);
        out.put_slice(self.tag.as_bytes());
        out.put_u8(b'"');
        if let Some(id) = id {
            out.put_slice(br#","id":"#);
            out.put_slice(itoa::Buffer::new().format(id).as_bytes());
        }
        out.put_slice(self.rest);
    }
}
