//! Answers of the session.

use bytes::{BufMut, BytesMut};
use protocol::ErrorCode;
use serde::Deserialize;

use super::{ConnectionPhase, MqttTranslator};
use crate::gateway::mqtt::connect_plan::refused_admission;
use crate::gateway::mqtt::packet::{OutgoingPublish, QualityOfService, ReasonCode};
use crate::gateway::mqtt::pending_request::{PendingPublish, PendingRequest};
use crate::gateway::mqtt::publish_queue::PublishOutcome;
use crate::gateway::mqtt::publish_topic::AnswerPolicy;
use crate::gateway::native_command::quoted;
use crate::gateway::response_head::ResponseHead;

/// Fields of an `err`.
#[derive(Debug, Deserialize)]
struct RefusedCommand {
    code: ErrorCode,
    #[serde(default)]
    msg: String,
}

/// Fields of an `ack` that an acknowledgement repeats.
#[derive(Debug, Deserialize)]
struct AcceptedCommand {
    c: Option<String>,
    s: Option<u64>,
    mn: Option<u64>,
    ts: Option<u64>,
    dup: Option<bool>,
}

/// Field of a `delta` that says whether pages follow.
#[derive(Debug, Deserialize)]
struct SyncedPage {
    next: Option<String>,
}

// === impl MqttTranslator: answers ===

impl MqttTranslator {
    /// Handles an answer of the session, a whole JSON object.
    pub(in crate::gateway::mqtt) fn on_answer(&mut self, body: &[u8], out: &mut BytesMut) {
        let Some(head) = ResponseHead::read(body) else {
            return;
        };
        let refused = (head.tag == "err").then(|| RefusedCommand::read(body));
        if let ConnectionPhase::Opening(refusal) = &mut self.phase {
            match (head.tag, refused) {
                ("ready", _) => self.on_ready(body, out),
                // The close code that follows decides; the words are those of the refusal.
                (_, Some(refused)) => *refusal = Some(refused_admission(refused.code, &refused.msg)),
                _ => {}
            }
            return;
        }
        // Without the acknowledgement, the client sends the message again over its next connection.
        if self.is_failed() {
            return;
        }
        match head.id.and_then(|id| Some((id, self.requests.remove(&id)?))) {
            Some((number, PendingRequest::Publish(pending))) => {
                self.on_command_answer(number, &pending, head, (body, refused), out);
            }
            Some((_, PendingRequest::Filters(pending))) => {
                let confirmation = match refused {
                    Some(refused) => Err(refused.code),
                    None => next_page(head.tag, body),
                };
                self.on_confirmation(pending, confirmation, out);
            }
            // Others belong to the connection, and its end follows.
            None => {}
        }
    }

    fn on_command_answer(
        &mut self,
        number: i64,
        pending: &PendingPublish,
        head: ResponseHead<'_>,
        (body, refused): (&[u8], Option<RefusedCommand>),
        out: &mut BytesMut,
    ) {
        if pending.is_acknowledged {
            if refused.as_ref().is_some_and(RefusedCommand::ends_connection) {
                return self.fail(ReasonCode::ServerBusy);
            }
            let outcome = match &refused {
                Some(refused) => refused.outcome(pending.reason),
                None if head.tag == "ack" => AcceptedCommand::outcome(body),
                None => success(),
            };
            self.queue.complete(number, outcome);
            self.reply(out);
        }
        let is_wanted = match pending.answer {
            AnswerPolicy::Answered => true,
            AnswerPolicy::Acknowledged => pending.is_acknowledged || refused.is_some(),
            AnswerPolicy::Silent => refused.is_some(),
        };
        if is_wanted {
            self.publish_answer(pending, head, out);
        }
    }

    /// Publishes an answer, if the client has subscribed to answers.
    fn publish_answer(&self, pending: &PendingPublish, head: ResponseHead<'_>, out: &mut BytesMut) {
        let Some(answers) = self.filters.answers() else {
            return;
        };
        let mut payload = BytesMut::new();
        head.write(&mut payload, pending.id);
        if let (Some(cid), "err") = (&pending.cid, head.tag) {
            // A refusal names its command: in 3.1.1 the client has nothing else to find it by.
            payload.truncate(payload.len().saturating_sub(1));
            payload.put_slice(b",\"cid\":");
            payload.put_slice(quoted(cid).as_bytes());
            payload.put_u8(b'}');
        }
        let message = OutgoingPublish {
            is_repeated: false,
            quality: QualityOfService::AtMostOnce,
            topic: ["u/", answers.name.text(&self.user), "/answers"],
            packet_id: 0,
            expiry: None,
            correlation_data: pending.correlation.as_deref(),
            payload: [&payload, b""],
        };
        if !self.packets.publish(out, &message) {
            tracing::debug!(
                bytes = payload.len(),
                "an answer is larger than the client accepts"
            );
        }
    }
}

/// Returns the cursor of the next page of a `delta`; `None` for its last page and for other answers.
fn next_page(tag: &str, body: &[u8]) -> Result<Option<String>, ErrorCode> {
    if tag != "delta" {
        return Ok(None);
    }
    let page = serde_json::from_slice::<SyncedPage>(body);
    page.map(|page| page.next).map_err(|_| ErrorCode::Internal)
}

fn success() -> PublishOutcome {
    PublishOutcome {
        reason: ReasonCode::Success,
        properties: Vec::new(),
    }
}

// === impl RefusedCommand, AcceptedCommand ===

impl RefusedCommand {
    /// Reads a refusal. One that cannot be read counts as a fault of the server.
    fn read(body: &[u8]) -> RefusedCommand {
        serde_json::from_slice(body).unwrap_or(RefusedCommand {
            code: ErrorCode::Internal,
            msg: String::new(),
        })
    }

    /// Returns true if the client shall send the message again, over another connection. Not after an internal error: the
    /// same message would fail the same way, without end.
    fn ends_connection(&self) -> bool {
        self.code.temporary() && self.code != ErrorCode::Internal
    }

    fn outcome(&self, reason: Option<ReasonCode>) -> PublishOutcome {
        let reason = reason.unwrap_or(match self.code {
            ErrorCode::Internal => ReasonCode::Unspecified,
            ErrorCode::BadRequest => ReasonCode::PayloadFormatInvalid,
            ErrorCode::NotMember
            | ErrorCode::Forbidden
            | ErrorCode::Unauthenticated
            | ErrorCode::TokenExpired => ReasonCode::NotAuthorized,
            _ => ReasonCode::ImplementationSpecific,
        });
        PublishOutcome {
            reason,
            properties: vec![("code", self.code.as_str().to_owned()), ("msg", self.msg.clone())],
        }
    }
}

impl AcceptedCommand {
    fn outcome(body: &[u8]) -> PublishOutcome {
        let Ok(accepted) = serde_json::from_slice::<AcceptedCommand>(body) else {
            return success();
        };
        let number = |name, value: Option<u64>| value.map(|value| (name, value.to_string()));
        let properties = [
            accepted.c.map(|c| ("c", c)),
            number("s", accepted.s),
            number("mn", accepted.mn),
            number("ts", accepted.ts),
            accepted.dup.map(|dup| ("dup", dup.to_string())),
        ];
        PublishOutcome {
            reason: ReasonCode::Success,
            properties: properties.into_iter().flatten().collect(),
        }
    }
}
