//! Reads of one conversation at one node, one after the other, as fast as they are answered, and judged in real time: one
//! that begins when somebody has got an event shows that event. Their sessions are beside the clients of the load, so
//! that a node is read from at any rate which believes that it still owns what others have taken over.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Common;
use crate::oracle::{ConvIx, Kind};
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
        // An event that any client has got was acknowledged by a majority: whoever answers from now on must know it.
        let floor = || common.world.borrow().oracle.reached(self.conv).0;
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
                    if let Some(reached) = reached(&answer).filter(|reached| *reached < floor) {
                        self.stale(common, kind, reached, floor);
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

    fn stale(&self, common: &Common, kind: &str, reached: u64, floor: u64) {
        let detail = format!(
            "{kind:?} at {} shows s={reached}, and somebody had got s={floor} before it was asked",
            self.node
        );
        let oracle = &mut common.world.borrow_mut().oracle;
        oracle.violate(
            Kind::StaleRead,
            Some(self.conv),
            Some(self.member),
            reached,
            detail,
        );
    }
}
