//! Frames between a coordinator and its workers: four bytes of length, big endian, and that many bytes of JSON.
//!
//! A frame above the limit ends the connection before it is read. Each connection has two tasks, one for each
//! direction.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::mpsc;

/// Maximum size of a frame in bytes. A worker's last one holds its histograms and the end of its history.
pub(super) const MOST: u32 = 64 << 20;
/// Maximum size of the first frame, from an unauthenticated worker, in bytes.
pub(super) const FIRST: u32 = 64 << 10;
/// Number of queued frames; senders of further ones wait.
const WAITING: usize = 64;

/// Reason for the end of a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("disconnected: {0}")]
    Gone(#[from] io::Error),
    #[error("sent a frame of {0} bytes, more than {1}")]
    TooLong(u32, u32),
    #[error("sent a frame that this version does not support: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// Sending half of a connection; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Out {
    frames: mpsc::Sender<Vec<u8>>,
}

/// Reads one frame of at most `most` bytes.
pub(super) async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
    most: u32,
) -> Result<T, Error> {
    let length = stream.read_u32().await?;
    if length > most {
        return Err(Error::TooLong(length, most));
    }
    // The buffer grows with the received bytes: an announced length alone allocates nothing.
    let mut bytes = Vec::new();
    let read = stream.take(u64::from(length)).read_to_end(&mut bytes).await?;
    if read < length as usize {
        return Err(Error::Gone(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(serde_json::from_slice(&bytes)?)
}

/// Writes one frame to the stream.
pub(super) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
) -> Result<(), Error> {
    stream.write_all(&frame(message)?).await?;
    Ok(())
}

fn frame(message: &impl Serialize) -> Result<Vec<u8>, Error> {
    // Room for the length, which is known only after the serialization.
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = (frame.len() - 4) as u32;
    // Checked by the sender, because the receiver would close the connection.
    if length > MOST {
        return Err(Error::TooLong(length, MOST));
    }
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// Splits a connection. A task writes the frames of [`Out`] and ends with its last clone.
pub(super) fn split(stream: TcpStream) -> (OwnedReadHalf, Out) {
    let (reader, mut writer) = stream.into_split();
    let (frames, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING);
    tokio::task::spawn_local(async move {
        while let Some(frame) = waiting.recv().await {
            // The reading half detects the end of the connection as well, and reports the reason.
            if writer.write_all(&frame).await.is_err() {
                return;
            }
        }
    });
    (reader, Out { frames })
}

// === impl Out ===

impl Out {
    /// Queues a message, and waits for room. A closed connection discards it.
    pub(super) async fn say(&self, message: &impl Serialize) {
        if let Ok(frame) = frame(message) {
            let _ = self.frames.send(frame).await;
        }
    }

    /// Queues a message, or discards it if the queue is full.
    pub(super) fn mention(&self, message: &impl Serialize) {
        if let Ok(frame) = frame(message) {
            let _ = self.frames.try_send(frame);
        }
    }

    /// Waits until the writer task has received every queued frame. It may still be writing the last one.
    pub(super) async fn flush(&self) {
        // The whole capacity is free only when the queue is empty.
        let _all = self.frames.reserve_many(WAITING).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(test)
    }

    #[test]
    fn frames_are_read_as_they_were_written() {
        run(async {
            let mut bytes = Vec::new();
            for number in [1u64, u64::MAX] {
                write(&mut bytes, &vec![number]).await.unwrap();
            }
            assert_eq!(bytes[..4], [0, 0, 0, 3], "big endian, without itself");
            let mut stream = &bytes[..];
            for number in [1, u64::MAX] {
                assert_eq!(read::<Vec<u64>>(&mut stream, MOST).await.unwrap(), [number]);
            }
            assert!(matches!(
                read::<Vec<u64>>(&mut stream, MOST).await,
                Err(Error::Gone(_))
            ));
        });
    }

    #[test]
    fn a_frame_that_is_too_long_cut_short_or_no_json_ends_the_link() {
        run(async {
            let long = [0xff, 0xff, 0xff, 0xff, b'1'];
            assert!(matches!(
                read::<u64>(&mut &long[..], MOST).await,
                Err(Error::TooLong(..))
            ));
            let short = [0, 0, 0, 9, b'1'];
            assert!(matches!(
                read::<u64>(&mut &short[..], MOST).await,
                Err(Error::Gone(_))
            ));
            let other = [0, 0, 0, 2, b'{', b'}'];
            assert!(matches!(
                read::<u64>(&mut &other[..], MOST).await,
                Err(Error::Malformed(_))
            ));
        });
    }
}
