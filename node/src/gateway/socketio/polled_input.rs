//! Packets of the client of an engine connection that polls, also after a WebSocket has replaced its requests.

use std::rc::Rc;

use protocol::CloseCode;
use tokio::sync::{Notify, mpsc};

use super::engine_entry::{InputCall, PostResult, SocketMessage};
use super::engine_packet::{self, EnginePacket, EnginePacketError};
use super::engine_reader::{EngineInput, EngineReader};
use crate::gateway::websocket::{Meter, ReadProgress, SessionOver};
use crate::session::ConnectionHandle;
use crate::session::messages::Disconnect;

/// Packets of the client.
pub(super) struct PolledInput<I> {
    pub(super) link: Rc<ConnectionHandle>,
    pub(super) reader: EngineReader<I>,
    pub(super) meter: Meter,
    /// Notified when a poll is lost.
    pub(super) lost: Rc<Notify>,
}

// === impl PolledInput ===

impl<I: EngineInput> PolledInput<I> {
    /// Accepts packets until the connection has ended.
    pub(super) async fn run(mut self, mut calls: mpsc::Receiver<InputCall>) {
        loop {
            let call = tokio::select! {
                call = calls.recv() => call,
                () = self.lost.notified() => Some(InputCall::Disconnect(Disconnect::Lost)),
                () = self.link.closing() => return,
            };
            self.link.on_received();
            let disconnect = match call {
                None => Disconnect::Lost,
                Some(InputCall::Disconnect(disconnect)) => disconnect,
                Some(InputCall::Post(post)) => {
                    let read = self.packets(engine_packet::packets(&post.payload)).await;
                    match read {
                        Ok(Ok(())) => {
                            post.answer(PostResult::Accepted);
                            continue;
                        }
                        // The client has ended the connection by a packet of this payload.
                        Err(SessionOver) => return post.answer(PostResult::Accepted),
                        Ok(Err(code)) => {
                            post.answer(PostResult::Refused);
                            Disconnect::Broken(code)
                        }
                    }
                }
                Some(InputCall::Packets(messages, accepted)) => {
                    match self.packets(messages.iter().map(SocketMessage::packet)).await {
                        Ok(Ok(())) => {
                            let _cancelled = accepted.send(());
                            continue;
                        }
                        Err(SessionOver) => return,
                        Ok(Err(code)) => Disconnect::Broken(code),
                    }
                }
            };
            return self.reader.disconnect(disconnect).await;
        }
    }

    /// Accepts the packets of a payload, or of the messages of a WebSocket.
    async fn packets<'a>(
        &mut self,
        packets: impl Iterator<Item = Result<EnginePacket<'a>, EnginePacketError>>,
    ) -> Result<Result<(), CloseCode>, SessionOver> {
        for packet in packets {
            let Ok(packet) = packet else {
                return Ok(Err(CloseCode::Protocol));
            };
            if let Err(code) = self.packet(&packet).await? {
                return Ok(Err(code));
            }
        }
        self.flush().await?;
        Ok(Ok(()))
    }

    /// Handles a packet, whose maximum size depends on those before it.
    async fn packet(&mut self, packet: &EnginePacket<'_>) -> Result<Result<(), CloseCode>, SessionOver> {
        let length = match packet {
            EnginePacket::Message(text) => text.len(),
            EnginePacket::Binary(bytes) => bytes.len(),
            _ => 0,
        };
        if length > self.reader.max_message() {
            self.flush().await?;
            if length > self.reader.max_message() {
                return Ok(Err(CloseCode::TooLarge));
            }
        }
        match self.reader.packet(packet, &mut self.meter) {
            Ok(ReadProgress::Continue) => Ok(Ok(())),
            // Nothing behind a close packet is executed.
            Ok(ReadProgress::Flush) => self.flush().await.map(Ok),
            Err(code) => Ok(Err(code)),
        }
    }

    async fn flush(&mut self) -> Result<(), SessionOver> {
        if self.reader.is_pending() {
            self.link.hold(true);
            self.reader.flush().await?;
            self.meter.wait(&self.link).await?;
            self.link.hold(false);
        }
        Ok(())
    }
}
