//! A consistent copy of a shard's state, on its way out.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::chunk::{Builder, HEADER, ROW};
use crate::columns::Column;
use crate::engine::Read;
use crate::inner::Inner;
use crate::{Error, Order, ShardId, Table, keys, recovery, tables};

/// A consistent copy, read chunk by chunk. Holds back the engine's garbage collection while it lives.
pub struct Export {
    inner: Arc<Inner>,
    shard: ShardId,
    rows: Box<dyn Read>,
    generation: u32,
    applied: Option<Bytes>,
    stream: u32,
    number: u32,
    /// Where the next chunk begins; `None` after the last one.
    next: Option<(usize, Vec<u8>)>,
}

// === impl Export ===

impl Export {
    pub(crate) fn new(inner: Arc<Inner>, shard: ShardId) -> Result<Export, Error> {
        let rows = inner.engine()?.snapshot()?;
        let generation = recovery::generation(&*rows, shard)?;
        let applied = rows.payload(Column::Hard, &keys::applied(shard, generation))?;
        let stream = crc32c::crc32c(applied.as_deref().unwrap_or_default());
        Ok(Export {
            inner,
            shard,
            rows,
            generation,
            applied,
            stream,
            number: 0,
            next: Some((0, Vec::new())),
        })
    }

    /// Returns the applied position of the copy.
    pub fn applied(&self) -> Option<Bytes> {
        self.applied.clone()
    }

    /// Returns the next self-describing chunk of about `max_bytes` (more only when one row is larger), `None` after
    /// the last. There is at least one.
    pub fn next_chunk(&mut self, max_bytes: usize) -> Result<Option<Bytes>, Error> {
        self.inner.health.check()?;
        let Some((mut slot, mut from)) = self.next.take() else {
            return Ok(None);
        };
        let mut builder = Builder::new(max_bytes.min(1 << 20));
        while let Some(table) = Table::ALL.get(slot) {
            if let Some(rest) = self.fill(&mut builder, *table, &from, max_bytes)? {
                self.next = Some((slot, rest));
                break;
            }
            slot += 1;
            from.clear();
        }
        let chunk = builder.finish(self.stream, self.number, self.next.is_none());
        self.number += 1;
        Ok(Some(chunk.into()))
    }

    /// Adds rows of a table until the chunk is full; returns the key of the first row that did not fit.
    fn fill(
        &self,
        builder: &mut Builder,
        table: Table,
        from: &[u8],
        max_bytes: usize,
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut rest = None;
        let mut some = builder.len() > HEADER;
        tables::visit(
            &*self.rows,
            self.shard,
            self.generation,
            table,
            from..&[],
            Order::Ascending,
            &mut |key, value| {
                if some && builder.len() + ROW + key.len() + value.len() > max_bytes {
                    rest = Some(key.to_vec());
                    return Ok(ControlFlow::Break(()));
                }
                builder.push(table, key, value);
                some = true;
                Ok(ControlFlow::Continue(()))
            },
        )?;
        Ok(rest)
    }
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export")
            .field("shard", &self.shard)
            .field("chunks", &self.number)
            .finish_non_exhaustive()
    }
}
