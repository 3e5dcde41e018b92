//! Commands of the pending requests.

use protocol::{ClientCommand, ConversationId, Role};

use super::{ClientState, PAGE, PendingRequest};
use crate::load::client::MembershipCommand;
use crate::wire;

// === impl ClientState: commands ===

impl ClientState {
    /// Returns the command of a request; `None` if it has none, or if its view has no position yet.
    pub(super) fn command(&self, task: &PendingRequest) -> Option<ClientCommand> {
        Some(match task {
            PendingRequest::Auth => return None,
            PendingRequest::Probe { view, read } => read.command(self.position(*view)?.0),
            PendingRequest::Create {
                kind, cid, members, ..
            } => wire::create(*kind, cid, members.clone()),
            PendingRequest::Membership { name, change, .. } => match change {
                MembershipCommand::Invite(who) => wire::invite(name, &format!("invite-{who}"), who),
                MembershipCommand::Kick(who) => wire::kick(name, &format!("kick-{who}"), who),
                MembershipCommand::Join => wire::join(name, "join"),
                MembershipCommand::Speaker(who) => {
                    wire::role(name, &format!("speaker-{who}"), who, Role::Member)
                }
            },
            PendingRequest::Change(changing) => changing.command(&self.views[changing.view].name),
            PendingRequest::Read { view, s, .. } => wire::read(&self.views[*view].name, *s),
            PendingRequest::List { cursor, .. } => wire::list(cursor.as_deref(), PAGE),
            PendingRequest::Watch(users) => wire::watch(users.clone()),
            PendingRequest::Open { view, .. } => wire::open(&self.views[*view].name),
            PendingRequest::Sync(syncing) => self.sync_command(syncing),
            PendingRequest::Fill { view } => {
                let (name, cursor) = self.position(*view)?;
                wire::hist(name, cursor, PAGE)
            }
            PendingRequest::Reread { view, after, .. } => wire::hist(&self.views[*view].name, *after, PAGE),
        })
    }

    pub(super) fn position(&self, view: usize) -> Option<(&ConversationId, u64)> {
        let view = &self.views[view];
        view.cursor.map(|cursor| (&view.name, cursor))
    }
}
