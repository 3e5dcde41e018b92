//! Clients that read nothing, common to the gateways over a WebSocket.

use node::testkit::{Client, Incoming, Node, TEXT, masked};

/// Metric of the frames that a node has read.
const FRAMES_IN: &str = "rookery_frames_in_total";
/// More than the queue of the node and the buffers of both sockets hold.
const MOST: usize = 64 << 20;
const CHUNK: usize = 256 << 10;

/// Checks that a client that reads nothing is not read either, and that the node reads on where it stopped once the client
/// reads. `frame` is the text of a frame with this number, and `number_of` the number of the frame that a text answers.
pub(crate) async fn is_not_read_until_it_reads(
    node: &Node,
    client: &mut Client,
    frame: impl Fn(usize) -> String,
    number_of: impl Fn(&str) -> Option<usize>,
) {
    let begun = node.figure(FRAMES_IN).await;
    let (mut chunk, mut frames, mut offered) = (Vec::new(), 0, 0);
    let mut read = begun;
    loop {
        if chunk.is_empty() {
            while chunk.len() < CHUNK {
                chunk.extend(masked(TEXT, true, frame(frames).as_bytes()));
                frames += 1;
            }
        }
        let taken = client.offer(&chunk).await;
        chunk.drain(..taken);
        offered += taken;
        assert!(offered < MOST, "the node reads on");
        if chunk.is_empty() {
            continue;
        }
        // A node that is only slow has read something meanwhile.
        let now = node.figure(FRAMES_IN).await;
        if now > begun && now == read {
            break;
        }
        read = now;
    }
    // The rest is in the buffers of the sockets.
    let longest = masked(TEXT, true, frame(frames).as_bytes()).len();
    let sent = offered / longest;
    assert!(
        read - begun < sent as u64,
        "{sent} frames are sent, and all are read"
    );

    let mut answered = 0;
    while node.figure(FRAMES_IN).await == read {
        assert!(answered < frames, "the node does not read on");
        for _ in 0..500 {
            let text = match client.recv().await {
                Incoming::Text(text) => text,
                Incoming::Ping(_) => continue,
                other => panic!("{other:?}"),
            };
            if let Some(number) = number_of(&text) {
                assert_eq!(number, answered, "every answer, in order");
                answered += 1;
            }
        }
    }
}
