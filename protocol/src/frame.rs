//! What a client reads: an answer or an event.

use crate::answer::Answer;
use crate::codec::Head;
use crate::event::Event;

/// One text message from the server.
#[derive(Clone, PartialEq, Debug)]
pub enum Frame {
    /// An answer, with the `id` of its request if that had one.
    Answer {
        /// The request's number.
        id: Option<i64>,
        /// What is answered.
        answer: Answer,
    },
    /// An event.
    Event {
        /// The event's number in the session.
        n: u64,
        /// What happened.
        event: Event,
    },
    /// A `t` that this version doesn't know, to be ignored. Its number still counts.
    Unknown {
        /// The event's number, if it is an event.
        n: Option<u64>,
    },
}

// === impl Frame ===

impl Frame {
    /// Reads one text message. The error says what is wrong with it; a server of this version sends no such.
    pub fn decode(text: &str) -> Result<Frame, String> {
        let head = Head::read(text).map_err(|error| error.to_string())?;
        let tag = head.t.ok_or("t must be a string")?;
        let id = head.id?;
        // `ready` has an `n` too, and `conv` is both: an event is what has an `n` and an event's name.
        if let Some(n) = head.n
            && let Some(event) = Event::decode_as(&tag, text)
        {
            return Ok(Frame::Event {
                n,
                event: event.map_err(|error| error.to_string())?,
            });
        }
        match Answer::decode(&tag, text) {
            Some(answer) => Ok(Frame::Answer {
                id,
                answer: answer.map_err(|error| error.to_string())?,
            }),
            None => Ok(Frame::Unknown { n: head.n }),
        }
    }
}
