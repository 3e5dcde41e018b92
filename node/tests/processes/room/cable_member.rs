//! Member with the extended protocol of ActionCable: continues its session, and reads the history of each channel behind
//! the last offset.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use node::testkit::cable::{Cable, EXTENDED, chat};
use serde_json::{Value, json};

pub(super) struct CableMember {
    user: &'static str,
    cable: Option<Cable>,
    sid: Option<String>,
    /// Channels by conversation.
    channels: BTreeMap<String, MemberChannel>,
}

struct MemberChannel {
    offset: u64,
    is_confirmed: bool,
}

// === impl CableMember ===

impl CableMember {
    pub(super) fn new(user: &'static str, conversations: &[&str]) -> CableMember {
        let channel = |c: &&str| {
            let channel = MemberChannel {
                offset: 0,
                is_confirmed: false,
            };
            ((*c).to_owned(), channel)
        };
        CableMember {
            user,
            cable: None,
            sid: None,
            channels: conversations.iter().map(channel).collect(),
        }
    }

    /// Connects, and asks for what is missing: it comes as events, so that nothing is missing in the end.
    pub(super) async fn connect(&mut self, addr: SocketAddr) -> bool {
        let sid = self
            .sid
            .take()
            .map_or_else(String::new, |sid| format!("&sid={sid}"));
        let (token, query) = (
            format!("anycable-token.dev.{}", self.user),
            format!("?device=app&instance=one{sid}"),
        );
        let mut cable = Cable::open(addr, EXTENDED, &token, &query).await;
        let welcome = cable.next().await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        self.sid = welcome["sid"].as_str().map(str::to_owned);
        let restored = welcome["restored_ids"].as_array().cloned().unwrap_or_default();
        for (c, channel) in &mut self.channels {
            channel.is_confirmed = restored.contains(&json!(chat(c)));
        }
        self.cable = Some(cable);
        let channels: Vec<String> = self.channels.keys().cloned().collect();
        for c in channels {
            self.request(&c).await;
        }
        true
    }

    pub(super) async fn event(&mut self) -> Value {
        loop {
            let frame = self.cable.as_mut().unwrap().client.json().await;
            let identifier = frame["identifier"].as_str().unwrap_or_default();
            let c = self.channels.keys().find(|c| chat(c) == identifier).cloned();
            match (frame["type"].as_str(), c) {
                // While a shard has no owner, a request has no answer.
                (Some("ping"), _) => {
                    let unconfirmed = self.channels.iter().filter(|(_, channel)| !channel.is_confirmed);
                    let unconfirmed: Vec<String> = unconfirmed.map(|(c, _)| c.clone()).collect();
                    for c in unconfirmed {
                        self.request(&c).await;
                    }
                }
                (Some("confirm_subscription"), Some(c)) => {
                    self.channels.get_mut(&c).unwrap().is_confirmed = true;
                }
                (Some("confirm_history"), Some(_)) => {}
                // The end of the subscription of a removed member.
                (Some("reject_subscription"), Some(c)) => drop(self.channels.remove(&c)),
                (None, Some(c)) => {
                    if let Some(offset) = frame["offset"].as_u64() {
                        self.channels.get_mut(&c).unwrap().offset = offset;
                    }
                    return frame["message"].clone();
                }
                _ => panic!("{}: {frame}", self.user),
            }
        }
    }

    /// Requests the history of a channel, with its subscription unless that was continued.
    async fn request(&mut self, c: &str) {
        let channel = &self.channels[c];
        let command = if channel.is_confirmed {
            "history"
        } else {
            "subscribe"
        };
        let history = json!({"streams": {c: {"epoch": "1", "offset": channel.offset}}});
        let fields = json!({ "history": history });
        self.cable
            .as_mut()
            .unwrap()
            .command(command, &chat(c), fields)
            .await;
    }
}
