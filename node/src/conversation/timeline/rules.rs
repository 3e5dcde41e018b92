//! Who may do what: one table, pure.
//!
//! | who may | owner | admin | member | reader |
//! |---|---|---|---|---|
//! | send, reply | yes | yes | yes | – |
//! | react | yes | yes | yes | yes |
//! | edit a message | own | own | own | – |
//! | delete a message | any | any | own | – |
//! | invite | yes | yes | – | – |
//! | kick | yes | below admin | – | – |
//! | read, receipts, leave | yes | yes | yes | yes |
//!
//! A direct conversation has two members for ever: nobody invites, kicks or leaves.

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
    /// Make somebody a member.
    Invite,
    /// Remove a member of that role.
    Kick(Role),
    /// Go.
    Leave,
}

/// Tells whether a member of that role may do it, or why not.
pub(super) fn may(kind: Kind, role: Role, act: Act) -> Result<(), &'static str> {
    let permitted = match act {
        Act::Send => role <= Role::Member,
        Act::Edit { own } => own && role <= Role::Member,
        Act::Delete { own } => role <= Role::Admin || own && role == Role::Member,
        Act::React => true,
        Act::Invite | Act::Kick(_) | Act::Leave if kind == Kind::Direct => {
            return Err("a direct conversation keeps its two members");
        }
        Act::Invite => role <= Role::Admin,
        Act::Kick(target) => outranks(role, target),
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
        Act::Invite => "only owners and admins may invite",
        Act::Kick(_) => "only owners, and admins below their own role, may remove members",
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

#[cfg(test)]
mod tests {
    use super::*;
    use Kind::{Channel, Direct, Group};
    use Role::{Admin, Member, Owner, Reader};

    #[test]
    fn the_table_of_who_may_what() {
        // Columns: owner, admin, member, reader.
        let table = [
            (Act::Send, [true, true, true, false]),
            (Act::Edit { own: true }, [true, true, true, false]),
            (Act::Edit { own: false }, [false; 4]),
            (Act::Delete { own: true }, [true, true, true, false]),
            (Act::Delete { own: false }, [true, true, false, false]),
            (Act::React, [true; 4]),
            (Act::Invite, [true, true, false, false]),
            (Act::Kick(Owner), [true, false, false, false]),
            (Act::Kick(Admin), [true, false, false, false]),
            (Act::Kick(Member), [true, true, false, false]),
            (Act::Kick(Reader), [true, true, false, false]),
            (Act::Leave, [true, true, true, true]),
        ];
        for (act, expected) in table {
            for kind in [Group, Channel] {
                for (role, expected) in [Owner, Admin, Member, Reader].into_iter().zip(expected) {
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
