//! A client: sends one message at a time, by any member, again with the same id until it is acknowledged; another
//! reads.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use cluster::ShardId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use crate::machine::{Append, AppendAck, OLD_KIND};
use crate::member::{Member, READ, SUBMIT};

/// What one client was told about one message.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) append: Append,
    pub(crate) invoked: Instant,
    /// When and where, if it was acknowledged.
    pub(crate) acked: Option<(Instant, AppendAck)>,
}

/// What one client read.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) conversation: u16,
    pub(crate) invoked: Instant,
    /// Number of the last message.
    pub(crate) last: u64,
}

pub(crate) type History = Rc<RefCell<Vec<Record>>>;
pub(crate) type Reads = Rc<RefCell<Vec<Read>>>;

/// Conversations that all clients share.
pub(crate) const CONVERSATIONS: u16 = 6;
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_millis(700);

/// Sends until `until`; a message under way then stays without an ack.
pub(crate) async fn run(seed: u64, client: u16, members: Rc<Vec<Member>>, history: History, until: Instant) {
    let mut random = StdRng::seed_from_u64(seed ^ (u64::from(client) << 32));
    for id in 0.. {
        let append = Append {
            conversation: random.random_range(0..CONVERSATIONS),
            client,
            id,
            kind: OLD_KIND,
        };
        let position = {
            let mut history = history.borrow_mut();
            history.push(Record {
                append: append.clone(),
                invoked: Instant::now(),
                acked: None,
            });
            history.len() - 1
        };
        let sent = send_until_acked(&members, &append, &mut random);
        let Ok(ack) = tokio::time::timeout_at(until, sent).await else {
            return;
        };
        history.borrow_mut()[position].acked = Some((Instant::now(), ack));
        tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
    }
}

/// Goes from member to member until one acknowledges.
pub(crate) async fn send_until_acked(members: &[Member], append: &Append, random: &mut StdRng) -> AppendAck {
    loop {
        let member = &members[random.random_range(0..members.len())];
        if let Some(ack) = attempt(member, append).await {
            return ack;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(5..100))).await;
    }
}

async fn attempt(member: &Member, append: &Append) -> Option<AppendAck> {
    let command = postcard::to_stdvec(append).unwrap();
    let answer = ask(member, append.conversation, SUBMIT, &command).await?;
    Some(postcard::from_bytes(&answer).unwrap())
}

/// Asks the owner of a conversation, as far as the member knows who that is.
async fn ask(member: &Member, conversation: u16, method: u16, question: &[u8]) -> Option<Bytes> {
    let cluster = member.running()?;
    let shard: ShardId = cluster.shard_of(&conversation.to_be_bytes());
    let owner = cluster.route(shard).owner?;
    let mut body = BytesMut::new();
    body.put_u16(shard.0);
    body.put_slice(question);
    cluster.call(owner, method, body.freeze(), ATTEMPT).await.ok()
}

/// Reads until `until`.
pub(crate) async fn read(seed: u64, members: Rc<Vec<Member>>, reads: Reads, until: Instant) {
    let mut random = StdRng::seed_from_u64(!seed);
    while Instant::now() < until {
        let conversation: u16 = random.random_range(0..CONVERSATIONS);
        let member = &members[random.random_range(0..members.len())];
        let invoked = Instant::now();
        if let Some(answer) = ask(member, conversation, READ, &conversation.to_be_bytes()).await {
            reads.borrow_mut().push(Read {
                conversation,
                invoked,
                last: u64::from_be_bytes(answer[..].try_into().unwrap()),
            });
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
    }
}
