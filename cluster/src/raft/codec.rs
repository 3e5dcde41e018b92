//! Encoding of Raft records: a version byte, then openraft's own types in postcard.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Version of the encoding, increased when the form of any record changes. A node refuses records of any other version.
const VERSION: u8 = 3;

/// Encodes a record behind its version.
///
/// # Errors
/// Never for this crate's types; the signature is postcard's.
pub(crate) fn encode<T: Serialize>(record: &T) -> Result<Bytes, io::Error> {
    let mut writer = BytesMut::with_capacity(128).writer();
    writer.get_mut().put_u8(VERSION);
    postcard::to_io(record, &mut writer).map_err(io::Error::other)?;
    Ok(writer.into_inner().freeze())
}

/// Decodes a record.
///
/// # Errors
/// If the bytes have another version or are damaged.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, io::Error> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|e| invalid(e.to_string())),
        Some((version, _)) => Err(invalid(format!("record version {version}, expected {VERSION}"))),
        None => Err(invalid("empty record".to_owned())),
    }
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openraft::raft::{AppendEntriesRequest, VoteRequest};
    use openraft::{EntryPayload, LogId as RaftLogId};

    use super::*;
    use crate::ids::{FeatureLevel, NodeId};
    use crate::raft::{Entry, LogId, Proposal, TypeConfig, Vote};

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(garbage in proptest::collection::vec(proptest::num::u8::ANY, 0..256)) {
            let mut bytes = vec![VERSION];
            bytes.extend_from_slice(&garbage);
            // Whether it decodes does not matter; a length that is only stated must not be allocated.
            drop(decode::<Entry>(&bytes));
            drop(decode::<AppendEntriesRequest<TypeConfig>>(&bytes));
            drop(decode::<VoteRequest<TypeConfig>>(&bytes));
            drop(decode::<crate::raft::state_machine::AppliedPosition>(&bytes));
            bytes[0] = VERSION + 1;
            proptest::prop_assert!(decode::<Entry>(&bytes).is_err());
        }
    }

    fn log_id(term: u64, index: u64) -> LogId {
        RaftLogId {
            leader_id: openraft::vote::leader_id_std::CommittedLeaderId::new(term),
            index,
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn batch() -> Entry {
        let proposal = Proposal::Batch {
            epoch: 7,
            level: FeatureLevel(1),
            now_ms: 300,
            reached_ms: 299,
            commands: Bytes::from_static(b"ab"),
        };
        Entry {
            log_id: log_id(3, 9),
            payload: EntryPayload::Normal(proposal),
        }
    }

    #[test]
    fn records_keep_their_bytes() {
        let takeover = Proposal::Takeover {
            node: NodeId(2),
            incarnation: 5,
        };
        let takeover = Entry {
            log_id: log_id(1, 2),
            payload: EntryPayload::Normal(takeover),
        };
        let blank = Entry {
            log_id: log_id(1, 1),
            payload: EntryPayload::Blank,
        };
        for (bytes, golden) in [
            (encode(&Vote::new_committed(4, 2)), "0304010201"),
            (encode(&blank), "03010100"),
            (encode(&takeover), "03010201000205"),
            (encode(&batch()), "03030901010701ac02ab02026162"),
        ] {
            assert_eq!(hex(&bytes.unwrap()), golden);
        }
    }

    #[test]
    fn records_are_read_back() {
        let request = AppendEntriesRequest::<TypeConfig> {
            vote: Vote::new_committed(4, 2),
            prev_log_id: Some(log_id(3, 8)),
            entries: vec![batch()],
            leader_commit: None,
        };
        let back: AppendEntriesRequest<TypeConfig> = decode(&encode(&request).unwrap()).unwrap();
        assert_eq!(
            (back.vote, back.prev_log_id, back.entries),
            (request.vote, request.prev_log_id, request.entries)
        );
        let vote = VoteRequest::<TypeConfig>::new(Vote::new(4, 2), None);
        assert_eq!(
            decode::<VoteRequest<TypeConfig>>(&encode(&vote).unwrap()).unwrap(),
            vote
        );
    }

    #[test]
    fn another_version_is_refused() {
        let mut bytes = encode(&batch()).unwrap().to_vec();
        bytes[0] = VERSION + 1;
        assert!(
            decode::<Entry>(&bytes)
                .unwrap_err()
                .to_string()
                .contains("version 4")
        );
        assert!(decode::<Entry>(&[]).is_err());
    }
}
