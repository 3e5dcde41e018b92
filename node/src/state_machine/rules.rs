//! Permissions of members by role: one table, pure.
//!
//! | who may | owner | admin | member | reader |
//! |---|---|---|---|---|
//! | send, reply | yes | yes | yes | – |
//! | react | yes | yes | yes | yes |
//! | edit a message | own | own | own | – |
//! | delete a message | any | any | own | – |
//! | take back another's reaction | yes | yes | – | – |
//! | invite, unban, set title and settings, read the list of bans | yes | yes | – | – |
//! | kick, ban | yes | below admin | – | – |
//! | change a role | yes | below admin, up to member | – | – |
//! | read, receipts, leave, mute, pin | yes | yes | yes | yes |
//!
//! Nobody acts on a higher or equal role, except owners among themselves. A direct conversation has two fixed members
//! and no title: nobody invites, kicks, bans, leaves, or changes shared settings. A user whom the peer blocks may only
//! do what has no effect on the peer.
//!
//! The system, in whose name a back end acts, has the permissions of an owner without being a member.

use protocol::{ConversationKind, Role, UserId};

/// Permission that a command needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Permission {
    Send,
    /// Change the body of a message.
    Edit {
        /// True if the user wrote it.
        own: bool,
    },
    Delete {
        /// True if the user wrote it.
        own: bool,
    },
    /// Set or remove an own reaction.
    React,
    /// Remove the reaction of another user.
    Unreact,
    Invite,
    /// Remove a member with that role.
    Kick(Role),
    Leave,
    /// Ban a user with that role; a non-member counts as a reader.
    Ban(Role),
    Unban,
    /// Read the list of bans.
    Bans,
    /// Change the first role to the second.
    SetRole(Role, Role),
    /// Change the title or a shared setting.
    Set,
}

/// Size of the largest conversation in which members see each other's cursors and typing, whose absent members the
/// webhook names, and in which each window with new messages has its activity note.
pub const LARGE_CONVERSATION: u64 = 256;

/// Error text for a user whom the peer blocks.
pub(super) const BLOCKED: &str = "this user accepts no direct messages from you";

/// Checks a permission of a member with that role. The error is a text for the client.
pub(super) fn may(kind: ConversationKind, role: Role, act: Permission) -> Result<(), &'static str> {
    let permitted = match act {
        Permission::Send => role <= Role::Member,
        Permission::Edit { own } => own && role <= Role::Member,
        Permission::Delete { own } => role <= Role::Admin || own && role == Role::Member,
        Permission::React => true,
        Permission::Unreact => role <= Role::Admin,
        // The order matters: the arms above apply to direct conversations, too; the next ones refuse everything else
        // there.
        Permission::Set if kind == ConversationKind::Direct => {
            return Err("a direct conversation has no title and no settings");
        }
        _ if kind == ConversationKind::Direct => {
            return Err("the members of a direct conversation cannot change");
        }
        Permission::Invite | Permission::Unban | Permission::Bans | Permission::Set => role <= Role::Admin,
        Permission::Kick(target) | Permission::Ban(target) => outranks(role, target),
        Permission::SetRole(from, to) => outranks(role, from) && outranks(role, to),
        Permission::Leave => true,
    };
    if permitted {
        return Ok(());
    }
    Err(match act {
        Permission::Send => "a reader may not write here",
        Permission::Edit { .. } => "only the author may edit a message, unless the author is a reader",
        Permission::Delete { .. } => "only the author, owners and admins may delete a message",
        Permission::React => "may not react",
        Permission::Unreact => "only owners and admins may remove another user's reaction",
        Permission::Invite => "only owners and admins may invite",
        Permission::Kick(_) => "only owners, and admins below their own role, may remove members",
        Permission::Ban(_) => "only owners, and admins below their own role, may ban",
        Permission::Unban => "only owners and admins may unban",
        Permission::Bans => "only owners and admins may list the bans",
        Permission::SetRole(..) => "only owners, and admins below their own role, may change roles",
        Permission::Set => "only owners and admins may change title and settings",
        Permission::Leave => "may not leave",
    })
}

/// Returns the role by which the permissions of a user are decided; `None` for a non-member. The system acts with the
/// permissions of an owner in every conversation, without being a member: a back end acts by the scope of its key alone.
pub(super) fn role_of(user: &UserId, membership: Option<Role>) -> Option<Role> {
    match user.is_system() {
        true => Some(Role::Owner),
        false => membership,
    }
}

