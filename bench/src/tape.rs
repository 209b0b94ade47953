//! Tapes: how fast they are written, what reading a long one takes in memory, and how soon its end and its middle are
//! found. This part links what it measures, because no frame is written or read without it; each reading is a process of
//! its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use shadowcat_pipeline::{Chain, Direction, Envelope, Origin, PeerId, Refusal, Replies, Service, Transport};
use shadowcat_protocol::{Limits, Message, Response, Revision};
use shadowcat_tape::{
    Action, ClientSide, Frame, Index, Kind, Place, Point, ReadError, Reader, Record, TapeFile,
};

use crate::error::BenchError;
use crate::suite::report::verdict;

/// What the tables are held against.
const WRITER_BAR: f64 = 100_000.0;
const READER_MB_BAR: f64 = 10.0;
const SEEK_MS_BAR: f64 = 100.0;

const DEADLINE: Duration = Duration::from_mins(2);
/// So many calls go by before the writer is waited for: fewer than its queue holds.
const CALLS_A_FLUSH: u64 = 4_096;
const TEXT: &str = "all is well ";

#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Calls that are recorded; each is two frames.
    #[arg(long, default_value_t = 200_000)]
    calls: u64,
    /// Frames of the long tape, a kilobyte each.
    #[arg(long, default_value_t = 1_000_000)]
    frames: u64,
    /// Where the tapes are written.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// One way to read, in a process of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct Reading {
    tape: PathBuf,
    #[arg(long)]
    tail: Option<u64>,
    #[arg(long)]
    seek: Option<u64>,
}

/// What a reading process says of itself.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Read {
    frames: u64,
    first: u64,
    ms: f64,
    rss_mb: f64,
}

/// Measures and prints a table.
pub(crate) async fn run(settings: Settings) -> Result<(), BenchError> {
    let dir = match &settings.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    println!("| what | figure | bar | |\n|---|---:|---:|---|");
    let (frames, lost, took) = record(dir.path(), settings.calls).await?;
    let rate = frames as f64 / took.as_secs_f64();
    row(
        &format!("recording, {frames} frames, {lost} lost"),
        rate,
        "frames/s",
        WRITER_BAR,
        rate >= WRITER_BAR,
    );

    let tape = dir.path().join("long.tape.jsonl");
    let took = write(&tape, settings.frames)?;
    let bytes = std::fs::metadata(&tape)?.len() as f64 / 1e6;
    println!(
        "| a tape of {} frames, {bytes:.0} MB, written in {:.1} s | | | |",
        settings.frames,
        took.as_secs_f64()
    );
    let all = read(&tape, &[])?;
    println!("| all of it read in {:.1} s | | | |", all.ms / 1e3);
    let what = format!("memory while {} frames are read", all.frames);
    row(&what, all.rss_mb, "MB", READER_MB_BAR, all.rss_mb < READER_MB_BAR);
    let tail = read(&tape, &["--tail", "20"])?;
    row(&format!("its last {} messages", tail.frames), tail.ms, "ms", SEEK_MS_BAR, tail.ms < SEEK_MS_BAR);
    let middle = (settings.frames / 2).to_string();
    let made = read(&tape, &["--seek", &middle])?;
    println!("| message {} found, and the index made, in {:.1} s | | | |", made.first, made.ms / 1e3);
    let found = read(&tape, &["--seek", &middle])?;
    row(
        &format!("message {} with the index", found.first),
        found.ms,
        "ms",
        SEEK_MS_BAR,
        found.ms < SEEK_MS_BAR,
    );
    Ok(())
}

fn row(what: &str, figure: f64, unit: &str, bar: f64, holds: bool) {
    println!("| {what} | {figure:.1} {unit} | {bar:.0} | {} |", verdict(holds));
}

