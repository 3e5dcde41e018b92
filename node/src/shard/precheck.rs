//! The [conversation actor's](super::conversation_actor) precheck before the log.
//!
//! The precheck responds only where the state machine would respond the same way; it saves log entries. Its cache holds
//! users refused as non-members, recently completed client message ids, and the absence of the conversation. These
//! facts are exact while the epoch lasts, because the shard's actor records every change of the conversation. The epoch
//! is proved before a cached response is sent, because a node that was paused may have been deposed.

use std::collections::{HashMap, HashSet, VecDeque};

use protocol::{ClientMessageId, ErrorCode, UserId, limits};

use super::apply_results::answer_of;
use super::pending_header::PendingHeader;
use crate::rpc::submit::{AppliedReply, CommandReply};
use crate::state_machine::{EventEnvelope, MembershipRule, ShardOutcome};

/// Completed client message ids kept per conversation: covers what a queue may resend after a lost response.
const RECENT: usize = 512;
/// Non-members kept per conversation.
const NON_MEMBERS: usize = 256;
/// Bytes that a command may be longer than the largest body: ids and mentions.
const COMMAND_SLACK: usize = 8 * 1024;

/// Refuses a command above the protocol's size limit. The limit needs no proof of ownership.
pub(crate) fn too_large(size: usize) -> Option<CommandReply> {
    (size > limits::BODY_BYTES + COMMAND_SLACK).then(|| {
        CommandReply::refused(
            ErrorCode::TooLarge,
            format!("more than {} bytes", limits::BODY_BYTES),
        )
    })
}

/// Facts cached by the actor of a conversation.
#[derive(Debug, Default)]
pub(crate) struct PrecheckCache {
    /// `None` until the conversation's row was read, and while a command that may create it is in flight.
    exists: Option<bool>,
    non_members: HashSet<UserId>,
    /// Number of in-flight commands per user that may make the user a member.
    coming: HashMap<UserId, u32>,
    recent: HashMap<ClientMessageId, (UserId, CommandReply)>,
    recent_order: VecDeque<ClientMessageId>,
}

/// Conditions of a command on its conversation and its user.
#[derive(Clone, Copy)]
struct CommandNeeds {
    /// The conversation must exist.
    conversation: bool,
    /// The user must be a member.
    member: bool,
    /// The command may create the conversation.
    may_create: bool,
    /// The command may make the user a member.
    may_admit: bool,
}

// === impl CommandNeeds ===

fn needs(header: &PendingHeader) -> CommandNeeds {
    let needs = |conversation, member, may_create, may_admit| CommandNeeds {
        conversation,
        member,
        may_create,
        may_admit,
    };
    // The system needs no membership, and its refusal for a missing conversation must not outlive the creation.
    let of_member = !header.user().is_some_and(UserId::is_system);
    match header.kind.membership_rule() {
        MembershipRule::Required => needs(true, of_member, false, false),
        // A direct send creates the conversation on demand; the `d_` prefix marks it.
        MembershipRule::RequiredUnlessDirect => {
            let direct = header
                .conversation()
                .is_some_and(|conv| conv.as_str().starts_with("d_"));
            needs(!direct, !direct && of_member, direct, direct)
        }
        MembershipRule::Creates => needs(false, false, true, true),
        MembershipRule::Joins => needs(true, false, false, true),
        MembershipRule::Irrelevant => needs(false, false, false, false),
    }
}

// === impl PrecheckCache ===

impl PrecheckCache {
    /// Returns the response to a command that need not enter the log, valid only if the epoch still lasts.
    pub(crate) fn answers(&self, header: &PendingHeader) -> Option<CommandReply> {
        // Client message ids are unique per user only: another user's command with the same id needs a log entry.
        if let Some(cid) = &header.cid
            && let Some((user, answer)) = self.recent.get(cid)
            && header.user() == Some(user)
        {
            // Marked as a duplicate, as the state machine would mark it.
            let mut answer = answer.clone();
            if let CommandReply::Done(AppliedReply::Conversation { dup, .. }) = &mut answer {
                *dup = true;
            }
            return Some(answer);
        }
        let needs = needs(header);
        let missing = self.exists == Some(false) && needs.conversation;
        let non_member = needs.member && header.user().is_some_and(|user| self.non_members.contains(user));
        if missing || non_member {
            return Some(CommandReply::refused(
                ErrorCode::NotMember,
                "not a member of this conversation".to_owned(),
            ));
        }
        None
    }

    /// Records the existence of the conversation's row, unless a decided command has set it already.
    pub(crate) fn activated(&mut self, exists: bool) {
        self.exists.get_or_insert(exists);
    }

    /// Records a command on its way to the log: later commands must not be refused for what it may change.
    pub(crate) fn proposed(&mut self, header: &PendingHeader) {
        // Unknown until the log decides: commands behind the `create` must reach the log.
        let needs = needs(header);
        if needs.may_create && self.exists == Some(false) {
            self.exists = None;
        }
        if needs.may_admit
            && let Some(user) = header.user()
        {
            // A send pipelined behind this join must not fail on an older refusal.
            self.non_members.remove(user);
            *self.coming.entry(user.clone()).or_default() += 1;
        }
    }

    /// Drops all facts. Commands on their way to the log still count: the precheck must not refuse what follows them.
    pub(crate) fn forget(&mut self) {
        *self = PrecheckCache {
            coming: std::mem::take(&mut self.coming),
            ..PrecheckCache::default()
        };
    }

    /// Updates the cache from the outcome of a command, before its response is sent.
    pub(crate) fn applied(&mut self, header: &PendingHeader, outcome: &ShardOutcome) {
        if let ShardOutcome::Conversation(applied) = outcome {
            for event in &applied.events {
                self.published(event);
            }
        }
        self.decided(header, &answer_of(outcome));
    }

    /// Records the log's decision on a command.
    fn decided(&mut self, header: &PendingHeader, answer: &CommandReply) {
        let Some(user) = header.user() else {
            return;
        };
        if needs(header).may_admit
            && let Some(under_way) = self.coming.get_mut(user)
        {
            *under_way -= 1;
            if *under_way == 0 {
                self.coming.remove(user);
            }
        }
        match answer {
            CommandReply::Done(_) => {
                // After a `block` the row may still be missing; a wrong `true` costs only log entries.
                self.exists = Some(true);
                let Some(cid) = &header.cid else {
                    return;
                };
                let known = (user.clone(), answer.clone());
                if self.recent.insert(cid.clone(), known).is_none() {
                    self.recent_order.push_back(cid.clone());
                }
                if self.recent_order.len() > RECENT
                    && let Some(oldest) = self.recent_order.pop_front()
                {
                    self.recent.remove(&oldest);
                }
            }
            CommandReply::Refused { code, .. } => {
                // A refusal ahead of an in-flight join must not refuse the sends behind that join.
                if *code == ErrorCode::NotMember && !self.coming.contains_key(user) {
                    // Clearing is harmless: each forgotten non-member costs one log entry at the next command.
                    if self.non_members.len() >= NON_MEMBERS {
                        self.non_members.clear();
                    }
                    self.non_members.insert(user.clone());
                }
            }
        }
    }

    /// Updates the cache from an event that is about to be fanned out.
    fn published(&mut self, event: &EventEnvelope) {
        if let Some(user) = &event.adds {
            self.non_members.remove(user);
        }
        if let Some(user) = &event.removes {
            // A removed user may not see the results of earlier commands; the state machine decides on repeats.
            self.recent.retain(|_, (known, _)| known != user);
            self.recent_order.retain(|cid| self.recent.contains_key(cid));
        }
    }
}

#[cfg(test)]
mod tests;
