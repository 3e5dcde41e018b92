//! Member with an event stream (SSE): resumes by the id of the last event.

use std::net::SocketAddr;

use node::testkit::Stream;
use serde_json::Value;

pub(super) struct StreamMember {
    user: &'static str,
    stream: Option<Stream>,
    last_id: Option<String>,
}

// === impl StreamMember ===

impl StreamMember {
    pub(super) fn new(user: &'static str) -> StreamMember {
        StreamMember {
            user,
            stream: None,
            last_id: None,
        }
    }

    /// Opens the stream, and returns true if it continues behind the last event.
    pub(super) async fn connect(&mut self, addr: SocketAddr) -> bool {
        let mut stream = Stream::of(addr, self.user, self.last_id.as_deref()).await;
        let ready = stream.expect("ready").await;
        self.last_id = Some(ready.id);
        self.stream = Some(stream);
        ready.data["resumed"] == true
    }

    pub(super) async fn event(&mut self) -> Value {
        let stream = self.stream.as_mut().unwrap();
        let entry = stream.next().await.expect("the stream continues");
        if !entry.id.is_empty() {
            self.last_id = Some(entry.id);
        }
        entry.data
    }
}
