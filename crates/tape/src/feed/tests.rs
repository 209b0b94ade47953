use super::*;
use crate::record::Frame;
use crate::recorder::testing::{CALL, capture, origin, passing};
use seat::SEEN_MAX;

const DEADLINE: Duration = Duration::from_mins(1);

/// A feed with its thread, which ends with the test.
struct Running(Feed);

impl Running {
    fn start() -> Self {
        let feed = Feed::new(&Secrets::default()).unwrap();
        let own = feed.clone();
        std::thread::spawn(move || own.run());
        Self(feed)
    }

    fn tell(&self, text: &str) {
        let captured = capture(text);
        Audience::new(None, Some(&self.0)).unwrap().tell(|| passing(&captured));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn next(watching: &mut Watching) -> Option<Shown> {
    tokio::time::timeout(DEADLINE, watching.next()).await.expect("in time")
}

async fn frame(watching: &mut Watching) -> Frame {
    match next(watching).await {
        Some(Shown::Frame(object)) => Frame::parse(str::from_utf8(&object).unwrap()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_watches_sees_what_passes_from_then_on() {
    let feed = Running::start();
    feed.tell(CALL);
    let mut watching = feed.0.watch(None).unwrap();
    feed.tell(r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#);
    let frame = frame(&mut watching).await;
    assert_eq!((frame.seq, frame.method.as_deref()), (1, Some("notifications/progress")));
    assert_eq!(frame.session.as_deref(), Some("a1b2c3d4"));
}

#[tokio::test]
async fn nothing_is_made_while_nobody_watches() {
    let feed = Running::start();
    let audience = Audience::new(None, Some(&feed.0)).unwrap();
    audience.tell(|| panic!("made for nobody"));
    drop(feed.0.watch(None).unwrap());
    audience.tell(|| panic!("made for nobody"));
    assert_eq!(feed.0.watching(), 0);
}

#[tokio::test]
async fn only_what_fits_the_filter_is_shown() {
    let feed = Running::start();
    let mut watching = feed.0.watch(Some("~m tools/call".parse().unwrap())).unwrap();
    feed.tell(r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#);
    feed.tell(CALL);
    assert_eq!(frame(&mut watching).await.method.as_deref(), Some("tools/call"));
}

#[tokio::test]
async fn what_each_one_sees_is_numbered_from_one() {
    let feed = Running::start();
    let mut first = feed.0.watch(None).unwrap();
    feed.tell(CALL);
    assert_eq!(frame(&mut first).await.seq, 1);
    let mut failed = feed.0.watch(Some("~e".parse().unwrap())).unwrap();
    let mut second = feed.0.watch(None).unwrap();
    let origin = origin();
    for text in [CALL, r#"{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":"no"}}"#] {
        let captured = Captured { origin: Arc::clone(&origin), ..capture(text) };
        Audience::new(None, Some(&feed.0)).unwrap().tell(|| passing(&captured));
    }
    for (watching, seqs) in [(&mut first, [2, 3]), (&mut failed, [1, 2]), (&mut second, [1, 2])] {
        let seen = [frame(watching).await, frame(watching).await];
        assert_eq!(seen.each_ref().map(|frame| frame.seq), seqs);
        assert_eq!(seen.map(|frame| frame.method.is_some()), [true, false]);
    }
}

#[tokio::test]
async fn secrets_are_not_shown() {
    let feed = Running::start();
    let mut watching = feed.0.watch(None).unwrap();
    feed.tell(&CALL.replace(r#""text":"hi""#, r#""password":"correct horse""#));
    let frame = frame(&mut watching).await;
    assert_eq!(frame.redactions, 1);
    assert!(!frame.message.contains("horse"), "{}", frame.message);
}

#[tokio::test]
async fn a_slow_reader_loses_the_oldest_and_is_told_how_many() {
    let feed = Running::start();
    let mut slow = feed.0.watch(None).unwrap();
    let mut quick = feed.0.watch(None).unwrap();
    let all = SEEN_MAX as u64 + 10;
    for seq in 1..=all {
        feed.tell(CALL);
        assert_eq!(frame(&mut quick).await.seq, seq);
    }
    // Those that come first are given first: what the quick one has seen, the slow one was offered.
    assert_eq!(next(&mut slow).await, Some(Shown::Lost(10)));
    assert_eq!(frame(&mut slow).await.seq, 11);
}

#[tokio::test]
async fn the_end_of_the_feed_is_the_end_of_what_is_seen() {
    let feed = Running::start();
    let mut watching = feed.0.watch(None).unwrap();
    feed.tell(CALL);
    feed.0.close();
    frame(&mut watching).await;
    assert_eq!(next(&mut watching).await, None);
    assert_eq!(next(&mut feed.0.watch(None).unwrap()).await, None);
}

#[test]
fn no_more_watch_than_may() {
    let feed = Feed::new(&Secrets::default()).unwrap();
    let mut watching: Vec<Watching> = (0..WATCHING_MAX).map(|_| feed.watch(None).unwrap()).collect();
    assert_eq!(feed.watch(None).err(), Some(FullHouse));
    watching.pop();
    assert!(feed.watch(None).is_ok());
}
