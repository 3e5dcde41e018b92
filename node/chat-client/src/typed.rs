//! Execution of typed lines.

use protocol::command::{
    CreateConversation, GetHistory, LeaveConversation, ListConversations, MemberAction, OpenConversation,
    SendMessage,
};
use protocol::{Body, ClientCommand, ClientMessageId, ConversationId, ConversationKind};

use crate::model::{ChatModel, ClientAction, LineTarget};
use crate::words::{self, TypedLine};

// === impl Model: typed ===

impl ChatModel {
    /// Processes a typed line.
    pub(crate) fn line(&mut self, line: &str) -> Vec<ClientAction> {
        match words::parse(line) {
            Ok(line) => self.execute(line),
            Err(why) => vec![ClientAction::Print(format!("! {why}"))],
        }
    }

    fn execute(&mut self, line: TypedLine) -> Vec<ClientAction> {
        let cid = new_cid();
        match line {
            TypedLine::Nothing => Vec::new(),
            TypedLine::Help => words::HELP
                .lines()
                .map(|line| ClientAction::Print(line.to_owned()))
                .collect(),
            TypedLine::Quit => vec![ClientAction::Quit],
            TypedLine::List => vec![self.ask(ClientCommand::List(ListConversations {
                cursor: None,
                limit: None,
                data_kind: None,
            }))],
            TypedLine::OpenUser(user) => {
                let conv = ConversationId::direct(&self.user, &user);
                self.convs.entry(conv).or_default().name = Some(user.to_string());
                self.open = Some(LineTarget::User(user.clone()));
                vec![ClientAction::Print(format!("-- with {user}; type to send"))]
            }
            TypedLine::OpenConv(c) => {
                let have = self.convs.get(&c).map(|known| known.s);
                self.open = Some(LineTarget::Conv(c.clone()));
                vec![self.ask(ClientCommand::Open(OpenConversation {
                    conversation: c,
                    have: have.or(Some(0)),
                }))]
            }
            TypedLine::Create { title, members } => self.change(ClientCommand::Create(CreateConversation {
                kind: ConversationKind::Group,
                client_message_id: cid,
                members,
                title: Some(title),
                data: None,
            })),
            TypedLine::Text(text) => match self.open.clone() {
                None => vec![ClientAction::Print(
                    "! open a conversation first: /open bob".to_owned(),
                )],
                Some(open) => {
                    let (c, to) = match open {
                        LineTarget::Conv(c) => (Some(c), None),
                        LineTarget::User(to) => (None, Some(to)),
                    };
                    match Body::new(serde_json::json!({ "text": text }).to_string()) {
                        Ok(b) => {
                            let (reply_to, mentions) = (None, Vec::new());
                            self.change(ClientCommand::Send(SendMessage {
                                conversation: c,
                                to,
                                client_message_id: cid,
                                body: b,
                                reply_to,
                                mentions,
                                echo: false,
                            }))
                        }
                        Err(why) => vec![ClientAction::Print(format!("! {why}"))],
                    }
                }
            },
            TypedLine::Hist => self.with_open(|client, c| {
                vec![client.ask(ClientCommand::Hist(GetHistory {
                    conversation: c,
                    before: None,
                    after: None,
                    limit: Some(20),
                }))]
            }),
            TypedLine::Invite(who) => self.with_open(|client, c| {
                client.change(ClientCommand::Invite(MemberAction {
                    conversation: c,
                    client_message_id: cid,
                    member: who,
                }))
            }),
            TypedLine::Kick(who) => self.with_open(|client, c| {
                client.change(ClientCommand::Kick(MemberAction {
                    conversation: c,
                    client_message_id: cid,
                    member: who,
                }))
            }),
            TypedLine::Leave => self.with_open(|client, c| {
                client.change(ClientCommand::Leave(LeaveConversation {
                    conversation: c,
                    client_message_id: cid,
                }))
            }),
        }
    }

    /// Executes a line about the open conversation.
    fn with_open(
        &mut self,
        act: impl FnOnce(&mut Self, ConversationId) -> Vec<ClientAction>,
    ) -> Vec<ClientAction> {
        match self.current() {
            Some(c) => act(self, c),
            None => vec![ClientAction::Print(
                "! open a conversation first: /open bob".to_owned(),
            )],
        }
    }
}

fn new_cid() -> ClientMessageId {
    ClientMessageId::parse(&ulid::Ulid::generate().to_string()).expect("26 characters are a cid")
}
