//! Continuous reads of one conversation at one node, judged in real time: a read that starts after any client has
//! received an event must return that event.
//!
//! The sessions are separate from the clients of the load. They can therefore read at any rate from a node that still
//! serves a shard after a takeover by others.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::Duration;

use protocol::{ClientCommand, ConversationId};
use serde_json::Value;

use crate::measure::SharedContext;
use crate::oracle::ConvIx;
use crate::payload::ClientIx;
use crate::session::{ClientLogin, ClientSession};
use crate::wire;

/// Parameters of a reader.
#[derive(Clone, Debug)]
pub(crate) struct RestReader {
    /// Address of the node, host:port.
    pub(crate) node: String,
    pub(crate) conversation: ConversationId,
    pub(crate) conv: ConvIx,
    /// Member whose user the reader authenticates as.
    pub(crate) member: ClientIx,
    /// Distinguishes the readers of one member.
    pub(crate) device: String,
    /// Pause between a response and the next read.
    pub(crate) pause: Duration,
}

/// Name of a read, its command, and the function that extracts the reached seq from the response.
type ReadQuery = (&'static str, ClientCommand, fn(&Value) -> Option<u64>);

// === impl RestReader ===

impl RestReader {
    /// Reads until it is dropped. `token` is the template of the user's token; `answered` counts the responses.
    pub(crate) async fn run(&self, context: &SharedContext, token: &str, answered: &Cell<u64>) -> Infallible {
        let user = context.borrow().payload.user(self.member);
        let token = token.replace("{user}", &user);
        let login = ClientLogin {
            node: &self.node,
            token: &token,
            device: &self.device,
            resume: None,
        };
        loop {
            if let Ok(mut session) = ClientSession::open(login).await {
                while self.read(&mut session, context, answered).await.is_ok() {
                    // Events of the conversation arrive as well, and would accumulate.
                    session.forget_events();
                    tokio::time::sleep(self.pause).await;
                }
            }
            // Also after a failed connect, which must not become a busy loop.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Sends one read of each kind. An error ends the session. A refusal promises nothing and is skipped.
    async fn read(
        &self,
        session: &mut ClientSession,
        context: &SharedContext,
        answered: &Cell<u64>,
    ) -> Result<(), ()> {
        let c = &self.conversation;
        // Everything acknowledged to a client, or received by one, is on a majority. Every later response must contain
        // it.
        let floor = || {
            let oracle = &context.borrow().oracle;
            oracle.since(self.conv).event.max(oracle.reached(self.conv).0)
        };
        let known = floor();
        let questions: [ReadQuery; 3] = [
            ("open", wire::open(c), |answer| answer["last"]["s"].as_u64()),
            ("hist", wire::newest(c, 1), |answer| {
                answer["events"].as_array()?.last()?["s"].as_u64()
            }),
            ("sync", wire::sync(vec![(c.clone(), known)], None), |answer| {
                let of = answer["as_of"].as_array()?.first()?;
                of[1].as_u64()
            }),
        ];
        for (kind, question, reached) in questions {
            // Read anew immediately before each read: the strictest bound that must hold.
            let floor = floor();
            match session.ask(&question).await {
                Ok(answer) => {
                    answered.set(answered.get() + 1);
                    // A `sync` omits the conversation if its shard owner did not answer.
                    if let Some(reached) = reached(&answer) {
                        let read = format!("{kind:?} at {}", self.node);
                        let oracle = &mut context.borrow_mut().oracle;
                        oracle.read_reached(self.conv, self.member, &read, reached, floor);
                    }
                }
                Err(crate::session::Error::Refused { .. }) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(_) => return Err(()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    use protocol::ConversationKind;

    use crate::clock::RunClock;
    use crate::fake_server::{Defect, FakeServer};
    use crate::measure::RunContext;
    use crate::oracle::ViolationKind;

    /// Reads a conversation of sixty messages until a violation, or until enough reads were answered.
    fn kinds(defect: Defect) -> Vec<ViolationKind> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let fake = FakeServer::start(1, 5, false, defect).await;
            let context = Rc::new(RefCell::new(RunContext::new(RunClock::start(), 0xfa4e, 120)));
            let user = context.borrow().payload.user(0);
            let token = format!("dev:{user}");
            let mut session = ClientSession::open(ClientLogin {
                node: &fake.nodes[0],
                token: &token,
                device: "d",
                resume: None,
            })
            .await
            .unwrap();
            let create = wire::create(ConversationKind::Group, "x", Vec::new());
            let made = session.ask(&create).await.unwrap();
            let c = ConversationId::parse(made["c"].as_str().unwrap()).unwrap();
            let conv = context.borrow_mut().oracle.conversation(c.as_str());
            for number in 0..60 {
                let cid = wire::message_id(&number.to_string());
                let send = wire::send(&c, cid, r#"{"text":"hi"}"#.to_owned());
                let s = session.ask(&send).await.unwrap()["s"].as_u64().unwrap();
                context.borrow_mut().oracle.membership_acked(conv, s);
            }
            let reader = RestReader {
                node: fake.nodes[0].clone(),
                conversation: c,
                conv,
                member: 0,
                device: "reader".to_owned(),
                pause: Duration::ZERO,
            };
            let answered = Cell::new(0);
            let enough = async {
                while answered.get() < 30 && context.borrow().oracle.violations().is_empty() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::select! {
                never = reader.run(&context, "dev:{user}", &answered) => match never {},
                () = enough => {}
            }
            let context = context.borrow();
            context
                .oracle
                .violations()
                .iter()
                .map(|violation| violation.kind)
                .collect()
        })
    }

    #[test]
    fn a_read_from_before_what_was_acknowledged_is_caught_at_once() {
        assert_eq!(kinds(Defect::None), []);
        for read in ["open", "hist"] {
            assert_eq!(
                kinds(Defect::ReadsOld(read)).first(),
                Some(&ViolationKind::StaleRead),
                "{read}"
            );
        }
    }
}
