//! F23: what a power cut leaves of a tape, on a disk that forgets what was not synced.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::record::Record;

const SYNC_EVERY: Duration = Duration::from_secs(1);

/// A disk, and how much of it has been synced.
#[derive(Clone, Debug, Default)]
struct Forgetful(Arc<Mutex<(Vec<u8>, usize)>>);

impl Forgetful {
    /// What is there after the power was cut, if of what was not synced so much had made it.
    fn left(&self, luck: prop::sample::Index) -> Vec<u8> {
        let disk = self.0.lock().unwrap();
        disk.0[..disk.1 + luck.index(disk.0.len() - disk.1 + 1)].to_vec()
    }
}

impl Disk for Forgetful {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn cut(&mut self, _: u64) -> io::Result<()> {
        unreachable!("it takes everything")
    }
    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.1 = disk.0.len();
        Ok(())
    }
}

/// The writer's sleep: it wakes for what is due on the way.
fn pass(spool: &mut Spool, now: &mut Instant, time: Duration) {
    let end = *now + time;
    while let Some(due) = spool.next_tick().filter(|due| *due <= end) {
        *now = due.max(*now);
        spool.tick(true, *now);
    }
    *now = end;
}

/// The numbers of the whole records, which must be in order and without a gap.
fn count_whole(bytes: &[u8]) -> u64 {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut count = 0;
    for text in bytes[..whole].split(|byte| *byte == b'\n').filter(|text| !text.is_empty()) {
        count += 1;
        assert!(matches!(line::record(text), Ok(Some(Record::Lost(lost))) if lost.since == count));
    }
    count
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_power_cut_leaves_a_prefix_that_lacks_at_most_the_last_second(
        bursts in prop::collection::vec((0_u64..1_500, 1_u64..20, 0_u64..60), 1..8),
        rest in 0_u64..1_500,
        luck in any::<prop::sample::Index>(),
    ) {
        let (mut now, disk) = (Instant::now(), Forgetful::default());
        let mut spool = Spool::new(Box::new(disk.clone()), 0, SYNC_EVERY, now);
        let mut taken = Vec::new();
        for (pause, size, pace) in bursts {
            pass(&mut spool, &mut now, Duration::from_millis(pause));
            // Until the last of a burst, the queue is not empty.
            for left in (0..size).rev() {
                now += Duration::from_millis(pace);
                taken.push(now);
                // Any line will do: the spool does not look inside.
                let mut line = Vec::new();
                let since = taken.len() as u64;
                line::lost(&Lost { since, count: 0, reason: "stands for a frame".to_owned() }, &mut line);
                spool.frame(since, &line, now);
                spool.tick(left == 0, now);
            }
        }
        pass(&mut spool, &mut now, Duration::from_millis(rest));
        let old = taken.iter().filter(|at| now.duration_since(**at) >= SYNC_EVERY).count() as u64;
        let kept = count_whole(&disk.left(luck));
        prop_assert!(kept >= old, "{kept} of {old} records are left that are older than a second");
    }
}
