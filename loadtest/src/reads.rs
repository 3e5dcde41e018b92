//! Reads of one conversation at one node, one after the other, as fast as they are answered, and judged in real time: one
//! that begins when somebody has got an event shows that event. Their sessions are beside the clients of the load, so
//! that a node is read from at any rate which believes that it still owns what others have taken over.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Common;
use crate::oracle::ConvIx;
use crate::payload::ClientIx;
use crate::session::{Login, Session};

/// Who reads what where.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    /// host:port.
    pub(crate) node: String,
    pub(crate) conversation: String,
    pub(crate) conv: ConvIx,
    /// A member, whose name the reader has.
    pub(crate) member: ClientIx,
    /// Tells the readers of one member apart.
    pub(crate) device: String,
    /// Between the answer to a read and the next one.
    pub(crate) pause: Duration,
}

/// What it is, how it is asked, and how far its answer reaches.
type Question = (&'static str, Value, fn(&Value) -> Option<u64>);

// === impl Reader ===

impl Reader {
    /// Reads until it is dropped. `answered` counts.
    pub(crate) async fn run(&self, common: &Common, answered: &Cell<u64>) -> Infallible {
        let user = common.world.borrow().payload.user(self.member);
        let token = common.token.replace("{user}", &user);
        let login = Login {
            node: &self.node,
            token: &token,
            device: &self.device,
            resume: None,
        };
        loop {
            if let Ok(mut session) = Session::open(login).await {
                while self.read(&mut session, common, answered).await.is_ok() {
                    // Events of the conversation come too, and nobody wants them here.
                    session.forget_events();
                    tokio::time::sleep(self.pause).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// One read of each kind. An error ends the session; a refusal is an answer that promises nothing.
    async fn read(&self, session: &mut Session, common: &Common, answered: &Cell<u64>) -> Result<(), ()> {
        let c = &self.conversation;
        // What was acknowledged to anybody, and what any client has got, is on a majority: whoever answers from now on
        // must know it.
        let floor = || {
            let oracle = &common.world.borrow().oracle;
            oracle.since(self.conv).event.max(oracle.reached(self.conv).0)
        };
        let known = floor();
        let questions: [Question; 3] = [
            ("open", json!({"t": "open", "c": c}), |answer| {
                answer["last"]["s"].as_u64()
            }),
            ("hist", json!({"t": "hist", "c": c, "limit": 1}), |answer| {
                answer["events"].as_array()?.last()?["s"].as_u64()
            }),
            ("sync", json!({"t": "sync", "have": [[c, known]]}), |answer| {
                let of = answer["as_of"].as_array()?.first()?;
                of[1].as_u64()
            }),
        ];
        for (kind, question, reached) in questions {
            let floor = floor();
            match session.ask(&question).await {
                Ok(answer) => {
                    answered.set(answered.get() + 1);
                    // A `sync` leaves out what its owner could not be asked for.
                    if let Some(reached) = reached(&answer) {
                        let read = format!("{kind:?} at {}", self.node);
                        let oracle = &mut common.world.borrow_mut().oracle;
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
    use crate::fake::{Defect, Fake};
    use crate::oracle::Kind;
    use crate::tests::common;

    /// Reads a conversation of sixty messages, until something is broken or enough was answered.
    fn kinds(defect: Defect) -> Vec<Kind> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let fake = Fake::start(1, 5, false, defect).await;
            let common = common(&fake, 0);
            let user = common.world.borrow().payload.user(0);
            let token = format!("dev:{user}");
            let mut session = Session::open(Login {
                node: &fake.nodes[0],
                token: &token,
                device: "d",
                resume: None,
            })
            .await
            .unwrap();
            let create = json!({"t": "create", "kind": "group", "cid": "x", "members": []});
            let made = session.ask(&create).await.unwrap();
            let c = made["c"].as_str().unwrap();
            let conv = common.world.borrow_mut().oracle.conversation(c);
            for number in 0..60 {
                let cid = number.to_string();
                let send = json!({"t": "send", "c": c, "cid": cid, "b": {"text": "hi"}});
                let s = session.ask(&send).await.unwrap()["s"].as_u64().unwrap();
                common.world.borrow_mut().oracle.membership_acked(conv, s);
            }
            let reader = Reader {
                node: fake.nodes[0].clone(),
                conversation: c.to_owned(),
                conv,
                member: 0,
                device: "reader".to_owned(),
                pause: Duration::ZERO,
            };
            let answered = Cell::new(0);
            let enough = async {
                while answered.get() < 30 && common.world.borrow().oracle.violations().is_empty() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::select! {
                never = reader.run(&common, &answered) => match never {},
                () = enough => {}
            }
            let world = common.world.borrow();
            world
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
                Some(&Kind::StaleRead),
                "{read}"
            );
        }
    }
}
