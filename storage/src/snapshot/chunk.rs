//! Encoding and decoding of a snapshot chunk.

use crate::{Error, TableCatalog, TableId};

const MAGIC: &[u8; 4] = b"RKS1";

/// Bytes of a chunk before its first row.
pub(super) const HEADER: usize = 4 + 4 + 4 + 4 + 1;

/// Bytes of a row besides its key and value.
pub(super) const ROW: usize = 1 + 4 + 4;

/// Builds a chunk, row by row.
pub(super) struct Builder {
    bytes: Vec<u8>,
}

/// A chunk whose checksum matched.
#[derive(Debug)]
pub(super) struct Chunk<'b> {
    pub(super) stream: u32,
    pub(super) number: u32,
    pub(super) last: bool,
    rows: &'b [u8],
}

/// A row of a chunk: table, key and value.
pub(super) type SnapshotRow<'b> = (TableId, &'b [u8], &'b [u8]);

// === impl Builder ===

impl Builder {
    pub(super) fn new(capacity: usize) -> Builder {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.resize(HEADER, 0);
        Builder { bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn push(&mut self, table: TableId, key: &[u8], value: &[u8]) {
        self.bytes.push(table.number());
        self.bytes.extend_from_slice(&length(key).to_be_bytes());
        self.bytes.extend_from_slice(&length(value).to_be_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
    }

    pub(super) fn push_bytes(&mut self, rows: &[u8]) {
        self.bytes.extend_from_slice(rows);
    }

    pub(super) fn finish(mut self, stream: u32, number: u32, last: bool) -> Vec<u8> {
        self.bytes[..4].copy_from_slice(MAGIC);
        self.bytes[8..12].copy_from_slice(&stream.to_be_bytes());
        self.bytes[12..16].copy_from_slice(&number.to_be_bytes());
        self.bytes[16] = u8::from(last);
        let crc = crc32c::crc32c(&self.bytes[8..]);
        self.bytes[4..8].copy_from_slice(&crc.to_be_bytes());
        self.bytes
    }
}

fn length(part: &[u8]) -> u32 {
    u32::try_from(part.len()).expect("a key or value is below 4 GiB: RocksDB takes no larger one")
}

// === impl Chunk ===

impl<'b> Chunk<'b> {
    /// Checks the magic and the checksum of a chunk.
    pub(super) fn parse(bytes: &'b [u8]) -> Result<Chunk<'b>, Error> {
        let mut rest = bytes;
        if take(&mut rest, 4)? != MAGIC {
            return Err(damaged("not a chunk of this format"));
        }
        // Checked before anything else is read: a flipped bit in a length must not turn into another set of rows.
        if number(&mut rest)? != crc32c::crc32c(rest) {
            return Err(damaged("checksum does not match"));
        }
        let (stream, number) = (number(&mut rest)?, number(&mut rest)?);
        let last = take(&mut rest, 1)? != [0];
        Ok(Chunk {
            stream,
            number,
            last,
            rows: rest,
        })
    }

    /// Returns the next row, of one of these tables; `None` after the last.
    pub(super) fn next_row(&mut self, tables: TableCatalog) -> Result<Option<SnapshotRow<'b>>, Error> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let table = take(&mut self.rows, 1)?[0];
        // An unknown table must fail the import: skipping it would silently drop a part of the state.
        let table = tables
            .find(table)
            .ok_or_else(|| damaged("a table that this version does not support"))?;
        let (key, value) = (number(&mut self.rows)?, number(&mut self.rows)?);
        Ok(Some((
            table,
            take(&mut self.rows, key as usize)?,
            take(&mut self.rows, value as usize)?,
        )))
    }
}

fn take<'b>(rest: &mut &'b [u8], count: usize) -> Result<&'b [u8], Error> {
    let (taken, left) = rest
        .split_at_checked(count)
        .ok_or_else(|| damaged("it is truncated"))?;
    *rest = left;
    Ok(taken)
}

fn number(rest: &mut &[u8]) -> Result<u32, Error> {
    let bytes = take(rest, 4)?
        .try_into()
        .map_err(|_| damaged("it is truncated"))?;
    Ok(u32::from_be_bytes(bytes))
}

fn damaged(why: &str) -> Error {
    Error::Corrupt(format!("snapshot chunk: {why}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: TableId = TableId::new(3, "msg");
    const TABLES: TableCatalog = TableCatalog::new(&[MESSAGE]);

    fn sample() -> Vec<u8> {
        let mut builder = Builder::new(64);
        builder.push(MESSAGE, b"key", b"value");
        builder.finish(7, 2, true)
    }

    #[test]
    fn golden_bytes_of_a_chunk() {
        let mut expected = b"RKS1".to_vec();
        expected.extend_from_slice(&[0x1b, 0x30, 0x91, 0x20]);
        expected.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 2, 1, 3, 0, 0, 0, 3, 0, 0, 0, 5]);
        expected.extend_from_slice(b"keyvalue");
        assert_eq!(sample(), expected);
    }

    #[test]
    fn a_chunk_is_read_back() {
        let bytes = sample();
        let mut chunk = Chunk::parse(&bytes).unwrap();
        assert_eq!((chunk.stream, chunk.number, chunk.last), (7, 2, true));
        assert_eq!(
            chunk.next_row(TABLES).unwrap(),
            Some((MESSAGE, &b"key"[..], &b"value"[..]))
        );
        assert_eq!(chunk.next_row(TABLES).unwrap(), None);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_detected() {
        let bytes = sample();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(Chunk::parse(&damaged), Err(Error::Corrupt(_))),
                "bit {bit}"
            );
        }
        for end in 0..bytes.len() {
            assert!(Chunk::parse(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
