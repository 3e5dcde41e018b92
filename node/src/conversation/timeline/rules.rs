//! Who may do what: one table, pure.
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
//! Nobody acts on a higher or equal role, owners excepted among themselves. A direct conversation has two members for
//! ever and no title: nobody invites, kicks, bans, leaves, or sets anything for both. One whom the other side blocks may
//! do there what is not heard.

use protocol::{Kind, Role};

/// What a member is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    /// Append a message.
    Send,
    /// Change the body of a message, one's own or another's.
    Edit {
        /// Whether it is one's own.
        own: bool,
    },
    /// Delete a message.
    Delete {
        /// Whether it is one's own.
        own: bool,
    },
    /// Set or take back a reaction.
    React,
    /// Take back another's reaction.
    Unreact,
    /// Make somebody a member.
    Invite,
    /// Remove a member of that role.
    Kick(Role),
    /// Go.
    Leave,
    /// Remove one of that role and keep it out; one who is no member counts as a reader.
    Ban(Role),
    /// Take a ban back.
    Unban,
    /// See who is banned.
    Bans,
    /// Change the first role to the second.
    SetRole(Role, Role),
    /// Change the title or a setting.
    Set,
}

/// Members of the largest conversation in which each member's cursors are shown to the others.
pub(super) const CURSORS_SHOWN: u64 = 256;

/// Why one whom the other user blocks is refused.
pub(super) const BLOCKED: &str = "this user accepts no direct messages from you";

/// Tells whether a member of that role may do it, or why not.
pub(super) fn may(kind: Kind, role: Role, act: Act) -> Result<(), &'static str> {
    let permitted = match act {
        Act::Send => role <= Role::Member,
        Act::Edit { own } => own && role <= Role::Member,
        Act::Delete { own } => role <= Role::Admin || own && role == Role::Member,
        Act::React => true,
        Act::Unreact => role <= Role::Admin,
        Act::Set if kind == Kind::Direct => return Err("a direct conversation has no title and no settings"),
        _ if kind == Kind::Direct => return Err("a direct conversation keeps its two members"),
        Act::Invite | Act::Unban | Act::Bans | Act::Set => role <= Role::Admin,
        Act::Kick(target) | Act::Ban(target) => outranks(role, target),
        Act::SetRole(from, to) => outranks(role, from) && outranks(role, to),
        Act::Leave => true,
    };
    if permitted {
        return Ok(());
    }
    Err(match act {
        Act::Send => "a reader may not write here",
        Act::Edit { .. } => "only the author may edit a message, and no reader",
        Act::Delete { .. } => "only the author, owners and admins may delete a message",
        Act::React => "may not react",
        Act::Unreact => "only owners and admins may take back another's reaction",
        Act::Invite => "only owners and admins may invite",
        Act::Kick(_) => "only owners, and admins below their own role, may remove members",
        Act::Ban(_) => "only owners, and admins below their own role, may ban",
        Act::Unban => "only owners and admins may unban",
        Act::Bans => "only owners and admins see who is banned",
        Act::SetRole(..) => "only owners, and admins below their own role, may change roles",
        Act::Set => "only owners and admins may change title and settings",
        Act::Leave => "may not leave",
    })
}

/// Returns the role of a new member, the creator aside.
pub(super) fn role_of_new(kind: Kind) -> Role {
    match kind {
        Kind::Direct | Kind::Group => Role::Member,
        Kind::Channel => Role::Reader,
    }
}

/// Nobody acts on a higher or equal role, owners excepted among themselves.
fn outranks(actor: Role, target: Role) -> bool {
    match actor {
        Role::Owner => true,
        Role::Admin => target > Role::Admin,
        Role::Member | Role::Reader => false,
    }
}

// === impl Act ===

