//! Record envelope around each stored value.
//!
//! ```text
//!  0         1                     5
//!  | version | CRC32C, big-endian  | payload ...
//! ```
//!
//! The checksum covers the family's number, the key, the version and the payload. A value that appears under another
//! key is therefore as corrupt as one with a flipped bit. RocksDB's block checksums cover the disk only; this one
//! covers the whole way from the writer of a value to its reader.

use bytes::Bytes;

use crate::Error;
use crate::columns::Column;

/// Version that is written. Versions up to this one are read.
pub(crate) const VERSION: u8 = 1;

/// Bytes before the payload.
pub(crate) const HEADER: usize = 5;

/// Returns the stored form of a payload.
pub(crate) fn seal(column: Column, key: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER + payload.len());
    value.push(VERSION);
    value.extend_from_slice(&checksum(column, key, VERSION, payload).to_be_bytes());
    value.extend_from_slice(payload);
    value
}

/// Returns the checked payload of a record.
///
/// # Errors
/// `Error::Corrupt` if the checksum does not match, `Error::Newer` for a record of a later version.
pub(crate) fn open(column: Column, key: &[u8], value: Bytes) -> Result<Bytes, Error> {
    check(column, key, &value)?;
    Ok(value.slice(HEADER..))
}

/// Same as [`open`] for borrowed bytes.
pub(crate) fn open_slice<'v>(column: Column, key: &[u8], value: &'v [u8]) -> Result<&'v [u8], Error> {
    check(column, key, value)?;
    Ok(&value[HEADER..])
}

fn check(column: Column, key: &[u8], value: &[u8]) -> Result<(), Error> {
    let Some((header, payload)) = value.split_first_chunk::<HEADER>() else {
        return Err(corrupt(column, key, "record is too short"));
    };
    let [version, crc @ ..] = *header;
    // The checksum comes first: a flipped bit in the version must be reported as damage and not as a newer version.
    if u32::from_be_bytes(crc) != checksum(column, key, version, payload) {
        return Err(corrupt(column, key, "checksum does not match"));
    }
    if version > VERSION {
        return Err(Error::Newer {
            found: u32::from(version),
            supported: u32::from(VERSION),
        });
    }
    Ok(())
}

fn checksum(column: Column, key: &[u8], version: u8, payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&[column.number()]);
    let crc = crc32c::crc32c_append(crc, key);
    let crc = crc32c::crc32c_append(crc, &[version]);
    crc32c::crc32c_append(crc, payload)
}

/// Returns an `Error::Corrupt` that names the damaged row by family and key.
pub(crate) fn corrupt(column: Column, key: &[u8], why: &str) -> Error {
    // Clipped: a user-defined key can be long, and the error goes into the log.
    let hex: String = key.iter().take(48).map(|byte| format!("{byte:02x}")).collect();
    Error::Corrupt(format!("{why}: family {}, key {hex}", column.name()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_a_record() {
        let value = seal(Column::Log, b"key", b"payload");
        assert_eq!(
            value,
            [
                1, 0x3f, 0x4c, 0x95, 0xc2, b'p', b'a', b'y', b'l', b'o', b'a', b'd'
            ]
        );
    }

    #[test]
    fn every_flipped_bit_is_detected() {
        let value = seal(Column::Hard, b"key", b"payload");
        for bit in 0..value.len() * 8 {
            let mut damaged = value.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(open_slice(Column::Hard, b"key", &damaged), Err(Error::Corrupt(_))),
                "bit {bit}"
            );
        }
        for length in 0..value.len() {
            assert!(
                open_slice(Column::Hard, b"key", &value[..length]).is_err(),
                "length {length}"
            );
        }
    }

    #[test]
    fn a_value_under_another_key_or_family_is_corrupt() {
        let value = Bytes::from(seal(Column::Hard, b"key", b"payload"));
        assert_eq!(open(Column::Hard, b"key", value.clone()).unwrap(), "payload");
        assert!(open(Column::Hard, b"kez", value.clone()).is_err());
        assert!(open(Column::Log, b"key", value).is_err());
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_are_no_record(key: Vec<u8>, value: Vec<u8>) {
            // A checksum that is right by accident has one chance in four billion.
            proptest::prop_assert!(open_slice(Column::Log, &key, &value).is_err());
            let sealed = seal(Column::Log, &key, &value);
            proptest::prop_assert_eq!(open_slice(Column::Log, &key, &sealed).ok(), Some(&value[..]));
        }
    }

    #[test]
    fn a_newer_version_is_refused_as_newer() {
        let mut value = vec![VERSION + 1];
        value.extend_from_slice(&checksum(Column::Log, b"k", VERSION + 1, b"p").to_be_bytes());
        value.push(b'p');
        assert!(matches!(
            open_slice(Column::Log, b"k", &value),
            Err(Error::Newer {
                found: 2,
                supported: 1
            })
        ));
    }
}
