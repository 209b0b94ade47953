//! Tapes: what is on them, and what is written to them while one looks.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use shadowcat_tape::{Keys, Lost, OpenError, Place, ReadError, Reader, Record, Start};

use super::{Feed, Source, ViewEnded};
use crate::event::{Event, Standing};
use crate::model::FRAMES_MAX;

/// How often growing tapes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A tape that has to be read from its beginning for that is looked at so many times less than reading takes.
const REST_FACTOR: u32 = 10;
/// Lines that are counted before it is looked whether the view has ended.
const PIECE: u64 = 1_000;
/// Faults of one tape that are told; a file with more is not a tape any more.
const FAULTS_MAX: u32 = 100;

/// The tapes that are watched: some files, or all that are or come into a directory.
pub struct Tapes {
    name: String,
    keys: Keys,
    files: Vec<File>,
    /// Where new ones may come.
    directory: Option<PathBuf>,
}

impl Tapes {
    /// These files, in this order.
    pub fn files(paths: Vec<PathBuf>, keys: Keys) -> Self {
        let name = match paths.as_slice() {
            [only] => file_name(only),
            several => format!("{} tapes", several.len()),
        };
        let files = paths.into_iter().zip(0..).map(|(path, tape)| File::new(path, tape)).collect();
        Self { name, keys, files, directory: None }
    }

    /// The tapes of a directory: the newest, as far back as the view can hold, and those that come. What is on them is read
    /// when the view is there.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn directory(path: PathBuf, keys: Keys) -> io::Result<Self> {
        shadowcat_tape::files(&path)?;
        Ok(Self { name: path.display().to_string(), keys, files: Vec::new(), directory: Some(path) })
    }

    /// Finds the newest tapes of the directory that have so many lines for the view together.
    fn begin(&mut self, mut room: u64, feed: &Feed) -> Result<(), ViewEnded> {
        let Some(directory) = &self.directory else { return Ok(()) };
        // It could be read when it was named; if it cannot be for a moment, all that is in it comes later.
        let mut paths = shadowcat_tape::files(directory).unwrap_or_default();
        let mut older = paths.len();
        for path in paths.iter().rev() {
            if room == 0 {
                break;
            }
            room = room.saturating_sub(self.count(path, room, feed)?);
            older -= 1;
        }
        let newest = paths.drain(older..).zip(0..);
        self.files = newest.map(|(path, number)| File::new(path, number)).collect();
        Ok(())
    }

    /// What the view has a line for on a tape, at most so many.
    fn count(&self, path: &Path, most: u64, feed: &Feed) -> Result<u64, ViewEnded> {
        let mut lines = 0;
        // One that cannot be opened is told of when it is its turn.
        let records = shadowcat_tape::open_at(path, &self.keys, Start::Last(most), &mut |_| ());
        for record in records.into_iter().flatten() {
            lines += u64::from(matches!(record, Ok(Record::Frame(_) | Record::Lost(_))));
            if lines % PIECE == 0 {
                feed.wait(Duration::ZERO)?;
            }
        }
        Ok(lines)
    }

    /// Tells what has come; whether anything has.
    fn look(&mut self, feed: &Feed) -> Result<bool, ViewEnded> {
        let mut has_news = false;
        for file in self.files.iter_mut().filter(|file| !file.is_done) {
            let before = file.records;
            file.look(&self.keys, feed)?;
            has_news |= file.records > before;
        }
        Ok(has_news)
    }

    /// Tapes that have come into the directory.
    fn discover(&mut self) {
        let Some(directory) = &self.directory else { return };
        // A directory that cannot be read for a moment is looked at again.
        let Ok(paths) = shadowcat_tape::files(directory) else { return };
        let newest = self.files.last().map(|file| file.path.clone());
        let number = self.files.last().map_or(0, |file| file.tape + 1);
        self.files.retain(|file| !file.is_done || Some(&file.path) == newest.as_ref());
        let is_new = |path: &PathBuf| newest.as_ref().is_none_or(|newest| path > newest);
        let new = paths.into_iter().filter(is_new).zip(number..);
        self.files.extend(new.map(|(path, number)| File::new(path, number)));
    }
}

impl Source for Tapes {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn feed(mut self: Box<Self>, feed: &Feed) -> Result<(), ViewEnded> {
        let mut has_news = true;
        self.begin(FRAMES_MAX as u64, feed)?;
        self.look(feed)?;
        while self.directory.is_some() || self.files.iter().any(|file| !file.is_done) {
            if has_news {
                feed.tell(Event::Standing(Standing::Following))?;
            }
            feed.wait(LOOK_EVERY)?;
            self.discover();
            has_news = self.look(feed)?;
        }
        feed.tell(Event::Standing(Standing::Ended))
    }
}

