//! What a client knows and decides. Pure: lines and frames in, [`Act`]s out.

use std::collections::HashMap;
use std::time::Duration;

use protocol::answer::{Ack, Conv, Delta, Err as Refused, Hist as Page, Inbox};
use protocol::command::{Auth, Cursor, Hb, List, Sync};
use protocol::event::{Event, Msg};
use protocol::{Answer, Cid, Command, ConvId, ErrorCode, Frame, Kind, Request, UserId};

use super::words;

/// What has to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Send this frame.
    Send(String),
    /// Show this.
    Print(String),
    /// Send what is pending again after this time.
    Retry(Duration),
    /// Leave.
    Quit,
}

/// The client's memory. Lives through reconnects.
pub(super) struct Model {
    pub(super) user: UserId,
    token: String,
    ready: bool,
    greeted: bool,
    /// Number of the last event of this session, and the last one confirmed.
    n: u64,
    confirmed: u64,
    ids: i64,
    /// Changes without an answer, in the order in which they were made.
    unanswered: Vec<(i64, Command)>,
    pub(super) open: Option<Place>,
    pub(super) convs: HashMap<ConvId, Known>,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Conv(ConvId),
    User(UserId),
}

/// A conversation as far as it is known.
#[derive(Default)]
pub(super) struct Known {
    /// The last event applied.
    pub(super) s: u64,
    pub(super) name: Option<String>,
}

// === impl Model ===

impl Model {
    pub(super) fn new(user: UserId, token: String) -> Model {
        Model {
            user,
            token,
            ready: false,
            greeted: false,
            n: 0,
            confirmed: 0,
            ids: 0,
            unanswered: Vec::new(),
            open: None,
            convs: HashMap::new(),
        }
    }

    /// A connection is open; nothing was said yet.
    pub(super) fn connected(&mut self) {
        (self.ready, self.n, self.confirmed) = (false, 0, 0);
    }

    /// Everything that has no answer, once more, in order.
    pub(super) fn pending(&self) -> Vec<Act> {
        let again = |(id, command): &(i64, Command)| {
            Act::Send(
                Request {
                    id: Some(*id),
                    command: command.clone(),
                }
                .encode(),
            )
        };
        if self.ready {
            self.unanswered.iter().map(again).collect()
        } else {
            Vec::new()
        }
    }

    /// Confirms what has arrived.
    pub(super) fn confirm(&mut self) -> Vec<Act> {
        if !self.ready || self.confirmed == self.n {
            return Vec::new();
        }
        self.confirmed = self.n;
        vec![self.ask(Command::Hb(Hb { n: Some(self.n) }))]
    }

    /// The server said something.
    pub(super) fn frame(&mut self, text: &str) -> Vec<Act> {
        match Frame::decode(text) {
            Ok(Frame::Answer { id, answer }) => self.answered(id, answer),
            Ok(Frame::Event { n, event }) => {
                let gap = n != self.n + 1;
                self.n = n;
                let mut acts = self.event(event);
                if gap {
                    acts.push(self.sync());
                }
                acts
            }
            Ok(Frame::Unknown { n }) => {
                self.n = n.unwrap_or(self.n);
                Vec::new()
            }
            Err(why) => vec![Act::Print(format!("! a frame that cannot be read: {why}"))],
        }
    }

