//! Mutations of an input.

use proptest::sample::Index;

/// Change of an input at a position.
#[derive(Clone, Debug)]
pub(crate) enum Mutation {
    Set(Index, u8),
    Flip(Index, u8),
    /// Removes this many bytes.
    Remove(Index, usize),
    /// Inserts this many bytes again, so many times.
    Repeat(Index, usize, usize),
    /// Inserts a token, so many times.
    Insert(Index, &'static [u8], usize),
    /// Goes on with another input from a position in that one.
    Splice(Index, &'static [u8], Index),
    /// Ends the input here.
    Cut(Index),
}

/// Changes an input.
pub(crate) fn mutate(input: &mut Vec<u8>, mutation: &Mutation) {
    match mutation {
        Mutation::Set(at, byte) => {
            let at = position(input, at);
            if let Some(known) = input.get_mut(at) {
                *known = *byte;
            }
        }
        Mutation::Flip(at, bit) => {
            let at = position(input, at);
            if let Some(known) = input.get_mut(at) {
                *known ^= 1 << bit;
            }
        }
        Mutation::Remove(at, count) => {
            let at = position(input, at);
            let end = input.len().min(at + count);
            input.drain(at..end);
        }
        Mutation::Repeat(at, count, times) => {
            let at = position(input, at);
            let end = input.len().min(at + count);
            let part = input[at..end].repeat(*times);
            input.splice(at..at, part);
        }
        Mutation::Insert(at, token, times) => {
            let at = position(input, at);
            input.splice(at..at, token.repeat(*times));
        }
        Mutation::Splice(at, other, from) => {
            input.truncate(position(input, at));
            input.extend(&other[position(other, from)..]);
        }
        Mutation::Cut(at) => input.truncate(position(input, at)),
    }
}

/// Returns a position in an input, the end included.
fn position(input: &[u8], at: &Index) -> usize {
    at.index(input.len() + 1)
}
