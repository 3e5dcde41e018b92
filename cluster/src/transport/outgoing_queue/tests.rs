//! Fates of calls and casts, the bound of a queue and the order of its frames.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn queue(bound: usize) -> Arc<OutgoingQueue> {
    let queue = Arc::new(OutgoingQueue::new(bound, 1000, ClassMetrics::default()));
    queue.connected();
    queue
}

fn take(queue: &OutgoingQueue) -> Vec<TransportFrame> {
    let mut frames = Vec::new();
    let release = queue.take(&mut frames, usize::MAX);
    queue.written(release);
    frames
}

#[tokio::test]
async fn unwritten_call_is_unreachable_and_a_written_one_is_lost() {
    let queue = queue(1000);
    let written = queue.call(1, Bytes::new(), SECOND);
    assert_eq!(take(&queue).len(), 1);
    let queued = queue.call(2, Bytes::new(), SECOND);
    queue.disconnected();
    assert_eq!(written.await, Err(Error::Lost));
    assert_eq!(queued.await, Err(Error::Unreachable));
    assert_eq!(queue.call(3, Bytes::new(), SECOND).await, Err(Error::Unreachable));
}

#[tokio::test(start_paused = true)]
async fn call_with_a_passed_deadline_is_never_written() {
    let queue = queue(1000);
    assert_eq!(queue.call(1, Bytes::new(), SECOND).await, Err(Error::Unreachable));
    drop(queue.call(2, Bytes::new(), SECOND));
    assert_eq!(take(&queue), []);
    assert_eq!(queue.state.lock().bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn call_whose_deadline_passes_after_it_was_written_times_out() {
    let queue = queue(1000);
    let call = queue.call(1, Bytes::new(), SECOND);
    take(&queue);
    assert_eq!(call.await, Err(Error::Timeout));
    assert_eq!(queue.state.lock().bytes, 0);
}

#[tokio::test]
async fn queue_limit_counts_unanswered_calls_and_unwritten_casts() {
    let queue = queue(100);
    let call = queue.call(1, Bytes::from_static(&[0; 31]), SECOND);
    assert_eq!(queue.cast(1, Bytes::from_static(&[0; 31])), Ok(()));
    assert_eq!(queue.cast(1, Bytes::new()), Err(Error::Full));
    let id = take(&queue)[0].id;
    assert_eq!(queue.state.lock().bytes, 50);
    queue.answered(id, Ok(Bytes::from_static(b"yes")));
    assert_eq!(call.await, Ok(Bytes::from_static(b"yes")));
    assert_eq!(queue.state.lock().bytes, 0);
}

#[tokio::test]
async fn body_larger_than_any_frame_is_full_not_sent() {
    let queue = queue(1 << 20);
    assert_eq!(queue.cast(1, vec![0; 1001].into()), Err(Error::Full));
}

#[tokio::test]
async fn frames_leave_in_call_order_and_pings_overtake() {
    let queue = queue(1000);
    let _first = queue.call(1, Bytes::new(), SECOND);
    queue.cast(2, Bytes::new()).unwrap();
    queue.ping();
    let kinds: Vec<_> = take(&queue)
        .iter()
        .map(|frame| (frame.kind, frame.method))
        .collect();
    assert_eq!(
        kinds,
        [(FrameKind::Ping, 0), (FrameKind::Call, 1), (FrameKind::Cast, 2)]
    );
}

#[tokio::test]
async fn closed_queue_refuses_with_closed() {
    let queue = queue(1000);
    let queued = queue.call(1, Bytes::new(), SECOND);
    queue.close();
    queue.connected();
    assert_eq!(queued.await, Err(Error::Closed));
    assert_eq!(queue.cast(1, Bytes::new()), Err(Error::Closed));
}