    fn answered(&mut self, id: Option<i64>, answer: Answer) -> Vec<Act> {
        match answer {
            Answer::Hello(_) => {
                let token = self.token.clone();
                vec![self.ask(Command::Auth(Auth {
                    token,
                    device: None,
                    instance: None,
                    resume: None,
                }))]
            }
            Answer::Ready(ready) => {
                self.ready = true;
                let mut acts = vec![Act::Print(format!(
                    "-- connected as {}; /help says more",
                    ready.user
                ))];
                if !std::mem::replace(&mut self.greeted, true) {
                    acts.push(self.ask(Command::List(List {
                        cursor: None,
                        limit: None,
                    })));
                }
                acts.push(self.sync());
                acts.extend(self.pending());
                acts
            }
            Answer::Ack(ack) => self.acked(&ack),
            Answer::Conv(conv) => {
                self.unanswered.retain(|(pending, _)| Some(*pending) != id);
                let open = Place::Conv(conv.c.clone());
                let mut acts = vec![Act::Print(format!("-- {}", words::title(&conv)))];
                if self.open.as_ref() != Some(&open) && conv.kind != Kind::Direct {
                    self.open = Some(open);
                }
                acts.extend(self.conv(conv));
                acts
            }
            Answer::Inbox(inbox) => self.inbox(inbox),
            Answer::Hist(Page { events, .. }) => events
                .iter()
                .filter_map(|raw| raw.event())
                .filter_map(|event| self.show(&event))
                .collect(),
            Answer::Delta(Delta { items, next, .. }) => {
                let events = items
                    .iter()
                    .flat_map(|item| item.events.iter())
                    .filter_map(|raw| raw.event());
                let mut acts: Vec<_> = events
                    .collect::<Vec<_>>()
                    .into_iter()
                    .flat_map(|e| self.event(e))
                    .collect();
                if let Some(cursor) = next {
                    acts.push(self.sync_from(Some(cursor)));
                }
                acts
            }
            Answer::Err(refused) => self.refused(id, &refused),
            // The client never asks for the members.
            Answer::Members(_) | Answer::Me(_) | Answer::Ok(_) | Answer::Hb(_) => Vec::new(),
        }
    }

    fn acked(&mut self, ack: &Ack) -> Vec<Act> {
        let known = self
            .unanswered
            .iter()
            .position(|(_, command)| cid_of(command) == Some(&ack.cid));
        let sent = known.map(|at| self.unanswered.remove(at).1);
        if let (Some(Command::Send(_)), Some(s)) = (&sent, ack.s) {
            // One's own event isn't echoed: the ack is what says where it is.
            let known = self.convs.entry(ack.c.clone()).or_default();
            if s == known.s + 1 {
                known.s = s;
            }
        }
        let Some(s) = ack.s else { return Vec::new() };
        vec![Act::Print(format!(
            "   sent #{s}{}",
            if ack.dup { " (it had arrived before)" } else { "" }
        ))]
    }

    fn refused(&mut self, id: Option<i64>, refused: &Refused) -> Vec<Act> {
        let pending = self
            .unanswered
            .iter()
            .position(|(pending, _)| Some(*pending) == id);
        match (pending, refused.temp, refused.retry_ms) {
            (Some(_), true, retry) => vec![Act::Retry(Duration::from_millis(retry.unwrap_or(1_000)))],
            (Some(at), false, _) => {
                self.unanswered.remove(at);
                vec![Act::Print(format!("! refused: {}", refused.msg))]
            }
            // The close frame that follows says what to do.
            (None, _, _) if refused.code == ErrorCode::Unauthenticated => {
                vec![Act::Print(format!("! {}", refused.msg))]
            }
            (None, _, _) => vec![Act::Print(format!("! {}: {}", refused.code, refused.msg))],
        }
    }

    fn inbox(&mut self, inbox: Inbox) -> Vec<Act> {
        if inbox.items.is_empty() {
            return vec![Act::Print("-- no conversations yet: /open bob".to_owned())];
        }
        let mut acts = Vec::new();
        for item in inbox.items {
            let name = item
                .peer
                .as_ref()
                .map(|peer| peer.u.to_string())
                .or_else(|| item.title.clone());
            let last = item
                .last
                .and_then(|raw| raw.event())
                .and_then(|event| words::event(&event, &self.user));
            acts.push(Act::Print(words::row(
                &item.c,
                name.as_deref(),
                item.unread,
                last.as_deref(),
            )));
            self.convs.entry(item.c).or_default().name = name;
        }
        acts
    }

    fn conv(&mut self, conv: Conv) -> Vec<Act> {
        let name = conv
            .peer
            .as_ref()
            .map(|peer| peer.u.to_string())
            .or_else(|| conv.title.clone());
        let last = conv.last.s;
        self.convs.entry(conv.c.clone()).or_default().name = name;
        let events: Vec<_> = conv
            .events
            .unwrap_or_default()
            .iter()
            .filter_map(|raw| raw.event())
            .collect();
        if let Some(first) = events.first().and_then(place) {
            // What lies before the first event is not for this client, or left to /hist.
            let known = self.convs.entry(conv.c.clone()).or_default();
            known.s = known.s.max(first.1 - 1);
        }
        let acts = events.into_iter().flat_map(|event| self.event(event)).collect();
        let known = self.convs.entry(conv.c).or_default();
        known.s = known.s.max(last);
        acts
    }

