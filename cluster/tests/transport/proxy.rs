//! A TCP proxy between two nodes that can bend, freeze or swallow what passes through it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Bend = Box<dyn FnOnce(&mut Vec<u8>) + Send>;

/// The faults of a proxy; a cheap handle.
#[derive(Clone, Default)]
pub(crate) struct Proxy(Arc<Faults>);

#[derive(Default)]
struct Faults {
    /// Applied once, to the next bytes from the dialler.
    bend: Mutex<Option<Bend>>,
    /// While set, bytes are read and go nowhere.
    black_hole: AtomicBool,
}

// === impl Proxy ===

impl Proxy {
    /// A proxy in front of `target`, and the address to dial instead.
    pub(crate) async fn start(target: String) -> (Proxy, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let proxy = Proxy::default();
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&target).await else {
                    continue;
                };
                let (near_reader, near_writer) = near.into_split();
                let (far_reader, far_writer) = far.into_split();
                tokio::spawn(accepting.clone().copy(near_reader, far_writer, true));
                tokio::spawn(accepting.clone().copy(far_reader, near_writer, false));
            }
        });
        (proxy, addr)
    }

    /// Changes the next bytes that the dialler sends.
    pub(crate) fn bend(&self, bend: impl FnOnce(&mut Vec<u8>) + Send + 'static) {
        *self.0.bend.lock() = Some(Box::new(bend));
    }

    /// Swallows everything in both directions, or no longer.
    pub(crate) fn black_hole(&self, on: bool) {
        self.0.black_hole.store(on, Ordering::SeqCst);
    }

    async fn copy(
        self,
        mut from: tokio::net::tcp::OwnedReadHalf,
        mut to: tokio::net::tcp::OwnedWriteHalf,
        bends: bool,
    ) {
        let mut buf = vec![0; 64 << 10];
        while let Ok(n @ 1..) = from.read(&mut buf).await {
            let mut bytes = buf[..n].to_vec();
            let bend = if bends { self.0.bend.lock().take() } else { None };
            if let Some(bend) = bend {
                bend(&mut bytes);
            }
            if !self.0.black_hole.load(Ordering::SeqCst) && to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    }
}
