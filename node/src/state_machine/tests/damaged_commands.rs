//! Commands whose bytes were changed: decoded the same way by owner and replica, or refused, and never with a panic.

use proptest::prelude::*;
use proptest::sample::Index;

use super::golden::commands;
use crate::state_machine::{CommandHeader, ShardCommand};

/// Change of encoded bytes.
#[derive(Clone, Debug)]
enum Damage {
    Flip(Index, u8),
    Set(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
}

// === impl Damage ===

impl Damage {
    fn happen(self, bytes: &mut Vec<u8>) {
        match self {
            Damage::Insert(at, more) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, more);
            }
            _ if bytes.is_empty() => {}
            Damage::Flip(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Damage::Set(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let damage = prop_oneof![
        (any::<Index>(), 0_u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        any::<Index>().prop_map(Damage::Cut),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 1..9))
            .prop_map(|(at, more)| Damage::Insert(at, more)),
    ];
    prop::collection::vec(damage, 1..5)
}

#[test]
fn damaged_commands_are_refused_or_read_alike_by_all() {
    let encoded: Vec<Vec<u8>> = commands()
        .iter()
        .map(|(command, _)| command.encode().to_vec())
        .collect();
    proptest!(ProptestConfig::with_cases(20_000), |(kind: Index, damages in damages())| {
        let mut bytes = kind.get(&encoded).clone();
        for damage in damages {
            damage.happen(&mut bytes);
        }
        // The owner checks, a replica decodes: what the one lets into the log, the other must be able to apply.
        let checked = CommandHeader::check(&bytes).is_ok();
        let decoded = ShardCommand::decode(&bytes);
        prop_assert!(!checked || decoded.is_ok(), "{:?}", decoded.err());
        if let Ok(command) = decoded {
            let again = ShardCommand::decode(&command.encode()).ok();
            prop_assert_eq!(again, Some(command));
        }
    });
}
