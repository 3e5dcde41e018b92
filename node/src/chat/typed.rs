//! What a typed line makes the client do.

use protocol::command::{ActOn, Create, Hist, Leave, List, Open, Send};
use protocol::{Body, Cid, Command, ConvId, Kind};

use super::model::{Act, Model, Place};
use super::words::{self, Line};

// === impl Model: typed ===

impl Model {
    /// A line was typed.
    pub(super) fn line(&mut self, line: &str) -> Vec<Act> {
        match words::parse(line) {
            Ok(line) => self.obey(line),
            Err(why) => vec![Act::Print(format!("! {why}"))],
        }
    }

    fn obey(&mut self, line: Line) -> Vec<Act> {
        let cid = new_cid();
        match line {
            Line::Nothing => Vec::new(),
            Line::Help => words::HELP
                .lines()
                .map(|line| Act::Print(line.to_owned()))
                .collect(),
            Line::Quit => vec![Act::Quit],
            Line::List => vec![self.ask(Command::List(List {
                cursor: None,
                limit: None,
            }))],
            Line::OpenUser(user) => {
                let conv = ConvId::direct(&self.user, &user);
                self.convs.entry(conv).or_default().name = Some(user.to_string());
                self.open = Some(Place::User(user.clone()));
                vec![Act::Print(format!("-- with {user}; type to send"))]
            }
            Line::OpenConv(c) => {
                let have = self.convs.get(&c).map(|known| known.s);
                self.open = Some(Place::Conv(c.clone()));
                vec![self.ask(Command::Open(Open {
                    c,
                    have: have.or(Some(0)),
                }))]
            }
            Line::Create { title, members } => self.change(Command::Create(Create {
                kind: Kind::Group,
                cid,
                members,
                title: Some(title),
            })),
            Line::Text(text) => match self.open.clone() {
                None => vec![Act::Print("! open a conversation first: /open bob".to_owned())],
                Some(open) => {
                    let (c, to) = match open {
                        Place::Conv(c) => (Some(c), None),
                        Place::User(to) => (None, Some(to)),
                    };
                    match Body::new(serde_json::json!({ "text": text }).to_string()) {
                        Ok(b) => {
                            let (reply_to, mentions) = (None, Vec::new());
                            self.change(Command::Send(Send {
                                c,
                                to,
                                cid,
                                b,
                                reply_to,
                                mentions,
                                echo: false,
                            }))
                        }
                        Err(why) => vec![Act::Print(format!("! {why}"))],
                    }
                }
            },
            other => match self.current() {
                None => vec![Act::Print("! open a conversation first: /open bob".to_owned())],
                Some(c) => match other {
                    Line::Hist => {
                        vec![self.ask(Command::Hist(Hist {
                            c,
                            before: None,
                            after: None,
                            limit: Some(20),
                        }))]
                    }
                    Line::Invite(who) => self.change(Command::Invite(ActOn { c, cid, who })),
                    Line::Kick(who) => self.change(Command::Kick(ActOn { c, cid, who })),
                    _ => self.change(Command::Leave(Leave { c, cid })),
                },
            },
        }
    }
}

fn new_cid() -> Cid {
    Cid::parse(&ulid::Ulid::new().to_string()).expect("26 characters are a cid")
}
