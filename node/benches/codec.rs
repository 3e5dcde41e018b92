//! What a text frame costs: reading a `send`, writing its `msg`, and each receiver's share of it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocol::event::{MessageParts, event_frame};
use protocol::{ClientMessageId, ConversationId, Request, ServerFrame, UserId};

/// Bytes of a body.
const SIZES: [usize; 3] = [64, 256, 4096];

fn codec(c: &mut Criterion) {
    let conv = ConversationId::parse("g_01J0000000000000000000000A").expect("an id");
    let user = UserId::parse("user-0001").expect("an id");
    let cid = ClientMessageId::parse("01J0000000000000000000000B").expect("an id");
    for size in SIZES {
        let body = format!("{{\"text\":\"{}\"}}", "x".repeat(size - 11));
        let send = format!(r#"{{"t":"send","id":7,"c":"{conv}","cid":"{cid}","b":{body}}}"#);
        let parts = MessageParts {
            conversation: &conv,
            seq: 123_456,
            message_number: 123_000,
            timestamp_ms: 1_767_225_600_123,
            user: &user,
            client_message_id: &cid,
            body: &body,
            reply_to: None,
            deleted: false,
            mentions: &[],
        };
        let tail = parts.tail();
        let frame = event_frame(1, &tail);
        let mut group = c.benchmark_group(format!("codec/{size}"));
        group.throughput(Throughput::Elements(1));
        group.bench_function("decode send", |b| b.iter(|| Request::decode(black_box(&send))));
        group.bench_function("encode msg", |b| b.iter(|| black_box(&parts).tail()));
        group.bench_function("number for one receiver", |b| {
            b.iter(|| event_frame(black_box(413), &tail))
        });
        group.bench_function("decode msg", |b| {
            b.iter(|| ServerFrame::decode(black_box(&frame)))
        });
        group.finish();
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
