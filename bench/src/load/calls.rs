//! A closed loop: each connection sends its next call when the last one is answered.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::client::{Connection, Target};
use super::session::{Session, Verdict};
use crate::error::BenchError;
use crate::wire::{Answer, Call, Era};

/// Sessions opened at a time before the calls begin.
const OPENING_MAX: usize = 16;
/// Longest latency the histogram holds; a call that takes longer has missed its deadline anyway.
const LATENCY_US_MAX: u64 = 60_000_000;
/// Faults described in the report; all are counted.
const FAULTS_DESCRIBED_MAX: usize = 3;
/// Longest description of one fault.
const FAULT_CHARS_MAX: usize = 600;

/// What to send, where to and how much of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// The endpoint, such as http://127.0.0.1:8000/mcp.
    #[arg(long)]
    url: Target,
    #[arg(long, value_enum, default_value = "legacy")]
    era: Era,
    /// The server behind the proxy speaks the other era.
    #[arg(long)]
    bridged: bool,
    /// Kinds of answers to ask for, in turn.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "json")]
    answers: Vec<Answer>,
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Sessions shared by the connections (legacy era); one each unless given.
    #[arg(long)]
    sessions: Option<usize>,
    /// Let every connection count its ids from 1, so that many calls with one id are in flight on one session.
    #[arg(long)]
    same_ids: bool,
    /// Give all calls one canary, as those on a tape have.
    #[arg(long)]
    one_canary: bool,
    /// Calls that are measured.
    #[arg(long, default_value_t = 10_000)]
    requests: usize,
    /// How many times so many are measured, each when the word is given.
    #[arg(long, default_value_t = 1)]
    turns: usize,
    /// Calls before that, checked but not measured.
    #[arg(long, default_value_t = 1_000)]
    warm_up: usize,
    /// Length of the text in each answer.
    #[arg(long, default_value_t = 256)]
    text_bytes: usize,
}

/// What came of the measured calls; faults of the warm-up count too.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) right: u64,
    /// Answered with something else.
    pub(crate) wrong: u64,
    /// Not answered.
    pub(crate) lost: u64,
    /// The first few of both, described.
    pub(crate) faults: Vec<String>,
    pub(crate) seconds: f64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
}

/// Connects, warms up; waits for the word, measures and reports, once for each turn; waits again, closes its sessions.
pub(crate) async fn run(settings: Settings) -> Result<(), BenchError> {
    let (mut workers, sessions) = connect(&settings).await?;
    let warm_up = Tally::new()?;
    round(&settings, &mut workers, settings.warm_up, &warm_up).await;

    for turn in 0..settings.turns {
        super::wait_for_go("warm").await?;
        let tally = Tally::new()?;
        let started = Instant::now();
        round(&settings, &mut workers, settings.requests, &tally).await;
        let report = tally.report(started.elapsed());
        super::say_json(&if turn == 0 { report.with_faults_of(&warm_up) } else { report })?;
    }

    super::wait_for_go("closing").await?;
    for (session, worker) in sessions.iter().zip(&mut workers) {
        session.close(&mut worker.connection).await?;
    }
    Ok(())
}

/// One connection and what it speaks for.
struct Worker {
    number: usize,
    connection: Connection,
    session: Session,
    sent: u64,
}

async fn connect(settings: &Settings) -> Result<(Vec<Worker>, Vec<Session>), BenchError> {
    let sessions = settings.sessions.unwrap_or(settings.connections).clamp(1, settings.connections.max(1));
    let open = |number: usize| async move {
        let mut connection = Connection::open(&settings.url).await?;
        let session =
            if number < sessions { Some(Session::open(settings.era, &mut connection).await?) } else { None };
        Ok::<_, BenchError>((connection, session))
    };
    let opened: Vec<_> =
        stream::iter((0..settings.connections).map(open)).buffered(OPENING_MAX).try_collect().await?;
    let (connections, sessions): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
    let sessions: Vec<Session> = sessions.into_iter().flatten().collect();
    let workers = connections
        .into_iter()
        .zip(sessions.iter().cycle())
        .enumerate()
        .map(|(number, (connection, session))| Worker {
            number,
            connection,
            session: session.clone(),
            sent: 0,
        })
        .collect();
    Ok((workers, sessions))
}

async fn round(settings: &Settings, workers: &mut [Worker], requests: usize, tally: &Tally) {
    let remaining = Cell::new(requests);
    join_all(workers.iter_mut().map(|worker| worker.work(settings, &remaining, tally))).await;
}

impl Worker {
    async fn work(&mut self, settings: &Settings, remaining: &Cell<usize>, tally: &Tally) {
        while let Some(left) = remaining.get().checked_sub(1) {
            remaining.set(left);
            let call = self.next_call(settings);
            let started = Instant::now();
            match self.session.call(&mut self.connection, &call).await {
                Ok(verdict) => tally.answered(started.elapsed(), verdict),
                Err(error) => {
                    tally.lost(&call, &error);
                    match Connection::open(&settings.url).await {
                        Ok(connection) => self.connection = connection,
                        Err(_) => return,
                    }
                }
            }
        }
    }

    fn next_call(&mut self, settings: &Settings) -> Call {
        self.sent += 1;
        let base = if settings.same_ids { 0 } else { self.number as u64 * 100_000_000 };
        let turn = self.number + usize::try_from(self.sent).unwrap_or_default();
        let answer = settings.answers.iter().cycle().nth(turn % settings.answers.len().max(1));
        Call {
            id: base + self.sent,
            canary: if settings.one_canary {
                "canary".to_owned()
            } else {
                format!("canary {} of connection {}", self.sent, self.number)
            },
            answer: answer.copied().unwrap_or(Answer::Json),
            era: settings.era,
            bridged: settings.bridged,
            text_bytes: settings.text_bytes,
        }
    }
}

/// What the workers of one round share; they run on one thread.
struct Tally {
    latencies: RefCell<Histogram<u64>>,
    report: RefCell<Report>,
}

impl Tally {
    fn new() -> Result<Self, BenchError> {
        let latencies = Histogram::new_with_max(LATENCY_US_MAX, 3).map_err(std::io::Error::other)?;
        Ok(Self { latencies: RefCell::new(latencies), report: RefCell::default() })
    }

    fn answered(&self, latency: Duration, verdict: Verdict) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_US_MAX);
        self.latencies.borrow_mut().saturating_record(micros);
        let mut report = self.report.borrow_mut();
        match verdict {
            Verdict::Right => report.right += 1,
            Verdict::Wrong(found) => {
                report.wrong += 1;
                report.describe(&found);
            }
        }
    }

    fn lost(&self, call: &Call, error: &BenchError) {
        let mut report = self.report.borrow_mut();
        report.lost += 1;
        report.describe(&format!("{:?} lost: {error}", call.canary));
    }

    fn report(self, elapsed: Duration) -> Report {
        let latencies = self.latencies.into_inner();
        let mut report = self.report.into_inner();
        report.seconds = elapsed.as_secs_f64();
        report.p50_us = latencies.value_at_quantile(0.50);
        report.p99_us = latencies.value_at_quantile(0.99);
        report
    }
}

impl Report {
    fn with_faults_of(mut self, warm_up: &Tally) -> Self {
        let before = warm_up.report.borrow();
        self.wrong += before.wrong;
        self.lost += before.lost;
        before.faults.iter().for_each(|fault| self.describe(fault));
        self
    }

    fn describe(&mut self, fault: &str) {
        if self.faults.len() < FAULTS_DESCRIBED_MAX {
            self.faults.push(fault.chars().take(FAULT_CHARS_MAX).collect());
        }
    }
}
