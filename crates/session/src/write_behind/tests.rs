//! The queue by itself: order, coalescing, retries and bounds, with the time given.

use super::*;
use crate::record::Key;
use crate::testing::{key, record};
use pending::PendingFull;

fn limits() -> WriteLimits {
    WriteLimits { pending_max: 3, batch_max: 2, ..WriteLimits::default() }
}

fn save(name: &str) -> Change {
    Change::Save(record(name).into())
}

fn names(batch: &[Change]) -> Vec<String> {
    batch.iter().map(|change| change.key().id.as_str().trim_start_matches("id-of-").to_owned()).collect()
}

fn version(change: Option<&Change>) -> Option<u64> {
    match change? {
        Change::Save(record) => Some(record.version()),
        Change::Delete(_) => None,
    }
}

fn newer(name: &str, version: u64) -> Change {
    let mut record = record(name);
    record.version = version;
    Change::Save(record.into())
}

#[tokio::test(start_paused = true)]
async fn what_is_due_first_goes_first_in_batches() {
    let (mut pending, now) = (Pending::new(limits()), Instant::now());
    let later = now + Duration::from_secs(1);
    pending.push(save("late"), later).unwrap();
    pending.push(save("a"), now).unwrap();
    pending.push(save("b"), now).unwrap();
    assert_eq!(names(&pending.take_batch(now)), ["a", "b"]);
    assert_eq!(pending.take_batch(now).len(), 0);
    assert_eq!(pending.next_due(), Some(later));
    assert_eq!(names(&pending.take_batch(later)), ["late"]);
    assert_eq!(pending.next_due(), None);
}

#[tokio::test(start_paused = true)]
async fn the_newest_state_of_a_session_is_the_only_one() {
    let (mut pending, now) = (Pending::new(limits()), Instant::now());
    for version in 1..=100 {
        pending.push(newer("a", version), now + Duration::from_secs(1)).unwrap();
    }
    assert_eq!(pending.len(), 1);
    pending.push(newer("a", 101), now).unwrap();
    let batch = pending.take_batch(now);
    assert_eq!(version(batch.first()), Some(101));
}

