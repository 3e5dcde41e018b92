//! Member with long polling: each poll names the last event.

use std::collections::VecDeque;
use std::net::SocketAddr;

use node::testkit::{ask, exchange, within};
use serde_json::Value;

pub(super) struct PollMember {
    user: &'static str,
    addr: Option<SocketAddr>,
    sid: String,
    n: u64,
    events: VecDeque<Value>,
}

// === impl PollMember ===

impl PollMember {
    pub(super) fn new(user: &'static str) -> PollMember {
        PollMember {
            user,
            addr: None,
            sid: String::new(),
            n: 0,
            events: VecDeque::new(),
        }
    }

    /// Polls for the first time at a node, and returns true if the session continues.
    pub(super) async fn connect(&mut self, addr: SocketAddr) -> bool {
        self.addr = Some(addr);
        let path = self.path(0);
        let (status, batch) = ask(addr, self.user, ("GET", &path, ""), Value::Null).await;
        assert_eq!(status, 200, "{batch}");
        let resumed = batch["resumed"] == true;
        if !resumed {
            self.n = 0;
        }
        self.take(&batch);
        resumed
    }

    pub(super) async fn event(&mut self) -> Value {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            let headers = format!("Authorization: Bearer dev:{}\r\n", self.user);
            let path = self.path(5);
            let poll = exchange(self.addr.unwrap(), "GET", &path, &headers, &Value::Null);
            let (status, batch) = within("a poll ends", poll).await.expect("the node responds");
            assert_eq!((status, &batch["resumed"]), (200, &Value::Bool(true)), "{batch}");
            self.take(&batch);
        }
    }

    fn path(&self, wait: u64) -> String {
        match self.sid.as_str() {
            "" => "/v1/poll?device=tablet".to_owned(),
            sid => format!("/v1/poll?device=tablet&sid={sid}&after={}&wait={wait}", self.n),
        }
    }

    fn take(&mut self, batch: &Value) {
        batch["sid"].as_str().unwrap().clone_into(&mut self.sid);
        for event in batch["events"].as_array().unwrap() {
            let n = event["n"].as_u64().unwrap();
            assert_eq!(n, self.n + 1, "{}: {event}", self.user);
            self.n = n;
            self.events.push_back(event.clone());
        }
    }
}