/// One tape and how far it is read.
struct File {
    path: PathBuf,
    tape: u32,
    /// The length that was seen last.
    length: u64,
    /// Where reading goes on, in a plain tape.
    next: Option<Place>,
    /// Records that were read.
    records: usize,
    faults: u32,
    not_before: Option<Instant>,
    /// Nothing more can come.
    is_done: bool,
}

impl File {
    fn new(path: PathBuf, tape: u32) -> Self {
        Self { path, tape, length: 0, next: None, records: 0, faults: 0, not_before: None, is_done: false }
    }

    /// Tells what has been written since the last look.
    fn look(&mut self, keys: &Keys, feed: &Feed) -> Result<(), ViewEnded> {
        let length = fs::metadata(&self.path).map_or(0, |file| file.len());
        // One that is just being begun has nothing yet.
        if length == self.length || self.not_before.is_some_and(|time| Instant::now() < time) {
            return Ok(());
        }
        self.length = length;
        let begun = Instant::now();
        let told = match self.read(keys, feed) {
            Ok(told) => told,
            Err(cause) => {
                self.is_done = true;
                feed.tell(Event::Gap(format!("{} cannot be read: {cause}", file_name(&self.path))))
            }
        };
        self.is_done |= self.faults > FAULTS_MAX;
        if self.next.is_none() {
            self.not_before = Some(Instant::now() + begun.elapsed() * REST_FACTOR);
        }
        told
    }

    fn read(&mut self, keys: &Keys, feed: &Feed) -> Result<Result<(), ViewEnded>, OpenError> {
        let mut plain = Reader::open(&self.path)?;
        if !matches!(plain.next(), Some(Ok(Record::Header(_)))) {
            let reader = shadowcat_tape::open(&self.path, keys)?;
            let told = self.tell(reader.skip(self.records), feed);
            return Ok(told);
        }
        let Some(next) = self.next else {
            let mut reader =
                shadowcat_tape::open_at(&self.path, keys, Start::Last(FRAMES_MAX as u64), &mut |_| ())?;
            let told = self.tell(&mut reader, feed);
            self.next = Some(Place { offset: reader.offset(), line: None });
            return Ok(told);
        };
        plain.seek(next)?;
        let told = self.tell(&mut plain, feed);
        self.next = Some(Place { offset: plain.offset(), line: None });
        Ok(told)
    }

    fn tell(
        &mut self,
        records: impl Iterator<Item = Result<Record, ReadError>>,
        feed: &Feed,
    ) -> Result<(), ViewEnded> {
        for record in records {
            // Half a record is no fault: the rest of it is on its way.
            if matches!(record, Err(ReadError::Torn { .. })) {
                break;
            }
            self.records += 1;
            match record {
                Ok(Record::Frame(frame)) => feed.tell(Event::Frame { tape: self.tape, frame })?,
                Ok(Record::Lost(lost)) => feed.tell(Event::Gap(missing(&lost)))?,
                Ok(Record::End(_)) => self.is_done = true,
                Ok(Record::Header(_)) => {}
                Err(fault) => {
                    self.faults += 1;
                    self.is_done |= matches!(fault, ReadError::NoHeader | ReadError::Newer { .. });
                    feed.tell(Event::Gap(format!("{}: {fault}", file_name(&self.path))))?;
                }
            }
        }
        Ok(())
    }
}