    fn event(&mut self, event: Event) -> Vec<Act> {
        if let Event::Conv(conv) = event {
            return self.conv(conv);
        }
        if let Event::Resync(_) = event {
            return vec![self.sync()];
        }
        if let Event::Activity(activity) = event {
            let known = self.convs.entry(activity.c).or_default();
            return if known.s < activity.last.s {
                vec![self.sync()]
            } else {
                Vec::new()
            };
        }
        if let Some((conv, s)) = place(&event) {
            let known = self.convs.entry(conv.clone()).or_default();
            if s <= known.s {
                return Vec::new();
            }
            if s > known.s + 1 && known.s > 0 {
                // Something is missing: the sync brings it, and this one with it.
                return vec![self.sync()];
            }
            known.s = s;
        }
        let mut acts: Vec<_> = self.show(&event).into_iter().collect();
        if let Event::Msg(Msg { c, s, u, .. }) = &event
            && *u != self.user
            && self.current().as_ref() == Some(c)
        {
            acts.push(self.ask(Command::Read(Cursor { c: c.clone(), s: *s })));
        }
        acts
    }

    fn show(&self, event: &Event) -> Option<Act> {
        let name = place(event).and_then(|(conv, _)| self.convs.get(conv)?.name.clone());
        let text = words::event(event, &self.user)?;
        Some(Act::Print(match name {
            Some(name) => format!("[{name}] {text}"),
            None => text,
        }))
    }

    pub(super) fn current(&self) -> Option<ConvId> {
        match self.open.as_ref()? {
            Place::Conv(conv) => Some(conv.clone()),
            Place::User(user) => Some(ConvId::direct(&self.user, user)),
        }
    }

    fn sync(&mut self) -> Act {
        self.sync_from(None)
    }

    /// In the order of the ids, from the cursor on: the server's pages are in that order.
    fn sync_from(&mut self, cursor: Option<String>) -> Act {
        let mut have: Vec<_> = self
            .convs
            .iter()
            .map(|(conv, known)| (conv.clone(), known.s))
            .collect();
        have.retain(|(conv, _)| {
            cursor
                .as_ref()
                .is_none_or(|cursor| conv.as_str() > cursor.as_str())
        });
        have.sort();
        have.truncate(protocol::limits::SYNC_HAVE);
        self.ask(Command::Sync(Sync { have, cursor }))
    }

    /// A change: kept until it is answered.
    pub(super) fn change(&mut self, command: Command) -> Vec<Act> {
        self.ids += 1;
        self.unanswered.push((self.ids, command.clone()));
        if self.ready {
            vec![Act::Send(
                Request {
                    id: Some(self.ids),
                    command,
                }
                .encode(),
            )]
        } else {
            vec![Act::Print("   pending".to_owned())]
        }
    }

    /// A question: asked again by the next connection if need be.
    pub(super) fn ask(&mut self, command: Command) -> Act {
        self.ids += 1;
        Act::Send(
            Request {
                id: Some(self.ids),
                command,
            }
            .encode(),
        )
    }
}

fn cid_of(command: &Command) -> Option<&Cid> {
    match command {
        Command::Send(send) => Some(&send.cid),
        Command::Create(create) => Some(&create.cid),
        Command::Invite(act) | Command::Kick(act) => Some(&act.cid),
        Command::Leave(leave) => Some(&leave.cid),
        Command::Edit(edit) => Some(&edit.cid),
        Command::Del(del) => Some(&del.cid),
        Command::React(react) => Some(&react.cid),
        Command::Ban(act) | Command::Unban(act) => Some(&act.cid),
        Command::Role(set) => Some(&set.cid),
        Command::Join(join) => Some(&join.cid),
        Command::Set(set) => Some(&set.cid),
        _ => None,
    }
}

/// The conversation and the place of a durable event.
fn place(event: &Event) -> Option<(&ConvId, u64)> {
    event.place().map(|(conv, s, _)| (conv, s))
}
