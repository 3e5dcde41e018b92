//! Answers of the fake cluster to reads, with its defects.

use rand::RngExt;
use serde_json::{Value, json};

use super::core::not_member;
use super::{Defect, FakeState};

impl FakeState {
    pub(super) fn may_read(&self, c: &str, user: &str) -> bool {
        self.members[c].contains(user) || self.defect == Defect::AnswersRemoved
    }

    /// Returns the log as visible to a read of kind `what`.
    pub(super) fn readable(&self, c: &str, what: &str) -> &[Value] {
        let log = &self.conversations[c];
        match self.defect {
            Defect::ReadsOld(old) if old == what && self.fuse == 0 => {
                &log[..log.len().saturating_sub(40).max(1)]
            }
            _ => log,
        }
    }

    /// Returns the response to a read of the newest messages over HTTP.
    pub(super) fn messages(&self, c: &str, user: &str) -> (u16, String) {
        if !self.may_read(c, user) {
            return (403, not_member(&Value::Null).to_string());
        }
        let log = self.readable(c, "messages").iter();
        let mut items: Vec<&Value> = log.rev().filter(|event| event["t"] == "msg").take(5).collect();
        items.reverse();
        (200, json!({"c":c,"items":items,"more":true}).to_string())
    }

    pub(super) fn list_members(&self, id: &Value, c: &str) -> Value {
        let items = self.members[c].iter().map(|user| {
            let log = self.readable(c, "members");
            let own = log
                .iter()
                .rev()
                .find(|event| event["t"] == "msg" && event["u"] == **user);
            let read = own.map_or(1, |event| event["s"].as_u64().unwrap());
            json!({"u":user,"role":"member","delivered":read,"read":read})
        });
        json!({"t":"members","id":id,"items":items.collect::<Vec<_>>(),"next":null})
    }

    pub(super) fn list(&mut self, id: &Value, user: &str) -> Value {
        let mine = self.members.iter().filter(|(_, members)| members.contains(user));
        let mut mine: Vec<String> = mine.map(|(c, _)| c.clone()).collect();
        // At random, so that an earlier list contained the conversation.
        if self.defect == Defect::LeavesOut && self.fuse == 0 && self.rng.random_bool(0.5) {
            mine.pop();
        }
        let mut items = Vec::new();
        for c in mine {
            let log = self.readable(&c, "list");
            let read = self.read.get(&(c.clone(), user.to_owned())).copied().unwrap_or(1);
            let unread = log
                .iter()
                .skip(read as usize)
                .filter(|event| event["t"] == "msg" && event["deleted"] != true)
                .count();
            let last = log.last().cloned();
            let unread = unread + usize::from(self.strikes(Defect::Miscounts));
            items
                .push(json!({"c":c,"kind":"group","last":last,"unread":unread,"read":read,"delivered":read}));
        }
        json!({"t":"inbox","id":id,"items":items,"next":null})
    }
}