fn missing(lost: &Lost) -> String {
    let Lost { count, reason, .. } = lost;
    let what = if *count == 1 { "message is" } else { "messages are" };
    format!("{count} {what} missing here ({reason})")
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Instant;

    use super::*;
    use crate::source::Running;

    /// A header and 9 records; the last one is the end.
    const TAPE: &str = include_str!("../../../tape/tests/testdata/1.1.tape.jsonl");
    const DEADLINE: Duration = Duration::from_mins(1);

    /// What comes until this comes.
    #[track_caller]
    fn until(running: &Running, last: &Event) -> Vec<Event> {
        let deadline = Instant::now() + DEADLINE;
        let mut events = Vec::new();
        while Instant::now() < deadline {
            for event in running.events() {
                let is_last = event == *last;
                events.push(event);
                if is_last {
                    return events;
                }
            }
            std::thread::yield_now();
        }
        panic!("{last:?} did not come, but {events:?}");
    }

    fn told(running: &Running, standing: Standing) -> (usize, Vec<String>) {
        let events = until(running, &Event::Standing(standing));
        let frames = events.iter().filter(|event| matches!(event, Event::Frame { .. })).count();
        let gaps = events
            .into_iter()
            .filter_map(|event| if let Event::Gap(told) = event { Some(told) } else { None });
        (frames, gaps.collect())
    }

    fn start(source: Tapes) -> Running {
        Running::start(Box::new(source))
    }

    #[test]
    fn a_tape_is_followed_line_by_line_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tape.jsonl");
        let lines: Vec<&str> = TAPE.split_inclusive('\n').collect();
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(lines[..3].concat().as_bytes()).unwrap();
        let running = start(Tapes::files(vec![path], Keys::default()));
        assert_eq!(told(&running, Standing::Following), (2, Vec::new()));

        // Half a line is no fault; the whole is read once.
        let (begin, rest) = lines[3].split_at(40);
        file.write_all(begin.as_bytes()).unwrap();
        file.write_all(rest.as_bytes()).unwrap();
        file.write_all(lines[4..].concat().as_bytes()).unwrap();
        let frames = lines.iter().filter(|line| line.contains("\"record\":\"frame\"")).count();
        let (rest, gaps) = told(&running, Standing::Ended);
        assert_eq!(rest, frames - 2);
        assert!(gaps.iter().any(|gap| gap.contains("missing here")), "{gaps:?}");
        running.end();
    }

    #[test]
    fn tapes_that_come_into_a_directory_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("1.tape.jsonl"), TAPE).unwrap();
        let running = start(Tapes::directory(dir.path().to_owned(), Keys::default()).unwrap());
        let first = told(&running, Standing::Following);
        assert!(first.0 > 0);
        fs::write(dir.path().join("2.tape.jsonl"), TAPE).unwrap();
        let mut frames = 0;
        while frames < first.0 {
            frames += told(&running, Standing::Following).0;
        }
        assert_eq!(frames, first.0);
        running.end();
    }

    #[test]
    fn nothing_is_read_before_the_view_is_there() {
        let dir = tempfile::tempdir().unwrap();
        // Nobody ever writes to it: who opens it waits.
        let made = std::process::Command::new("mkfifo").arg(dir.path().join("1.tape.jsonl")).status();
        assert!(made.unwrap().success());
        let (done, is_done) = std::sync::mpsc::sync_channel(1);
        let path = dir.path().to_owned();
        std::thread::spawn(move || done.send(Tapes::directory(path, Keys::default()).is_ok()));
        assert_eq!(is_done.recv_timeout(DEADLINE), Ok(true));
    }

    #[test]
    fn of_a_directory_the_newest_tapes_are_shown_as_far_back_as_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        for number in 1..=4 {
            fs::write(dir.path().join(format!("{number}.tape.jsonl")), TAPE).unwrap();
        }
        let has_a_line =
            |line: &&str| line.contains(r#""record":"frame""#) || line.contains(r#""record":"lost""#);
        let lines = TAPE.lines().filter(has_a_line).count() as u64;
        let shown = |room| {
            let (feed, _events, _alive) = Feed::new();
            let mut tapes = Tapes::directory(dir.path().to_owned(), Keys::default()).unwrap();
            tapes.begin(room, &feed).unwrap();
            tapes.files.iter().map(|file| (file_name(&file.path), file.tape)).collect::<Vec<_>>()
        };
        let named = |name: &str, tape| (format!("{name}.tape.jsonl"), tape);
        assert_eq!(shown(lines), [named("4", 0)]);
        assert_eq!(shown(lines + 1), [named("3", 0), named("4", 1)]);
        assert_eq!(shown(100 * lines).len(), 4);
    }

    #[test]
    fn what_is_no_tape_and_what_is_damaged_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            fs::write(dir.path().join(name), text).unwrap();
            dir.path().join(name)
        };
        let damaged = TAPE.replacen("\"exchange\":7", "\"exchange\":6", 1);
        let paths = vec![file("no", "hello\n"), file("damaged", &damaged)];
        let (_, gaps) = told(&start(Tapes::files(paths, Keys::default())), Standing::Ended);
        assert!(gaps[0].starts_with("no: ") && gaps[0].contains("header"), "{gaps:?}");
        assert!(gaps[1].starts_with("damaged: line 2 at byte"), "{gaps:?}");
    }
}
