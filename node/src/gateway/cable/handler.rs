//! Messages of the client: each text message is one frame.

use std::rc::Rc;
use std::time::Instant;

use protocol::CloseCode;

use super::client_frame::CableFrame;
use super::connection::CableConnection;
use super::translator::FrameWeight;
use crate::gateway::websocket::{
    MessageHandler, MessageKinds, Meter, ReadProgress, SessionOver, WebSocketMessage,
};
use crate::session::messages::Disconnect;
use crate::session::{SessionHandle, WorkerContext};
use crate::telemetry::metrics::{GatewayLabels, ServerMetrics};

/// Name of this gateway in the metrics.
const LABELS: GatewayLabels = GatewayLabels { gateway: "cable" };

/// Frames of one client, on their way to its session.
pub(super) struct CableCommands {
    connection: Rc<CableConnection>,
    session: SessionHandle,
    metrics: ServerMetrics,
    max: usize,
    /// Frame that came before the client was welcomed.
    early: Option<String>,
    /// True once a frame has come behind the welcome: the client has the id of the session.
    has_session_id: bool,
}

// === impl CableCommands ===

impl CableCommands {
    pub(super) fn new(
        connection: Rc<CableConnection>,
        session: SessionHandle,
        worker: &WorkerContext,
    ) -> CableCommands {
        let metrics = worker.metrics.clone();
        metrics.gateway_connections.get_or_create(&LABELS).inc();
        CableCommands {
            connection,
            session,
            metrics,
            max: worker.config.max_frame(),
            early: None,
            has_session_id: false,
        }
    }

    fn frame(&self, text: &str) -> FrameWeight {
        let frame = match CableFrame::parse(text) {
            Ok(frame) => frame,
            // As in Rails, the connection stays.
            Err(error) => {
                tracing::debug!(%error, "ignored a frame");
                self.metrics.gateway_frames_ignored.get_or_create(&LABELS).inc();
                return FrameWeight::Ignored;
            }
        };
        let translated = self
            .connection
            .translate_queued(|translator, sink| translator.on_frame(frame, text.len(), sink));
        translated.unwrap_or(FrameWeight::Ignored)
    }

    async fn send_requests(&self) -> Result<(), SessionOver> {
        let requests = self.connection.take_requests();
        if requests.is_empty() {
            return Ok(());
        }
        // A client that the welcome does not reach comes back with the id of the session that this one resumed.
        let sent = if self.has_session_id {
            self.session.dispatch(requests).await
        } else {
            self.session.dispatch_early(requests).await
        };
        sent.map_err(|_| SessionOver)
    }
}

impl Drop for CableCommands {
    fn drop(&mut self) {
        self.metrics.gateway_connections.get_or_create(&LABELS).dec();
    }
}

impl MessageHandler for CableCommands {
    const KINDS: MessageKinds = MessageKinds::Text;

    fn max_message(&self) -> usize {
        self.max
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
        if !self.connection.is_welcomed() {
            // Clients subscribe as soon as the socket is open.
            meter.message(text.len(), now);
            self.early = Some(text.to_owned());
            return Ok(ReadProgress::Flush);
        }
        if !self.has_session_id {
            self.has_session_id = true;
            // Many frames, such as those about a history without events, make no request that would show it.
            self.session.confirm(0);
        }
        match self.frame(text) {
            FrameWeight::Request => meter.message(text.len(), now),
            FrameWeight::Ignored => meter
                .ignored(text.len(), now)
                .map_err(|violation| violation.close_code())?,
        }
        Ok(ReadProgress::Continue)
    }

    fn is_pending(&self) -> bool {
        self.early.is_some()
            || !self.connection.is_welcomed()
            || self.connection.has_requests()
            || self.session.connection().outbox(|outbox| outbox.behind())
    }

    async fn flush(&mut self) -> Result<(), SessionOver> {
        self.send_requests().await?;
        while !self.connection.is_welcomed() {
            tokio::select! {
                () = self.connection.changed() => {}
                () = self.session.connection().closing() => return Err(SessionOver),
            }
            self.send_requests().await?;
        }
        if let Some(text) = self.early.take() {
            self.frame(&text);
            self.send_requests().await?;
        }
        // Frames without a request have no other limit: their answers wait until the client reads.
        tokio::select! {
            () = self.session.connection().room() => Ok(()),
            () = self.session.connection().closing() => Err(SessionOver),
        }
    }

    async fn requested(&self) {
        self.connection.changed().await;
    }

    async fn end(self, disconnect: Disconnect) {
        if matches!(disconnect, Disconnect::CloseFrame(_)) {
            self.connection.on_close_frame();
        }
        self.session.disconnect(disconnect).await;
    }
}
