use super::*;

fn limits() -> StreamLimits {
    StreamLimits {
        lag_bytes_max: 4,
        stall_max: Duration::from_mins(1),
        kept_events_max: 3,
        kept_bytes_max: 100,
    }
}

fn budget(max: usize) -> Arc<Budget> {
    Budget::new(max, Lost::default())
}

async fn push(stream: &Stream, texts: &[&'static str]) {
    for text in texts {
        stream.push(Bytes::from_static(text.as_bytes())).await.unwrap();
    }
}

async fn take(reader: &mut Reader, count: usize) -> Vec<(u64, String)> {
    let mut taken = Vec::new();
    for _ in 0..count {
        let (number, message) = reader.next().await.unwrap();
        taken.push((number, String::from_utf8(message.to_vec()).unwrap()));
    }
    taken
}

#[tokio::test]
async fn a_stream_is_either_opened_or_ended_without_it() {
    let stream = Stream::new(limits(), budget(1_000));
    assert!(stream.end_unopened());
    stream.open();
    assert!(!stream.is_open() && !stream.offer(&Bytes::from_static(b"{}")));
    let stream = Stream::new(limits(), budget(1_000));
    stream.open();
    assert!(!stream.end_unopened() && stream.offer(&Bytes::from_static(b"{}")));
}

#[tokio::test]
async fn messages_are_read_in_order_with_their_numbers() {
    let stream = Stream::new(limits(), budget(100));
    push(&stream, &["a", "b"]).await;
    let mut reader = stream.read();
    stream.end();
    assert_eq!(take(&mut reader, 2).await, [(1, "a".into()), (2, "b".into())]);
    assert_eq!(reader.next().await, None);
}

#[tokio::test]
async fn a_client_that_comes_back_gets_only_what_it_missed() {
    let stream = Stream::new(limits(), budget(100));
    push(&stream, &["a", "b", "c"]).await;
    drop(stream.read());
    let mut again = stream.read_after(1).unwrap();
    assert_eq!(take(&mut again, 2).await, [(2, "b".into()), (3, "c".into())]);
}

#[tokio::test]
async fn without_a_reader_the_oldest_messages_give_way_and_are_counted() {
    let stream = Stream::new(limits(), budget(100));
    push(&stream, &["a", "b", "c", "d", "e"]).await;
    assert_eq!(stream.budget.lost.get(), 2);
    assert!(stream.read_after(1).is_none(), "message 2 is gone: that is a gap");
    assert!(stream.read_after(9).is_none(), "a number from the future is no place in this stream");
    assert_eq!(take(&mut stream.read_after(2).unwrap(), 1).await, [(3, "c".into())]);
}

#[tokio::test]
async fn nothing_gives_way_that_a_reader_has_still_to_take() {
    let stream = Stream::new(StreamLimits { kept_bytes_max: 4, ..limits() }, budget(1));
    let mut reader = stream.read();
    push(&stream, &["12345678"]).await;
    assert_eq!(take(&mut reader, 1).await, [(1, "12345678".into())]);
    assert_eq!(stream.budget.lost.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_writer_waits_for_a_slow_reader_and_gives_up_on_a_stalled_one() {
    let stream = Stream::new(limits(), budget(100));
    let mut reader = stream.read();
    push(&stream, &["aaaa"]).await;
    let waiting = stream.push(Bytes::from_static(b"b"));
    tokio::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    assert_eq!(take(&mut reader, 1).await, [(1, "aaaa".into())]);
    assert_eq!(waiting.await, Ok(()));
    push(&stream, &["cccc"]).await;
    assert_eq!(stream.push(Bytes::from_static(b"d")).await, Err(StreamClosed::Stalled));
    assert!(stream.is_ended());
}

#[tokio::test]
async fn a_later_reader_takes_the_place_of_an_earlier_one() {
    let stream = Stream::new(limits(), budget(100));
    let mut first = stream.read();
    let mut second = stream.read_on();
    push(&stream, &["a"]).await;
    assert_eq!(first.next().await, None);
    drop(first);
    assert!(stream.is_attached());
    assert_eq!(take(&mut second, 1).await, [(1, "a".into())]);
}

#[tokio::test]
async fn streams_of_one_client_share_what_may_be_kept() {
    let budget = budget(7);
    let roomy = StreamLimits { lag_bytes_max: 100, kept_events_max: 100, ..limits() };
    let (one, two) = (Stream::new(roomy, Arc::clone(&budget)), Stream::new(roomy, Arc::clone(&budget)));
    push(&one, &["aaa", "aaa"]).await;
    let mut reader = two.read();
    push(&two, &["b"]).await;
    {
        let waiting = two.push(Bytes::from_static(b"b"));
        tokio::pin!(waiting);
        assert!(
            futures_util::poll!(&mut waiting).is_pending(),
            "one that lags waits once the budget is spent"
        );
        assert_eq!(take(&mut reader, 1).await, [(1, "b".into())]);
        assert_eq!(waiting.await, Ok(()), "one that does not lag goes on");
    }
    push(&one, &["c"]).await;
    assert_eq!(one.budget.lost.get(), 1, "what nobody reads gives way");
    drop((one, two, reader));
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn a_reader_that_was_sent_away_ends_and_its_client_goes_on_later() {
    let stream = Stream::new(limits(), budget(100));
    let mut reader = stream.read();
    push(&stream, &["a"]).await;
    take(&mut reader, 1).await;
    assert_eq!(reader.sent_away(), None);
    stream.send_away(Duration::from_millis(500));
    assert_eq!(reader.next().await, None);
    assert_eq!(reader.sent_away(), Some(Duration::from_millis(500)));
    push(&stream, &["b"]).await;
    let mut again = stream.read_after(1).unwrap();
    assert_eq!(take(&mut again, 1).await, [(2, "b".into())]);
    assert_eq!(again.sent_away(), None);
}

#[tokio::test]
async fn what_was_read_is_kept_only_up_to_the_bound() {
    let stream = Stream::new(limits(), budget(100));
    let mut reader = stream.read();
    for _ in 0..100 {
        push(&stream, &["x"]).await;
        take(&mut reader, 1).await;
    }
    assert_eq!(stream.kept_bytes(), 3);
    assert_eq!(stream.budget.lost.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_given_up_only_when_nobody_has_read_it_for_long() {
    let long = Duration::from_mins(1);
    let stream = Stream::new(limits(), budget(100));
    tokio::time::advance(long).await;
    stream.abandon(Instant::now());
    assert!(!stream.is_ended(), "its client waits for the first message");
    let reader = stream.read();
    stream.open();
    tokio::time::advance(long * 2).await;
    stream.abandon(Instant::now() - long);
    assert!(!stream.is_ended(), "its client reads");
    drop(reader);
    tokio::time::advance(long).await;
    stream.abandon(Instant::now() - long);
    assert!(stream.is_ended());
    stream.wait_given_up().await;
}
