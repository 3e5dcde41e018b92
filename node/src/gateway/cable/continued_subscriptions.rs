//! Gateway state of a connection: the subscriptions that the next connection of the client continues. Pure.
//!
//! It travels with the session between nodes, which may run different versions. Layout: the format, 1 byte; then a
//! sequence of identifier and position, in the encoding of the messages between nodes.

use bytes::Bytes;

/// The only format so far, which the states of other gateways do not have. A state of another format is not continued:
/// its client subscribes anew.
const FORMAT: u8 = b'C';

/// Encodes subscriptions, each with its identifier and the position at its confirmation.
pub(super) fn encode(subscriptions: &[(&str, u64)]) -> Bytes {
    // Texts and numbers are always encodable; without a state the client subscribes anew.
    postcard::to_extend(subscriptions, vec![FORMAT])
        .unwrap_or_default()
        .into()
}

/// Decodes subscriptions. None, if the state is of another format.
pub(super) fn decode(state: &[u8]) -> Vec<(&str, u64)> {
    match state.split_first() {
        Some((&FORMAT, subscriptions)) => postcard::from_bytes(subscriptions).unwrap_or_default(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn state_of_a_connection_is_frozen() {
        let state = encode(&[("{}", 300), ("i", 0)]);
        assert_eq!(state[..], [b'C', 2, 2, b'{', b'}', 0xac, 2, 1, b'i', 0]);
        assert_eq!(decode(&state), [("{}", 300), ("i", 0)]);
        assert_eq!(decode(&[2, 1, 1, b'i', 0]), []);
    }

    proptest! {
        #[test]
        fn subscriptions_survive_the_transfer(texts in prop::collection::vec((any::<String>(), any::<u64>()), 0..9)) {
            let borrowed: Vec<(&str, u64)> = texts.iter().map(|(text, start)| (&**text, *start)).collect();
            let state = encode(&borrowed);
            prop_assert_eq!(decode(&state), borrowed);
        }

        #[test]
        fn any_bytes_are_decoded_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
            let _subscriptions = decode(&bytes);
        }
    }
}