impl Act {
    /// Whether the others hear of it, which one who is blocked can't make them.
    pub(super) fn is_heard(self) -> bool {
        matches!(self, Act::Send | Act::Edit { .. } | Act::React)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Kind::{Channel, Direct, Group};
    use Role::{Admin, Member, Owner, Reader};

    /// Columns: owner, admin, member, reader.
    const TABLE: [(Act, [bool; 4]); 32] = [
        (Act::Send, [true, true, true, false]),
        (Act::Edit { own: true }, [true, true, true, false]),
        (Act::Edit { own: false }, [false; 4]),
        (Act::Delete { own: true }, [true, true, true, false]),
        (Act::Delete { own: false }, [true, true, false, false]),
        (Act::React, [true; 4]),
        (Act::Unreact, [true, true, false, false]),
        (Act::Invite, [true, true, false, false]),
        (Act::Unban, [true, true, false, false]),
        (Act::Bans, [true, true, false, false]),
        (Act::Set, [true, true, false, false]),
        (Act::Leave, [true, true, true, true]),
        (Act::Kick(Owner), [true, false, false, false]),
        (Act::Kick(Admin), [true, false, false, false]),
        (Act::Kick(Member), [true, true, false, false]),
        (Act::Kick(Reader), [true, true, false, false]),
        (Act::Ban(Owner), [true, false, false, false]),
        (Act::Ban(Admin), [true, false, false, false]),
        (Act::Ban(Member), [true, true, false, false]),
        (Act::Ban(Reader), [true, true, false, false]),
        (Act::SetRole(Owner, Member), [true, false, false, false]),
        (Act::SetRole(Owner, Admin), [true, false, false, false]),
        (Act::SetRole(Admin, Owner), [true, false, false, false]),
        (Act::SetRole(Admin, Member), [true, false, false, false]),
        (Act::SetRole(Admin, Reader), [true, false, false, false]),
        (Act::SetRole(Member, Owner), [true, false, false, false]),
        (Act::SetRole(Member, Admin), [true, false, false, false]),
        (Act::SetRole(Member, Reader), [true, true, false, false]),
        (Act::SetRole(Reader, Owner), [true, false, false, false]),
        (Act::SetRole(Reader, Admin), [true, false, false, false]),
        (Act::SetRole(Reader, Member), [true, true, false, false]),
        (Act::SetRole(Reader, Reader), [true, true, false, false]),
    ];

    /// The rows of the table that people read, and the acts that each is about.
    fn rows() -> Vec<(&'static str, Vec<Act>)> {
        let roles = Role::ALL;
        let changes = roles
            .into_iter()
            .flat_map(|from| roles.map(|to| Act::SetRole(from, to)));
        let removals = roles
            .into_iter()
            .flat_map(|role| [Act::Kick(role), Act::Ban(role)]);
        vec![
            ("send, reply", vec![Act::Send]),
            ("react", vec![Act::React]),
            (
                "edit a message",
                vec![Act::Edit { own: true }, Act::Edit { own: false }],
            ),
            (
                "delete a message",
                vec![Act::Delete { own: true }, Act::Delete { own: false }],
            ),
            ("take back another's reaction", vec![Act::Unreact]),
            (
                "invite, unban, set title and settings, read the list of bans",
                vec![Act::Invite, Act::Unban, Act::Set, Act::Bans],
            ),
            ("kick, ban", removals.collect()),
            ("change a role", changes.collect()),
            ("read, receipts, leave, mute, pin", vec![Act::Leave]),
        ]
    }

    /// What the rules say of one of these acts and a role, in the words of the table.
    fn cell(kind: Kind, role: Role, acts: &[Act]) -> &'static str {
        let permitted: Vec<_> = acts.iter().filter(|act| may(kind, role, **act).is_ok()).collect();
        let own = |act: &Act| matches!(act, Act::Edit { own: true } | Act::Delete { own: true });
        // "below admin" is what concerns members and readers, and "up to member" what makes them such.
        let low = |act: &Act| match act {
            Act::Kick(target) | Act::Ban(target) => *target > Admin,
            Act::SetRole(from, to) => *from > Admin && *to > Admin,
            _ => false,
        };
        let exactly = |which: &dyn Fn(&Act) -> bool| {
            let expected: Vec<_> = acts.iter().filter(|act| which(act)).collect();
            !expected.is_empty() && permitted == expected
        };
        match acts[0] {
            _ if permitted.is_empty() => "–",
            Act::Edit { .. } | Act::Delete { .. } if exactly(&|_| true) => "any",
            _ if exactly(&|_| true) => "yes",
            _ if exactly(&own) => "own",
            Act::SetRole(..) if exactly(&low) => "below admin, up to member",
            _ if exactly(&low) => "below admin",
            _ => panic!("no words for {permitted:?}"),
        }
    }

    #[test]
    fn the_tables_that_people_read_say_what_the_rules_say() {
        let page = include_str!("../../../../docs/protocol.md");
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

    #[test]
    fn one_who_is_blocked_is_not_heard() {
        for act in [Act::Send, Act::Edit { own: true }, Act::React] {
            assert!(act.is_heard(), "{act:?}");
        }
        // What takes back is permitted.
        assert!(!Act::Delete { own: true }.is_heard());
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
                Act::Send,
                Act::Edit { own: true },
                Act::Delete { own: true },
                Act::React,
            ];
            assert_eq!(
                may(Direct, Member, act).is_ok(),
                both.contains(&act),
                "direct {act:?}"
            );
        }
    }
}
