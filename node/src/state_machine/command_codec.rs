//! Encoding of commands: the macro that turns the table of commands into its types, and the check of a payload without
//! a copy.
//!
//! [`commands!`] generates, from one row per command, the frozen number, the feature level, the variant of the
//! operation and the codec of its payload. A payload is the fields in the order of the row, each in postcard.

use protocol::{
    ClientMessageId, ConversationId, ConversationKind, GroupInvite, HistoryVisibility, Role, UserId,
};
use serde::Deserialize;

use super::api_keys::{ApiKeyId, KeyScopes};
use super::command::ActivityNote;
use super::consent::AdditionLimits;
use super::device_cursors::DeviceCursors;
use super::erasure::{ErasedMessages, ErasureId, ErasureStep};
use super::login::{AttemptLimit, KeyRotationPolicy, LoginCodeId, SecretBytes, TokenFamilyId};
use super::outcome::OutboxId;

/// Field of a payload that can be checked without being copied.
pub(super) trait PayloadField {
    /// Checks the field at the start of `bytes` and returns the bytes behind it.
    fn check(bytes: &[u8]) -> postcard::Result<&[u8]>;
}

// === impl PayloadField ===

macro_rules! decoded {
    ($($type:ty),* $(,)?) => {$(
        impl PayloadField for $type {
            fn check(bytes: &[u8]) -> postcard::Result<&[u8]> {
                behind::<$type>(bytes)
            }
        }
    )*};
}

// Types without memory of their own, and one that only the node itself sends.
decoded!(
    bool,
    u16,
    u32,
    u64,
    ActivityNote,
    AdditionLimits,
    ApiKeyId,
    AttemptLimit,
    ConversationKind,
    ErasedMessages,
    ErasureId,
    ErasureStep,
    GroupInvite,
    HistoryVisibility,
    KeyRotationPolicy,
    KeyScopes,
    LoginCodeId,
    OutboxId,
    Role,
    SecretBytes,
    TokenFamilyId,
);

macro_rules! borrowed {
    ($($type:ty => $valid:expr),* $(,)?) => {$(
        impl PayloadField for $type {
            fn check(bytes: &[u8]) -> postcard::Result<&[u8]> {
                let (text, rest) = postcard::take_from_bytes::<&str>(bytes)?;
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(rest) } else { Err(postcard::Error::SerdeDeCustom) }
            }
        }
    )*};
}

borrowed!(
    Box<str> => |_| true,
    String => |_| true,
    UserId => UserId::is_valid,
    ConversationId => ConversationId::is_valid,
    ClientMessageId => ClientMessageId::is_valid,
);

impl<T: PayloadField> PayloadField for Option<T> {
    fn check(bytes: &[u8]) -> postcard::Result<&[u8]> {
        match bytes.split_first() {
            Some((0, rest)) => Ok(rest),
            Some((1, rest)) => T::check(rest),
            Some(_) => Err(postcard::Error::DeserializeBadOption),
            None => Err(postcard::Error::DeserializeUnexpectedEnd),
        }
    }
}

impl<T: PayloadField> PayloadField for Vec<T> {
    fn check(bytes: &[u8]) -> postcard::Result<&[u8]> {
        let (len, mut rest) = postcard::take_from_bytes::<usize>(bytes)?;
        for _ in 0..len {
            rest = T::check(rest)?;
        }
        Ok(rest)
    }
}

impl<A: PayloadField, B: PayloadField> PayloadField for (A, B) {
    fn check(bytes: &[u8]) -> postcard::Result<&[u8]> {
        B::check(A::check(bytes)?)
    }
}

impl PayloadField for DeviceCursors {
    fn check(bytes: &[u8]) -> postcard::Result<&[u8]> {
        let rest = behind::<&[u8]>(bytes)?;
        Vec::<(ConversationId, u64)>::check(rest)
    }
}

fn behind<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> postcard::Result<&'a [u8]> {
    Ok(postcard::take_from_bytes::<T>(bytes)?.1)
}