/// Returns the initial role of a new member other than the creator.
pub(super) fn role_of_new(kind: ConversationKind) -> Role {
    match kind {
        ConversationKind::Direct | ConversationKind::Group => Role::Member,
        ConversationKind::Channel => Role::Reader,
    }
}

/// Returns true if the actor's role is above the target's, or both are owners.
fn outranks(actor: Role, target: Role) -> bool {
    match actor {
        Role::Owner => true,
        Role::Admin => target > Role::Admin,
        Role::Member | Role::Reader => false,
    }
}

// === impl Permission ===

impl Permission {
    /// Returns true if the other members receive an event of it, which a blocked user must not cause.
    pub(super) fn is_audible(self) -> bool {
        match self {
            Permission::Send | Permission::Edit { .. } | Permission::React => true,
            // A deletion removes what the peer can see, and the others are refused in a direct conversation.
            Permission::Delete { .. }
            | Permission::Unreact
            | Permission::Invite
            | Permission::Kick(_)
            | Permission::Leave
            | Permission::Ban(_)
            | Permission::Unban
            | Permission::Bans
            | Permission::SetRole(..)
            | Permission::Set => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use ConversationKind::{Channel, Direct, Group};
    use Role::{Admin, Member, Owner, Reader};

    /// Columns: owner, admin, member, reader.
    const TABLE: [(Permission, [bool; 4]); 32] = [
        (Permission::Send, [true, true, true, false]),
        (Permission::Edit { own: true }, [true, true, true, false]),
        (Permission::Edit { own: false }, [false; 4]),
        (Permission::Delete { own: true }, [true, true, true, false]),
        (Permission::Delete { own: false }, [true, true, false, false]),
        (Permission::React, [true; 4]),
        (Permission::Unreact, [true, true, false, false]),
        (Permission::Invite, [true, true, false, false]),
        (Permission::Unban, [true, true, false, false]),
        (Permission::Bans, [true, true, false, false]),
        (Permission::Set, [true, true, false, false]),
        (Permission::Leave, [true, true, true, true]),
        (Permission::Kick(Owner), [true, false, false, false]),
        (Permission::Kick(Admin), [true, false, false, false]),
        (Permission::Kick(Member), [true, true, false, false]),
        (Permission::Kick(Reader), [true, true, false, false]),
        (Permission::Ban(Owner), [true, false, false, false]),
        (Permission::Ban(Admin), [true, false, false, false]),
        (Permission::Ban(Member), [true, true, false, false]),
        (Permission::Ban(Reader), [true, true, false, false]),
        (Permission::SetRole(Owner, Member), [true, false, false, false]),
        (Permission::SetRole(Owner, Admin), [true, false, false, false]),
        (Permission::SetRole(Admin, Owner), [true, false, false, false]),
        (Permission::SetRole(Admin, Member), [true, false, false, false]),
        (Permission::SetRole(Admin, Reader), [true, false, false, false]),
        (Permission::SetRole(Member, Owner), [true, false, false, false]),
        (Permission::SetRole(Member, Admin), [true, false, false, false]),
        (Permission::SetRole(Member, Reader), [true, true, false, false]),
        (Permission::SetRole(Reader, Owner), [true, false, false, false]),
        (Permission::SetRole(Reader, Admin), [true, false, false, false]),
        (Permission::SetRole(Reader, Member), [true, true, false, false]),
        (Permission::SetRole(Reader, Reader), [true, true, false, false]),
    ];

    /// Rows of the documented table, each with the permissions that it covers.
    fn rows() -> Vec<(&'static str, Vec<Permission>)> {
        let roles = Role::ALL;
        let changes = roles
            .into_iter()
            .flat_map(|from| roles.map(|to| Permission::SetRole(from, to)));
        let removals = roles
            .into_iter()
            .flat_map(|role| [Permission::Kick(role), Permission::Ban(role)]);
        vec![
            ("send, reply", vec![Permission::Send]),
            ("react", vec![Permission::React]),
            (
                "edit a message",
                vec![Permission::Edit { own: true }, Permission::Edit { own: false }],
            ),
            (
                "delete a message",
                vec![
                    Permission::Delete { own: true },
                    Permission::Delete { own: false },
                ],
            ),
            ("take back another's reaction", vec![Permission::Unreact]),
            (
                "invite, unban, set title and settings, read the list of bans",
                vec![
                    Permission::Invite,
                    Permission::Unban,
                    Permission::Set,
                    Permission::Bans,
                ],
            ),
            ("kick, ban", removals.collect()),
            ("change a role", changes.collect()),
            ("read, receipts, leave, mute, pin", vec![Permission::Leave]),
        ]
    }

    /// Returns the cell of the documented table for these permissions and a role.
    fn cell(kind: ConversationKind, role: Role, acts: &[Permission]) -> &'static str {
        let permitted: Vec<_> = acts.iter().filter(|act| may(kind, role, **act).is_ok()).collect();
        let own = |act: &Permission| {
            matches!(
                act,
                Permission::Edit { own: true } | Permission::Delete { own: true }
            )
        };
        // "below admin" covers members and readers; "up to member" covers changes to these roles.
        let low = |act: &Permission| match act {
            Permission::Kick(target) | Permission::Ban(target) => *target > Admin,
            Permission::SetRole(from, to) => *from > Admin && *to > Admin,
            _ => false,
        };
        let exactly = |which: &dyn Fn(&Permission) -> bool| {
            let expected: Vec<_> = acts.iter().filter(|act| which(act)).collect();
            !expected.is_empty() && permitted == expected
        };
        match acts[0] {
            _ if permitted.is_empty() => "–",
            Permission::Edit { .. } | Permission::Delete { .. } if exactly(&|_| true) => "any",
            _ if exactly(&|_| true) => "yes",
            _ if exactly(&own) => "own",
            Permission::SetRole(..) if exactly(&low) => "below admin, up to member",
            _ if exactly(&low) => "below admin",
            _ => panic!("no words for {permitted:?}"),
        }
    }

    #[test]
    fn the_tables_that_people_read_say_what_the_rules_say() {
        let page = include_str!("../../../docs/protocol.md");
        let here = include_str!("rules.rs");
        for (name, acts) in rows() {
            for kind in [Group, Channel] {
                let cells = Role::ALL.map(|role| cell(kind, role, &acts));
                let row = format!("| {name} | {} |", cells.join(" | "));
                assert!(page.lines().any(|line| line == row), "docs/protocol.md: {row}");
                let row = format!("//! {row}");
                assert!(here.lines().any(|line| line == row), "rules.rs: {row}");
            }
        }
        let table = page
            .lines()
            .skip_while(|line| !line.starts_with("| who may |"))
            .take_while(|line| line.starts_with('|'));
        assert_eq!(table.count(), 2 + rows().len(), "a row that no act stands for");
    }

    /// Returns the name of the variant.
    fn name(act: &Permission) -> String {
        let text = format!("{act:?}");
        text.split(['(', ' ']).next().unwrap().to_owned()
    }

    #[test]
    fn every_permission_is_in_both_tables() {
        let here = include_str!("rules.rs");
        let declaration = here.split("pub(super) enum Permission {\n").nth(1).unwrap();
        let declared: BTreeSet<String> = declaration
            .lines()
            .take_while(|line| *line != "}")
            .filter_map(|line| line.strip_prefix("    "))
            .filter(|line| line.starts_with(char::is_uppercase))
            .map(|line| line.split(['(', ' ', ',']).next().unwrap().to_owned())
            .collect();
        let tested: BTreeSet<String> = TABLE.iter().map(|(act, _)| name(act)).collect();
        let documented: BTreeSet<String> = rows()
            .iter()
            .flat_map(|(_, acts)| acts.iter().map(name))
            .collect();
        assert_eq!((&tested, &documented), (&declared, &declared));
    }

    #[test]
    fn a_blocked_user_may_not_send() {
        for act in [
            Permission::Send,
            Permission::Edit { own: true },
            Permission::React,
        ] {
            assert!(act.is_audible(), "{act:?}");
        }
        // Removing an own message is permitted.
        assert!(!Permission::Delete { own: true }.is_audible());
    }

    #[test]
    fn the_table_of_who_may_what() {
        for (act, expected) in TABLE {
            for kind in [Group, Channel] {
                for (role, expected) in Role::ALL.into_iter().zip(expected) {
                    assert_eq!(
                        may(kind, role, act).is_ok(),
                        expected,
                        "{kind:?} {role:?} {act:?}"
                    );
                }
            }
            let both = [
                Permission::Send,
                Permission::Edit { own: true },
                Permission::Delete { own: true },
                Permission::React,
            ];
            assert_eq!(
                may(Direct, Member, act).is_ok(),
                both.contains(&act),
                "direct {act:?}"
            );
        }
    }
}
