//! Connection of a client as a stream and a sink of messages, whatever carries them.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Sink, Stream};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::polling_socket::PollingSocket;

/// Open connection of a client.
pub(super) enum ClientSocket {
    /// Boxed: the other kind is small.
    WebSocket(Box<WebSocketStream<TcpStream>>),
    Polling(PollingSocket),
}

// === impl ClientSocket ===

impl ClientSocket {
    /// Ends the connection from the client's side. An error means that it has ended already.
    pub(super) async fn close(&mut self) {
        match self {
            ClientSocket::WebSocket(socket) => {
                let _over = socket.close(None).await;
            }
            ClientSocket::Polling(socket) => socket.close().await,
        }
    }
}

impl Stream for ClientSocket {
    type Item = Result<Message, WsError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.get_mut() {
            ClientSocket::WebSocket(socket) => Pin::new(socket).poll_next(cx),
            ClientSocket::Polling(socket) => Pin::new(socket).poll_next(cx),
        }
    }
}

impl Sink<Message> for ClientSocket {
    type Error = WsError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        match self.get_mut() {
            ClientSocket::WebSocket(socket) => Pin::new(socket).poll_ready(cx),
            // The queue takes every packet.
            ClientSocket::Polling(_) => Poll::Ready(Ok(())),
        }
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), WsError> {
        match self.get_mut() {
            ClientSocket::WebSocket(socket) => Pin::new(socket).start_send(message),
            ClientSocket::Polling(socket) => socket.send(message),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        match self.get_mut() {
            ClientSocket::WebSocket(socket) => Pin::new(socket).poll_flush(cx),
            // A task of its own posts the packets.
            ClientSocket::Polling(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        self.poll_flush(cx)
    }
}
