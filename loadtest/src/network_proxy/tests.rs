//! Tests of the proxy between two endpoints of the test.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::*;
use crate::server_internals::{FRAME_BODY, FRAME_KIND, HELLO_KIND, MAGIC, SENDER};
use crate::tests::reserved_addr;

/// Two connected nodes; node 1 has dialled node 2.
struct Wired {
    links: NetworkProxy,
    one: TcpStream,
    two: TcpStream,
}

/// First frame between two nodes, with the fields that the proxy reads.
fn hello(from: u64) -> Vec<u8> {
    let mut bytes = vec![0; HELLO_PREFIX];
    bytes[FRAME_KIND] = HELLO_KIND;
    bytes[FRAME_BODY..FRAME_BODY + MAGIC.len()].copy_from_slice(MAGIC);
    bytes[SENDER..].copy_from_slice(&from.to_be_bytes());
    bytes
}

fn wired() -> Wired {
    let node = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = ProxyEndpoint {
        node: 2,
        listen: reserved_addr(),
        to: node.local_addr().unwrap(),
    };
    let links = NetworkProxy::open(std::slice::from_ref(&endpoint)).unwrap();
    let mut one = TcpStream::connect(endpoint.listen).unwrap();
    one.write_all(&hello(1)).unwrap();
    let (mut two, _) = node.accept().unwrap();
    let mut first = vec![0; HELLO_PREFIX];
    two.read_exact(&mut first).unwrap();
    assert_eq!(first, hello(1), "passed on untouched");
    Wired { links, one, two }
}

/// Returns `true` if a byte arrives within a generous time.
fn arrives(to: &mut TcpStream, within: Duration) -> bool {
    to.set_read_timeout(Some(within)).unwrap();
    let mut byte = [0];
    match to.read(&mut byte) {
        Ok(length) => length == 1,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
        Err(error) => panic!("{error}"),
    }
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

#[test]
fn one_way_cut_delays_only_its_direction_until_it_heals() {
    let mut wired = wired();
    let cut = wired.links.install(vec![(1, 2)], NetworkFault::Cut);
    wired.one.write_all(b"a").unwrap();
    wired.two.write_all(b"b").unwrap();
    assert!(arrives(&mut wired.one, LONG), "the other way is open");
    assert!(!arrives(&mut wired.two, SHORT), "this one is not");
    assert!(cut.touched() > 0);
    drop(cut);
    assert!(arrives(&mut wired.two, LONG), "sent again, as TCP does");
}

#[test]
fn a_cut_of_another_pair_is_not_felt() {
    let mut wired = wired();
    let cut = wired
        .links
        .install(vec![(1, 3), (3, 1), (2, 3), (3, 2)], NetworkFault::Cut);
    wired.one.write_all(b"a").unwrap();
    assert!(arrives(&mut wired.two, LONG));
    assert_eq!(cut.touched(), 0);
}

#[test]
fn a_delay_keeps_the_order_and_a_cut_on_top_of_it_still_cuts() {
    let mut wired = wired();
    let least = Duration::from_millis(50);
    let _delay = wired
        .links
        .install(vec![(1, 2)], NetworkFault::Delay(least, least * 2));
    let began = Instant::now();
    let (_open, idle) = std::sync::mpsc::channel::<()>();
    for byte in 0..20u8 {
        wired.one.write_all(&[byte]).unwrap();
        assert!(idle.recv_timeout(Duration::from_millis(1)).is_err());
    }
    let mut got = [0; 20];
    wired.two.set_read_timeout(Some(LONG)).unwrap();
    wired.two.read_exact(&mut got).unwrap();
    assert!(began.elapsed() >= least);
    assert!(got.iter().copied().eq(0..20));
    let _cut = wired.links.install(vec![(1, 2), (2, 1)], NetworkFault::Cut);
    wired.one.write_all(b"a").unwrap();
    assert!(!arrives(&mut wired.two, SHORT));
}

#[test]
fn a_reset_breaks_the_connection_at_both_ends() {
    let mut wired = wired();
    let _reset = wired
        .links
        .install(vec![(2, 1)], NetworkFault::Reset(Duration::from_millis(10)));
    for end in [&mut wired.one, &mut wired.two] {
        end.set_read_timeout(Some(LONG)).unwrap();
        let error = end.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_throttle_lets_so_many_bytes_pass_and_all_in_the_end() {
    let mut wired = wired();
    let throttle = wired.links.install(vec![(1, 2)], NetworkFault::Throttle(100_000));
    let began = Instant::now();
    wired.one.write_all(&[7; 30_000]).unwrap();
    drop(wired.one);
    let mut got = Vec::new();
    wired.two.set_read_timeout(Some(LONG)).unwrap();
    wired.two.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), 30_000);
    // The end of the stream is delivered after the bytes before it.
    assert!(
        began.elapsed() >= Duration::from_millis(250),
        "{:?}",
        began.elapsed()
    );
    assert!(throttle.touched() > 0);
}

#[test]
fn the_dialler_is_read_from_the_hello_or_unknown() {
    assert_eq!(hello_sender(&hello(3)), Some(3));
    assert_eq!(hello_sender(&[b'x'; SENDER + 8]), None);
}