/// Calls through a recorder, from the first to the last byte on the disk.
async fn record(dir: &Path, calls: u64) -> Result<(u64, u64, Duration), BenchError> {
    let tape = shadowcat_tape::Tape::create(dir, shadowcat_tape::Settings::default()).map_err(failed)?;
    let chain = Chain::new(vec![Arc::new(tape.recorder("edge"))]);
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","_meta":{{"progressToken":1}},"arguments":{{"text":"{}"}}}}}}"#,
        TEXT.repeat(15)
    );
    let message = Message::parse(text.into(), &Limits::default()).map_err(failed)?;
    let begun = Instant::now();
    for call in 1..=calls {
        let origin = Origin::new(PeerId::next(), Transport::Http, Revision::V2025_11_25);
        let envelope = Envelope::to_server(message.clone(), Arc::new(origin));
        if let Ok(mut replies) = chain.run(envelope, Arc::new(Echo)).await {
            while replies.next().await.is_some() {}
        }
        if call % CALLS_A_FLUSH == 0 {
            tape.flush(DEADLINE).await;
        }
    }
    let summary = tape.close(DEADLINE).await;
    Ok((summary.frames, summary.lost, begun.elapsed()))
}

struct Echo;

#[async_trait]
impl Service for Echo {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let Message::Request(request) = &envelope.message else { return Ok(Replies::none()) };
        let response = Response::result(request.id(), request.params().unwrap_or("{}"));
        Ok(Replies::one(Message::Response(response)))
    }
}

fn write(path: &Path, frames: u64) -> Result<Duration, BenchError> {
    let begun = Instant::now();
    let created = SystemTime::now();
    let mut tape = TapeFile::create(path, created.into(), true).map_err(failed)?;
    let message =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"text":"{}"}}}}"#, TEXT.repeat(55));
    let client = ClientSide { transport: "http".into(), revision: "2025-11-25".into(), era: "legacy".into() };
    for number in 0..frames {
        let since = Duration::from_millis(number);
        tape.frame(&Frame {
            seq: 0,
            at_us: number * 1_000,
            time: (created + since).into(),
            hop: "edge".into(),
            direction: Direction::ToServer,
            exchange: number,
            related: None,
            session: Some("a1b2c3d4".into()),
            client: client.clone(),
            upstream: None,
            kind: Kind::Request,
            method: Some("ping".into()),
            action: Action::Passed,
            took_us: None,
            rules: Vec::new(),
            redactions: 0,
            unfolded: false,
            message: message.clone(),
        })
        .map_err(failed)?;
    }
    tape.finish().map_err(failed)?;
    Ok(begun.elapsed())
}

/// Runs a reading and takes what it says.
fn read(tape: &Path, arguments: &[&str]) -> Result<Read, BenchError> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("tape-read").arg(tape).args(arguments).stderr(Stdio::inherit());
    let said = command.output()?.stdout;
    serde_json::from_slice(&said).map_err(|_| BenchError::Process {
        program: "tape-read".to_owned(),
        said: String::from_utf8_lossy(&said).into_owned(),
    })
}

/// Reads as it is told, and says what it took.
pub(crate) fn be_a_reader(reading: &Reading) -> Result<(), BenchError> {
    let begun = Instant::now();
    let mut reader = Reader::open(&reading.tape)?;
    reader.next();
    let mut count_max = u64::MAX;
    if let Some(count) = reading.tail {
        reader.seek_last(count)?;
    }
    if let Some(seq) = reading.seek {
        let place = place(&reading.tape, seq).map_err(failed)?;
        reader.seek(place)?;
        count_max = 1;
    }
    let is_wanted = |frame: &Frame| reading.seek.is_none_or(|seq| frame.seq >= seq);
    let (mut frames, mut first) = (0, 0);
    for record in reader {
        if let Record::Frame(frame) = record.map_err(failed)?
            && is_wanted(&frame)
        {
            frames += 1;
            first = if frames == 1 { frame.seq } else { first };
        }
        if frames == count_max {
            break;
        }
    }
    let ms = begun.elapsed().as_secs_f64() * 1e3;
    let told = Read { frames, first, ms, rss_mb: peak_mb()? };
    println!("{}", serde_json::to_string(&told).map_err(failed)?);
    Ok(())
}

fn place(tape: &Path, seq: u64) -> Result<Place, ReadError> {
    Ok(Index::of(tape, &mut |_| ())?.before(&Point::Seq(seq)))
}

/// The most memory that was resident.
fn peak_mb() -> Result<f64, BenchError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    Ok(peak.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) * 1_024.0 / 1e6)
}

fn failed(cause: impl std::error::Error + Send + Sync + 'static) -> BenchError {
    BenchError::Io(std::io::Error::other(cause))
}