/// Declares the commands of every group: `Name = number, level first_level, MembershipRule { fields }`.
macro_rules! commands {
    ($(
        $(#[$ops_doc:meta])*
        $ops:ident in $group:ident {
            $(
                $(#[$doc:meta])*
                $op:ident = $number:literal, level $level:literal, $rule:ident
                    $({ $( $(#[$field_doc:meta])* $field:ident: $type:ty ),* $(,)? })?
            );* $(;)?
        }
    )*) => {
        /// Kind of a command, by its number on disk and between nodes. A number is never used again.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum CommandKind {
            $($( $op = $number, )*)*
        }

        /// Group of commands: the kind of rows that they change.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum CommandGroup {
            $( $group, )*
        }

        impl CommandKind {
            /// All kinds, in the order of their numbers.
            #[cfg(any(test, feature = "testkit"))]
            pub const ALL: &'static [CommandKind] = &[ $($( CommandKind::$op, )*)* ];

            /// Returns the kind with that number; `None` for a number of a newer node.
            #[must_use]
            pub fn from_number(number: u8) -> Option<CommandKind> {
                match number {
                    $($( $number => Some(CommandKind::$op), )*)*
                    _ => None,
                }
            }

            /// Returns the first feature level at which an owner may propose the command.
            #[must_use]
            pub fn first_level(self) -> cluster::FeatureLevel {
                match self {
                    $($( CommandKind::$op => cluster::FeatureLevel($level), )*)*
                }
            }

            /// Returns the condition on the user's membership.
            pub(crate) fn membership_rule(self) -> MembershipRule {
                match self {
                    $($( CommandKind::$op => MembershipRule::$rule, )*)*
                }
            }

            pub(crate) fn group(self) -> CommandGroup {
                match self {
                    $($( CommandKind::$op => CommandGroup::$group, )*)*
                }
            }

            /// Checks that `payload` is decodable for the kind, without copying it.
            pub(super) fn check_payload(self, payload: &[u8]) -> postcard::Result<()> {
                let rest = payload;
                let rest = match self {
                    $($( CommandKind::$op => {
                        $($( let rest = <$type as PayloadField>::check(rest)?; )*)?
                        rest
                    } )*)*
                };
                // Bytes behind the payload are of a newer format, which this node would apply without them.
                if rest.is_empty() { Ok(()) } else { Err(postcard::Error::DeserializeBadEncoding) }
            }
        }

        $(
            $(#[$ops_doc])*
            #[derive(Clone, PartialEq, Debug)]
            pub enum $ops {
                $( $(#[$doc])* $op $({ $( $(#[$field_doc])* $field: $type ),* })? ),*
            }

            impl $ops {
                /// Returns the kind of the command.
                #[must_use]
                pub fn kind(&self) -> CommandKind {
                    match self {
                        $( $ops::$op { .. } => CommandKind::$op, )*
                    }
                }

                /// Appends the payload to `bytes`.
                pub(super) fn encode_payload(&self, bytes: Vec<u8>) -> postcard::Result<Vec<u8>> {
                    match self {
                        $( $ops::$op $({ $($field),* })? => postcard::to_extend(&( $( $($field,)* )? ), bytes), )*
                    }
                }

                /// Decodes the payload of a kind of this group.
                pub(super) fn decode_payload(kind: CommandKind, payload: &[u8]) -> postcard::Result<$ops> {
                    match kind {
                        $( CommandKind::$op => {
                            let (fields, rest) = postcard::take_from_bytes::<( $( $($type,)* )? )>(payload)?;
                            if !rest.is_empty() {
                                return Err(postcard::Error::DeserializeBadEncoding);
                            }
                            Ok(commands!(@build $ops $op fields $({ $($field),* })?))
                        } )*
                        // The caller selects the type by the group of the kind.
                        _ => Err(postcard::Error::WontImplement),
                    }
                }
            }
        )*
    };
    (@build $ops:ident $op:ident $fields:ident { $($field:ident),* }) => {{
        let ($($field,)*) = $fields;
        $ops::$op { $($field),* }
    }};
    (@build $ops:ident $op:ident $fields:ident) => {{
        let () = $fields;
        $ops::$op
    }};
}

pub(super) use commands;
