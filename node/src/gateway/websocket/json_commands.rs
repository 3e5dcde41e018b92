//! Native protocol of a WebSocket: each text message is one command in JSON.
//!
//! The commands of one read are sent to the session as a batch. Before authentication, messages are limited to a small
//! size.

use std::time::Instant;

use protocol::{ClientCommand, CloseCode, Request};

use super::frame_guard::{FrameViolation, MessageKinds};
use super::handler::{MessageHandler, ReadProgress, SessionOver, WebSocketMessage};
use super::meter::Meter;
use crate::config::Config;
use crate::session::SessionHandle;
use crate::session::messages::{Disconnect, ReceivedCommand};

/// Maximum bytes of a message before authentication: the longest token and the other fields of `auth`.
const BEFORE_AUTH: usize = 12_288;

/// Commands of one client, on their way to its session.
pub(super) struct JsonCommands {
    session: SessionHandle,
    max: usize,
    batch: Vec<ReceivedCommand>,
}

// === impl JsonCommands ===

impl JsonCommands {
    pub(super) fn new(session: SessionHandle, config: &Config) -> JsonCommands {
        JsonCommands {
            session,
            max: config.max_frame(),
            batch: Vec::new(),
        }
    }

    fn is_identified(&self) -> bool {
        self.session.connection().is_identified()
    }
}

impl MessageHandler for JsonCommands {
    const KINDS: MessageKinds = MessageKinds::Text;

    fn max_message(&self) -> usize {
        if self.is_identified() {
            self.max
        } else {
            self.max.min(BEFORE_AUTH)
        }
    }

    fn message(
        &mut self,
        message: WebSocketMessage<'_>,
        meter: &mut Meter,
    ) -> Result<ReadProgress, CloseCode> {
        let WebSocketMessage::Text(text) = message else {
            return Err(CloseCode::Binary);
        };
        let now = Instant::now();
        let request = match Request::decode(text) {
            Ok(None) => {
                let ignored = meter.ignored(text.len(), now);
                return ignored
                    .map(|()| ReadProgress::Continue)
                    .map_err(FrameViolation::close_code);
            }
            Ok(Some(request)) => Ok(request),
            Err(error) => Err(error),
        };
        meter.message(text.len(), now);
        let command = ReceivedCommand {
            request,
            bytes: text.len(),
        };
        // The outcome of an `auth` changes the limits for the rest.
        let progress = if !self.is_identified() && is_auth(&command) {
            ReadProgress::Flush
        } else {
            ReadProgress::Continue
        };
        self.batch.push(command);
        Ok(progress)
    }

    fn is_pending(&self) -> bool {
        !self.batch.is_empty()
    }

    async fn flush(&mut self) -> Result<(), SessionOver> {
        let batch = std::mem::take(&mut self.batch);
        self.session.dispatch(batch).await.map_err(|_| SessionOver)
    }

    async fn end(self, disconnect: Disconnect) {
        self.session.disconnect(disconnect).await;
    }
}

fn is_auth(item: &ReceivedCommand) -> bool {
    matches!(
        &item.request,
        Ok(Request {
            command: ClientCommand::Auth(_),
            ..
        })
    )
}
