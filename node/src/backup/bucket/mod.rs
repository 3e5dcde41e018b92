//! Files of a target that is a prefix of a bucket, in any object storage that speaks S3.
//!
//! ```text
//!  the tool's thread → channel → one thread of its own: BucketClient → Connections (hyper, rustls)
//! ```
//!
//! An object exists with all of its bytes or not at all, so a name needs no rename. The longest object is a manifest, far
//! below the 5 GiB of one request, so nothing is uploaded in parts. At most [`AHEAD`] requests are in progress.

mod client;
mod connections;
mod location;
mod settings;
mod writer_lock;

pub(crate) use location::BucketLocation;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Runtime;

use self::client::BucketClient;
use self::settings::BucketSettings;
use self::writer_lock::WriterLock;
use super::BackupError;
use super::target::{ReadFile, StoredFile, TargetFiles};

/// Maximum number of requests in progress. With chunks of at most 16 MiB it also bounds the memory.
const AHEAD: usize = 8;

/// Files below a prefix of a bucket.
pub(super) struct BucketFiles {
    client: Arc<BucketClient>,
    /// Runs the requests, so that a caller within another runtime can block. `None` only while it is dropped.
    runtime: Option<Runtime>,
    /// Writes and removals in progress, in their order.
    changes: Mutex<VecDeque<InProgress<()>>>,
    /// Lengths of the chunks, from one listing.
    known: Mutex<Option<HashMap<String, u64>>>,
    lock: Option<Arc<WriterLock>>,
}

/// Request in progress, and the way of its result.
struct InProgress<T>(Receiver<Result<T, BackupError>>);

/// Files that are read ahead.
struct ReadAhead<'f> {
    files: &'f BucketFiles,
    rest: std::vec::IntoIter<(String, u64)>,
    begun: VecDeque<InProgress<Option<Vec<u8>>>>,
}

// === impl BucketFiles ===

impl BucketFiles {
    /// Opens a prefix for reading, with the settings of the environment.
    pub(super) fn open(location: &BucketLocation) -> Result<BucketFiles, BackupError> {
        let settings = BucketSettings::from(|name| std::env::var(name).ok())?;
        BucketFiles::with(location, settings)
    }

    /// Locks a prefix for writing. One without `format_file` must be empty.
    pub(super) fn lock(location: &BucketLocation, format_file: &str) -> Result<BucketFiles, BackupError> {
        BucketFiles::open(location)?.locked(format_file)
    }

    fn with(location: &BucketLocation, settings: BucketSettings) -> Result<BucketFiles, BackupError> {
        let client = Arc::new(BucketClient::new(location, settings)?);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("bucket")
            .enable_all()
            .build()
            .map_err(|error| client.failed("", error.to_string()))?;
        Ok(BucketFiles {
            client,
            runtime: Some(runtime),
            changes: Mutex::default(),
            known: Mutex::default(),
            lock: None,
        })
    }

    fn locked(mut self, format_file: &str) -> Result<BucketFiles, BackupError> {
        let client = self.client.clone();
        let listing = self.begin(async move { client.list("", false).await }).wait()?;
        let names = || {
            listing
                .files
                .iter()
                .map(|file| &file.name)
                .chain(&listing.folders)
        };
        if !names().any(|name| name == format_file)
            && let Some(foreign) = names().find(|name| *name != writer_lock::FOLDER)
        {
            return Err(BackupError::foreign(&self.path(""), foreign));
        }
        let client = self.client.clone();
        let lock = self.begin(WriterLock::acquire(client)).wait()?;
        let lock = Arc::new(lock);
        if let Some(runtime) = &self.runtime {
            runtime.spawn(lock.clone().renew());
        }
        self.lock = Some(lock);
        Ok(self)
    }

    fn begin<T: Send + 'static>(
        &self,
        request: impl Future<Output = Result<T, BackupError>> + Send + 'static,
    ) -> InProgress<T> {
        let (sender, receiver) = sync_channel(1);
        if let Some(runtime) = &self.runtime {
            // The receiver is gone if the caller has given up, and nobody wants the result.
            runtime.spawn(async move { drop(sender.send(request.await)) });
        }
        InProgress(receiver)
    }

    /// Adds a change; waits for the oldest one if too many are in progress.
    fn change(
        &self,
        request: impl Future<Output = Result<(), BackupError>> + Send + 'static,
    ) -> Result<(), BackupError> {
        let mut changes = self.changes.lock();
        if changes.len() >= AHEAD
            && let Some(oldest) = changes.pop_front()
        {
            oldest.wait()?;
        }
        changes.push_back(self.begin(request));
        Ok(())
    }
}

