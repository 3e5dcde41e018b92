//! Lock of a prefix for one writing tool, as an object with the time of its last renewal.
//!
//! A tool writes an object of its own and then lists those of others: of two tools that begin at once each sees the
//! other, and none goes on. A tool that died leaves its object, which counts for [`STALE`]. Times are those of the
//! server, which dates all objects by one clock.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::Instant;

use super::client::{BucketClient, ListedObject};
use crate::backup::BackupError;

/// Folder of the locks.
pub(super) const FOLDER: &str = "locks";
/// Interval of the renewals.
const RENEWAL: Duration = Duration::from_secs(120);
/// Age from which a lock counts no more.
const STALE: Duration = Duration::from_secs(1_800);
/// Time without a renewal after which the tool writes no manifest: well before others ignore its lock.
const DOUBTFUL: Duration = Duration::from_secs(900);

/// Lock of this tool.
pub(super) struct WriterLock {
    client: Arc<BucketClient>,
    name: String,
    renewed: parking_lot::Mutex<Instant>,
}

// === impl WriterLock ===

impl WriterLock {
    /// Locks the prefix.
    ///
    /// # Errors
    /// Another tool writes there.
    pub(super) async fn acquire(client: Arc<BucketClient>) -> Result<WriterLock, BackupError> {
        let lock = WriterLock {
            name: format!("{FOLDER}/{:016x}", rand::random::<u64>()),
            client,
            renewed: parking_lot::Mutex::new(Instant::now()),
        };
        lock.write().await?;
        let (others, stale) = lock.others().await?;
        if let Some(other) = others.first() {
            lock.release().await?;
            return Err(BackupError::Refused(format!(
                "{} is locked since {}: another backup is running; the lock of one that died counts for {} minutes",
                lock.client.describe(""),
                other.modified,
                STALE.as_secs() / 60,
            )));
        }
        for old in stale {
            lock.client.delete(&old.name).await?;
        }
        Ok(lock)
    }

    /// Renews the lock until the runtime ends.
    pub(super) async fn renew(self: Arc<WriterLock>) {
        loop {
            tokio::time::sleep(RENEWAL).await;
            // A failure shows in `check`, which asks for the time of the last success.
            drop(self.write().await);
        }
    }

    /// Checks that nobody else can take the prefix for free.
    ///
    /// # Errors
    /// The lock was not renewed in time, or was removed.
    pub(super) async fn check(&self) -> Result<(), BackupError> {
        let (_, own) = self.list().await?;
        if own.is_some() && self.renewed.lock().elapsed() < DOUBTFUL {
            return Ok(());
        }
        Err(BackupError::Refused(format!(
            "{}: the lock was removed or could not be renewed, so that another tool may have written meanwhile: repeat the \
             command",
            self.client.describe("")
        )))
    }

    pub(super) async fn release(&self) -> Result<(), BackupError> {
        self.client.delete(&self.name).await
    }

    async fn write(&self) -> Result<(), BackupError> {
        let began = Instant::now();
        self.client
            .put(&self.name, Bytes::from_static(b"rookery backup\n"))
            .await?;
        *self.renewed.lock() = began;
        Ok(())
    }

    /// Returns the locks of other tools, those that count and those that are too old.
    async fn others(&self) -> Result<(Vec<ListedObject>, Vec<ListedObject>), BackupError> {
        let (others, own) = self.list().await?;
        let Some(now) = own.as_ref().and_then(written) else {
            let reason = "the lock that was just written is not listed".to_owned();
            return Err(self.client.failed(&self.name, reason));
        };
        let counts = |other: &ListedObject| {
            // A time that cannot be read counts as now.
            written(other).is_none_or(|at| now.duration_since(at).unwrap_or_default() < STALE)
        };
        Ok(others.into_iter().partition(counts))
    }

    /// Returns the locks of other tools, and this one.
    async fn list(&self) -> Result<(Vec<ListedObject>, Option<ListedObject>), BackupError> {
        let listing = self.client.list(&format!("{FOLDER}/"), true).await?;
        let (mut own, others) = listing
            .files
            .into_iter()
            .partition::<Vec<_>, _>(|file| file.name == self.name);
        Ok((others, own.pop()))
    }
}

fn written(object: &ListedObject) -> Option<SystemTime> {
    humantime::parse_rfc3339(&object.modified).ok()
}
