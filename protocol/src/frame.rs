//! Server frames as a client decodes them: a response or an event.

use crate::codec::FrameHead;
use crate::event::Event;
use crate::response::Response;

/// One text message from the server.
#[derive(Clone, PartialEq, Debug)]
pub enum ServerFrame {
    /// A response, with the `id` of its request if it had one.
    Response {
        /// Number of the request; `None` if it had none.
        id: Option<i64>,
        /// The response to the request.
        response: Response,
    },
    /// An event pushed to the session.
    Event {
        /// Number of the event in the session.
        session_seq: u64,
        /// The event that was pushed.
        event: Event,
    },
    /// A frame with a `t` of a later version, to be ignored. Its event number still counts.
    Unknown {
        /// Number of the event; `None` if the frame has none.
        session_seq: Option<u64>,
    },
}

// === impl ServerFrame ===

impl ServerFrame {
    /// Decodes one text message. The error describes the defect; a server of this version sends no defective frame.
    pub fn decode(text: &str) -> Result<ServerFrame, String> {
        let head = FrameHead::read(text).map_err(|error| error.to_string())?;
        let tag = head.tag.ok_or("t must be a string")?;
        let id = head.id?;
        // `ready` has an `n` as well, and `conv` is a response and an event: only `n` and the tag together mark an
        // event.
        if let Some(session_seq) = head.session_seq
            && let Some(event) = Event::read(&tag, text)
        {
            return Ok(ServerFrame::Event {
                session_seq,
                event: event.map_err(|error| error.to_string())?,
            });
        }
        match Response::read(&tag, text) {
            Some(response) => Ok(ServerFrame::Response {
                id,
                response: response.map_err(|error| error.to_string())?,
            }),
            None => Ok(ServerFrame::Unknown {
                session_seq: head.session_seq,
            }),
        }
    }
}