impl fmt::Debug for BucketFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BucketFiles").field(&self.path("")).finish()
    }
}

impl Drop for BucketFiles {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            // Best effort: a lock that stays is ignored once it is old.
            let _released = self.begin(async move { lock.release().await }).wait();
        }
        if let Some(runtime) = self.runtime.take() {
            // A plain drop would panic within another runtime.
            runtime.shutdown_background();
        }
    }
}

impl TargetFiles for BucketFiles {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(self.client.describe(name))
    }

    fn read(&self, name: &str, limit: u64) -> ReadFile {
        let (client, name) = (self.client.clone(), name.to_owned());
        self.begin(async move { client.get(&name, limit).await }).wait()
    }

    fn read_each(&self, files: Vec<(String, u64)>) -> Box<dyn Iterator<Item = ReadFile> + '_> {
        Box::new(ReadAhead {
            files: self,
            rest: files.into_iter(),
            begun: VecDeque::new(),
        })
    }

    fn top(&self) -> Result<Vec<String>, BackupError> {
        let client = self.client.clone();
        let listing = self.begin(async move { client.list("", false).await }).wait()?;
        Ok(listing.files.into_iter().map(|file| file.name).collect())
    }

    fn below(&self, folder: &str) -> Result<Vec<StoredFile>, BackupError> {
        let (client, folder) = (self.client.clone(), format!("{folder}/"));
        let listing = self
            .begin(async move { client.list(&folder, true).await })
            .wait()?;
        let files = listing.files.into_iter();
        Ok(files
            .map(|file| StoredFile {
                name: file.name,
                bytes: file.bytes,
            })
            .collect())
    }

    fn holds(&self, name: &str, bytes: u64) -> Result<bool, BackupError> {
        let mut known = self.known.lock();
        if known.is_none() {
            // One listing instead of a question for each chunk.
            let mut lengths = HashMap::new();
            for folder in ["chunks", "keys"] {
                lengths.extend(
                    self.below(folder)?
                        .into_iter()
                        .map(|file| (file.name, file.bytes)),
                );
            }
            *known = Some(lengths);
        }
        Ok(known.as_ref().and_then(|lengths| lengths.get(name)) == Some(&bytes))
    }

    fn write(&self, name: &str, bytes: Bytes) -> Result<(), BackupError> {
        if let Some(known) = self.known.lock().as_mut() {
            known.insert(name.to_owned(), bytes.len() as u64);
        }
        let (client, name) = (self.client.clone(), name.to_owned());
        self.change(async move { client.put(&name, bytes).await })
    }

    fn finish_writes(&self) -> Result<(), BackupError> {
        let changes: Vec<_> = self.changes.lock().drain(..).collect();
        // All of them, so that none is in progress behind an error.
        let done: Vec<_> = changes.into_iter().map(InProgress::wait).collect();
        done.into_iter().collect::<Result<(), _>>()?;
        match self.lock.clone() {
            Some(lock) => self.begin(async move { lock.check().await }).wait(),
            None => Ok(()),
        }
    }

    fn remove(&self, name: &str) -> Result<(), BackupError> {
        let (client, name) = (self.client.clone(), name.to_owned());
        self.change(async move { client.delete(&name).await })
    }
}

// === impl InProgress, ReadAhead ===

impl<T> InProgress<T> {
    fn wait(self) -> Result<T, BackupError> {
        let ended = |_| Err(BackupError::Refused("the request was given up".to_owned()));
        self.0.recv().unwrap_or_else(ended)
    }
}

impl Iterator for ReadAhead<'_> {
    type Item = ReadFile;

    fn next(&mut self) -> Option<ReadFile> {
        while self.begun.len() < AHEAD {
            let Some((name, limit)) = self.rest.next() else {
                break;
            };
            let client = self.files.client.clone();
            let reading = async move { client.get(&name, limit).await };
            self.begun.push_back(self.files.begin(reading));
        }
        self.begun.pop_front().map(InProgress::wait)
    }
}

#[cfg(test)]
mod tests;
