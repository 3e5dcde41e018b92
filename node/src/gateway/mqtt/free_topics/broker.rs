//! Topic tree with its clients: connections, sessions, wills and retained messages. Pure but for the mailboxes: time is an
//! argument.

mod packets;
mod subscriptions;

pub(super) use packets::BrokerEffect;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::broker_connect::{BrokerConnect, TOPIC_ALIASES};
use super::client_connection::ClientConnection;
use super::client_session::ClientSession;
use super::mailbox::Mailbox;
use super::topic_filter::TopicFilter;
use super::topic_message::TopicMessage;
use crate::gateway::mqtt::packet::{ReasonCode, WillMessage};
use crate::gateway::mqtt::topic_aliases::TopicAliases;

/// Topic tree of a node.
#[derive(Debug, Default)]
pub(super) struct Broker {
    sessions: HashMap<String, ClientSession>,
    shares: BTreeMap<TopicFilter, SharedSubscription>,
    retained: BTreeMap<String, Arc<TopicMessage>>,
    wills: Vec<DelayedWill>,
    last_number: u64,
}

/// Members of a share, in the order of their subscriptions.
#[derive(Debug, Default)]
struct SharedSubscription {
    clients: Vec<String>,
    /// Index of the member that gets the next message.
    next: usize,
}

/// Will of a connection that has ended.
#[derive(Debug)]
struct DelayedWill {
    client: String,
    will: WillMessage,
    at: Instant,
}

/// Client and number of a connection.
#[derive(Clone, Debug)]
pub(super) struct ConnectionKey {
    pub(super) client: String,
    pub(super) number: u64,
}

// === impl Broker ===

impl Broker {
    /// Opens a connection, which takes over from another one of its client.
    pub(super) fn connect(
        &mut self,
        connect: BrokerConnect,
        mailbox: Arc<Mailbox>,
        now: Instant,
    ) -> ConnectionKey {
        self.tick(now);
        let client = connect.client;
        self.last_number += 1;
        let mut accepted = connect.accepted;
        let session = self.take_over(&client, connect.is_clean, now);
        accepted.is_session_present = session.is_some();
        let mut session = session.unwrap_or_else(ClientSession::new);
        let mut connection = ClientConnection {
            number: self.last_number,
            mailbox,
            packets: connect.packets,
            receive_maximum: connect.receive_maximum,
            aliases: TopicAliases::new(TOPIC_ALIASES),
            alias_maximum: connect.alias_maximum,
            sent_aliases: HashMap::new(),
            will: connect.will,
            stated_expiry: connect.stated_expiry,
        };
        connection
            .mailbox
            .write(|out| connect.packets.broker_connack(out, &accepted));
        session.queue.repeat(&mut connection, now);
        session
            .unreleased
            .values_mut()
            .for_each(|known| known.repetitions = 0);
        session.expiry = connect.expiry;
        session.ends_at = None;
        session.connection = Some(connection);
        self.sessions.insert(client.clone(), session);
        ConnectionKey {
            client,
            number: self.last_number,
        }
    }

    /// Ends a connection, if it is still the client's. `discards_will`: the client has said so.
    pub(super) fn end(&mut self, key: &ConnectionKey, discards_will: bool, now: Instant) {
        let Some(session) = self.sessions.get_mut(&key.client) else {
            return;
        };
        let Some(connection) = session
            .connection
            .take_if(|connection| connection.number == key.number)
        else {
            return;
        };
        // Counted from here, and not from CONNECT.
        session.ends_at = session.expiry.and_then(|expiry| now.checked_add(expiry));
        connection.mailbox.close();
        if session.expiry == Some(Duration::ZERO) {
            self.remove_session(&key.client);
        }
        if let Some(will) = connection.will.filter(|_| !discards_will) {
            let delay = will_delay(&will);
            // The end of the session ends the delay. Without a stated expiry the delay holds, as both suites expect.
            let delay = connection.stated_expiry.map_or(delay, |expiry| expiry.min(delay));
            self.wills.push(DelayedWill {
                client: key.client.clone(),
                will,
                at: now + delay,
            });
            self.tick(now);
        }
    }

    /// Does what time has made due: wills are published, and sessions end.
    pub(super) fn tick(&mut self, now: Instant) {
        let due: Vec<DelayedWill> = self.wills.extract_if(.., |will| will.at <= now).collect();
        for DelayedWill { client, will, .. } in due {
            self.distribute(Arc::new(TopicMessage::of_will(&will, &client, now)), now);
        }
        let is_over = |session: &ClientSession| session.ends_at.is_some_and(|at| at <= now);
        let over: Vec<String> = self
            .sessions
            .iter()
            .filter(|(_, session)| is_over(session))
            .map(|(client, _)| client.clone())
            .collect();
        for client in over {
            self.remove_session(&client);
        }
    }

    /// Closes the connection of a client's session for another one, and returns the session if that continues it.
    fn take_over(&mut self, client: &str, is_clean: bool, now: Instant) -> Option<ClientSession> {
        // The client has come back in time.
        self.wills.retain(|will| will.client != client);
        let old = self.sessions.get_mut(client)?;
        let connection = old.connection.take();
        let ends = connection.is_some() && old.expiry == Some(Duration::ZERO);
        let is_continued = !is_clean && !ends;
        let session = if is_continued {
            self.sessions.remove(client)
        } else {
            self.remove_session(client);
            None
        };
        if let Some(connection) = connection {
            connection.close(ReasonCode::SessionTakenOver);
            let will = connection.will.filter(|will| will_delay(will).is_zero());
            if let Some(will) = will.filter(|_| !is_continued) {
                self.distribute(Arc::new(TopicMessage::of_will(&will, client, now)), now);
            }
        }
        session
    }

    fn remove_session(&mut self, client: &str) {
        self.sessions.remove(client);
        self.shares.retain(|_, share| {
            share.clients.retain(|member| member != client);
            !share.clients.is_empty()
        });
    }
}

fn will_delay(will: &WillMessage) -> Duration {
    Duration::from_secs(u64::from(will.properties.will_delay.unwrap_or(0)))
}