#[tokio::test(start_paused = true)]
async fn a_change_during_its_writing_is_written_after_it() {
    let (mut pending, now) = (Pending::new(limits()), Instant::now());
    pending.push(newer("a", 1), now).unwrap();
    let first = pending.take_batch(now);
    pending.push(Change::Delete(key("a")), now).unwrap();
    assert!(pending.take_batch(now).is_empty());
    pending.written(&first, now);
    assert!(matches!(pending.take_batch(now).as_slice(), [Change::Delete(_)]));
    pending.written(&[Change::Delete(key("a"))], now);
    assert_eq!((pending.len(), pending.bytes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_postponed_waits_and_takes_the_newest_state_with_it() {
    let (mut pending, now) = (Pending::new(limits()), Instant::now());
    pending.push(newer("a", 1), now).unwrap();
    let batch = pending.take_batch(now);
    pending.push(newer("a", 2), now).unwrap();
    let later = now + Duration::from_secs(1);
    pending.postpone(&batch, later);
    assert!(pending.take_batch(now).is_empty());
    let again = pending.take_batch(later);
    assert_eq!(version(again.first()), Some(2));
    pending.written(&again, later);
    assert_eq!(pending.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_change_goes_alone_and_is_given_up_in_the_end() {
    let (mut pending, mut now) = (Pending::new(limits()), Instant::now());
    pending.push(save("good"), now).unwrap();
    pending.push(save("poison"), now).unwrap();
    let both = pending.take_batch(now);
    assert!(pending.refused(&both, now).is_empty());
    let mut given_up = Vec::new();
    while let Some(due) = pending.next_due() {
        now = now.max(due);
        let batch = pending.take_batch(now);
        assert_eq!(batch.len(), 1, "it goes alone");
        match names(&batch).first().map(String::as_str) {
            Some("good") => pending.written(&batch, now),
            _ => given_up.extend(pending.refused(&batch, now)),
        }
    }
    assert_eq!(names(&given_up), ["poison"]);
    assert_eq!((pending.len(), pending.bytes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_takes_new_states_of_what_it_has_and_deletions() {
    let (mut pending, now) = (Pending::new(limits()), Instant::now());
    for name in ["a", "b", "c"] {
        pending.push(save(name), now).unwrap();
    }
    assert_eq!(pending.push(save("d"), now), Err(PendingFull));
    assert!(!pending.has_room());
    pending.push(newer("a", 2), now).unwrap();
    for name in ["x", "y", "z", "a"] {
        pending.push(Change::Delete(key(name)), now).unwrap();
    }
    assert!(pending.has_room());
    assert_eq!(pending.push(Change::Delete(key("w")), now), Err(PendingFull));
    assert_eq!(pending.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn bytes_are_a_bound_of_their_own() {
    let one = record("a").memory_bytes();
    let limits = WriteLimits { pending_bytes_max: one * 2, ..WriteLimits::default() };
    let (mut pending, now) = (Pending::new(limits), Instant::now());
    pending.push(save("a"), now).unwrap();
    pending.push(save("b"), now).unwrap();
    assert_eq!(pending.push(save("c"), now), Err(PendingFull));
    assert_eq!(pending.bytes(), one * 2);
}

#[tokio::test(start_paused = true)]
async fn hurry_brings_forward_what_lingers() {
    let (mut pending, now) = (Pending::new(limits()), Instant::now());
    pending.push(save("a"), now + Duration::from_mins(1)).unwrap();
    assert!(pending.take_batch(now).is_empty());
    pending.hurry(now);
    assert_eq!(names(&pending.take_batch(now)), ["a"]);
}

#[test]
fn pauses_double_up_to_the_longest() {
    let limits = WriteLimits::default();
    let pauses = [1, 2, 3, 4, 5, 6, 1_000, u32::MAX].map(|failures| limits.backoff(failures).as_millis());
    assert_eq!(pauses, [100, 200, 400, 800, 1_600, 2_000, 2_000, 2_000]);
}

/// Any order of pushes, batches and outcomes leaves the newest change of each session to be written, once.
#[test]
fn whatever_happens_the_last_change_of_each_session_is_the_last_written() {
    use proptest::prelude::*;
    use std::collections::HashMap;

    let steps = proptest::collection::vec((0_u8..6, 0_u8..4), 1..60);
    proptest!(|(steps in steps)| {
        let mut now = Instant::now();
        let mut pending = Pending::new(WriteLimits { pending_max: 100, ..limits() });
        let mut newest: HashMap<Key, u64> = HashMap::new();
        let mut written: HashMap<Key, u64> = HashMap::new();
        let mut counter = 0;
        let mut in_flight: Vec<Change> = Vec::new();
        let note = |batch: &[Change], written: &mut HashMap<Key, u64>| for change in batch {
            let new = version(Some(change)).unwrap();
            let old = written.insert(change.key().clone(), new);
            assert!(old.is_none_or(|old| old < new), "a state is written once and in order");
        };
        for (step, who) in steps {
            now += Duration::from_millis(10);
            match step {
                0..=2 => {
                    counter += 1;
                    newest.insert(key(&who.to_string()), counter);
                    let wait = Duration::from_millis(u64::from(step) * 20);
                    pending.push(newer(&who.to_string(), counter), now + wait).unwrap();
                }
                3 if in_flight.is_empty() => in_flight = pending.take_batch(now),
                4 => {
                    note(&in_flight, &mut written);
                    pending.written(&std::mem::take(&mut in_flight), now);
                }
                _ => pending.postpone(&std::mem::take(&mut in_flight), now + Duration::from_millis(30)),
            }
        }
        pending.postpone(&in_flight, now);
        while let Some(due) = pending.next_due() {
            let batch = pending.take_batch(due);
            note(&batch, &mut written);
            pending.written(&batch, due);
        }
        prop_assert_eq!(written, newest);
        prop_assert_eq!((pending.len(), pending.bytes()), (0, 0));
    });
}
