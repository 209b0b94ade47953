//! Cells of calls: one system, one kind of answer, one number of connections, several repetitions.

mod loaded;
mod recorded;

use std::time::Duration;

use clap::ValueEnum;

use super::rig::{Bench, System, Upstream};
use super::{Scale, middle};
use crate::error::BenchError;
use crate::load::calls::Report;
use crate::wire::{Answer, Era};
use loaded::Loaded;
pub(super) use loaded::load;
pub(super) use recorded::recorded;

/// Sessions, and so children, that the connections of a stdio cell share at most.
const STDIO_SESSIONS_MAX: usize = 16;
/// Connections of the correctness part.
const CORRECTNESS_CONNECTIONS: usize = 1_000;
/// Sessions they share there, so that each has several calls with the same id in flight.
const CORRECTNESS_SESSIONS: usize = 100;
/// Connections at which the modern era is compared.
const MODERN_CONNECTIONS: usize = 64;

/// What distinguishes a group of cells that are compared with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) upstream: Upstream,
    pub(super) era: Era,
    pub(super) answers: Vec<Answer>,
    pub(super) connections: usize,
    sessions: usize,
    same_ids: bool,
    /// Whether the server speaks the other era.
    pub(super) bridged: bool,
}

/// A system under one traffic.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) system: System,
    pub(super) traffic: Traffic,
    runs: Vec<Run>,
}

/// One repetition.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) report: Report,
    pub(super) cpu: Option<Duration>,
    rss: Option<u64>,
}

/// Every traffic under every system. The systems alternate within a repetition, so that a slow minute of the machine
/// hits all of them.
pub(super) async fn run(bench: &Bench, systems: &[System], scale: Scale) -> Vec<Cell> {
    let mut cells = Vec::new();
    for traffic in traffics(scale) {
        let requests = scale.requests(traffic.connections);
        cells.extend(compare(bench, systems, &traffic, requests, scale.repetitions).await);
    }
    cells
}

/// 1,000 connections that share sessions and ids, with every kind of answer in turn.
pub(super) async fn correctness(bench: &Bench, systems: &[System], scale: Scale) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (upstream, era) in
        [(Upstream::Http, Era::Legacy), (Upstream::Http, Era::Modern), (Upstream::Stdio, Era::Legacy)]
    {
        let sessions = if upstream == Upstream::Stdio { STDIO_SESSIONS_MAX } else { CORRECTNESS_SESSIONS };
        let traffic = Traffic {
            upstream,
            era,
            answers: Answer::value_variants().to_vec(),
            connections: CORRECTNESS_CONNECTIONS,
            sessions,
            same_ids: true,
            bridged: false,
        };
        cells.extend(compare(bench, systems, &traffic, scale.correctness_requests, 1).await);
    }
    cells
}

/// Calls whose server speaks the other era, each beside the same call to a server that speaks its client's. The two
/// alternate, for what is compared is their CPU time.
pub(super) async fn bridged(bench: &Bench, scale: Scale) -> Vec<[Cell; 2]> {
    let mut pairs = Vec::new();
    for era in [Era::Modern, Era::Legacy] {
        for (upstream, answer) in [
            (Upstream::Http, Answer::Json),
            (Upstream::Http, Answer::Sse),
            (Upstream::Http, Answer::Progress),
            (Upstream::Stdio, Answer::Json),
            (Upstream::Stdio, Answer::Progress),
        ] {
            let traffic = Traffic::of(upstream, era, answer, MODERN_CONNECTIONS);
            let cell = |bridged| Cell {
                system: System::Off,
                traffic: Traffic { bridged, ..traffic.clone() },
                runs: Vec::new(),
            };
            pairs.push(alternate(bench, [cell(false), cell(true)], scale, scale.repetitions).await);
        }
    }
    pairs
}

async fn alternate(bench: &Bench, mut pair: [Cell; 2], scale: Scale, repetitions: usize) -> [Cell; 2] {
    turns(bench, &mut pair, scale.requests, repetitions).await;
    pair
}

/// Each cell once a turn; who was first is last in the next one, so that no place among them is an advantage.
async fn turns(bench: &Bench, cells: &mut [Cell], requests: usize, repetitions: usize) {
    for turn in 0..repetitions {
        for place in 0..cells.len() {
            let place = if turn % 2 == 0 { place } else { cells.len() - 1 - place };
            if let Some(cell) = cells.get_mut(place) {
                cell.repeat(bench, requests).await;
            }
        }
    }
}

fn traffics(scale: Scale) -> Vec<Traffic> {
    let mut traffics = Vec::new();
    for &connections in scale.connections {
        for answer in [Answer::Json, Answer::Sse, Answer::Progress] {
            traffics.push(Traffic::of(Upstream::Http, Era::Legacy, answer, connections));
        }
        for answer in [Answer::Json, Answer::Progress] {
            traffics.push(Traffic::of(Upstream::Stdio, Era::Legacy, answer, connections));
        }
    }
    for answer in [Answer::Json, Answer::Sse] {
        traffics.push(Traffic::of(Upstream::Http, Era::Modern, answer, MODERN_CONNECTIONS));
    }
    traffics
}

impl Traffic {
    fn of(upstream: Upstream, era: Era, answer: Answer, connections: usize) -> Self {
        let sessions = match upstream {
            Upstream::Http | Upstream::PostOnly | Upstream::Everything => connections,
            Upstream::Stdio => connections.min(STDIO_SESSIONS_MAX),
        };
        Self { upstream, era, answers: vec![answer], connections, sessions, same_ids: false, bridged: false }
    }

    /// Whether a system can carry it: stdio has only Shadowcat in front, and a tape is one whatever it was recorded on.
    fn suits(&self, system: System) -> bool {
        self.upstream == Upstream::Http || (system.is_shadowcat() && system != System::Tape)
    }

    /// One call of each kind, to be recorded.
    fn once(&self) -> Self {
        Self { connections: 1, sessions: 1, ..self.clone() }
    }

    /// Whether a bare relay of `other` is the yardstick of this traffic.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.era, &self.answers, self.connections) == (other.era, &other.answers, other.connections)
    }

    /// What it is, in a few words.
    pub(super) fn name(&self) -> String {
        let Self { upstream, era, answers, connections, bridged, .. } = self;
        let bridged = if *bridged { ", bridged" } else { "" };
        format!("{upstream:?} upstream, {era:?}, {answers:?}, {connections} connections{bridged}")
    }

    fn options(&self, requests: usize) -> Vec<String> {
        let answers: Vec<String> = self.answers.iter().map(option).collect();
        let mut options = vec![
            "--era".to_owned(),
            option(&self.era),
            "--answers".to_owned(),
            answers.join(","),
            format!("--connections={}", self.connections),
            format!("--sessions={}", self.sessions),
            format!("--requests={requests}"),
            format!("--warm-up={}", requests / 5),
        ];
        if self.bridged {
            options.push("--bridged".to_owned());
        }
        if self.same_ids {
            options.push("--same-ids".to_owned());
        }
        options
    }
}

/// A value as the command line takes it.
fn option(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

async fn compare(
    bench: &Bench,
    systems: &[System],
    traffic: &Traffic,
    requests: usize,
    repetitions: usize,
) -> Vec<Cell> {
    let suited = systems.iter().filter(|system| traffic.suits(**system));
    let mut cells: Vec<Cell> =
        suited.map(|system| Cell { system: *system, traffic: traffic.clone(), runs: Vec::new() }).collect();
    turns(bench, &mut cells, requests, repetitions).await;
    cells
}

async fn measure(
    bench: &Bench,
    system: System,
    traffic: &Traffic,
    requests: usize,
) -> Result<Run, BenchError> {
    if system != System::Tape {
        let mut loaded = Loaded::start(bench, system, traffic, traffic.options(requests)).await?;
        let run = loaded.turn().await?;
        loaded.stop().await?;
        return Ok(run);
    }
    let one_canary = |mut options: Vec<String>| {
        options.push("--one-canary".to_owned());
        options
    };
    let recording = bench.start(System::On, traffic.upstream, None).await?;
    load(bench, &recording, one_canary(traffic.once().options(traffic.answers.len()))).await?;
    let rig = bench.start_from_tape(recording.stop().await?).await?;
    let run = load(bench, &rig, one_canary(traffic.options(requests))).await?;
    rig.stop().await?;
    Ok(run)
}

impl Run {
    /// A cell that could not be measured: all that it was to send is lost, the other cells go on.
    fn failed(error: &BenchError, requests: usize) -> Self {
        let report = Report { lost: requests as u64, faults: vec![error.to_string()], ..Report::default() };
        Self { report, cpu: None, rss: None }
    }

    fn per_second(&self) -> f64 {
        self.report.right as f64 / self.report.seconds.max(1e-9)
    }

    fn cpu_ms(&self) -> Option<f64> {
        Some(self.cpu?.as_secs_f64() * 1e6 / self.report.right.max(1) as f64)
    }
}

impl Cell {
    /// Measures it once more.
    async fn repeat(&mut self, bench: &Bench, requests: usize) {
        eprintln!("{}: {}", self.system.title(), self.traffic.name());
        let run = measure(bench, self.system, &self.traffic, requests).await;
        self.runs.push(run.unwrap_or_else(|error| Run::failed(&error, requests)));
    }

    /// Median requests a second.
    pub(super) fn per_second(&self) -> f64 {
        self.median(|run| Some(run.per_second())).unwrap_or_default()
    }

    /// Median of what share of the requests of `other` are missing here in a second, run by run.
    pub(super) fn cost_beside(&self, other: &Self) -> Option<f64> {
        self.beside(other, |run| Some(run.per_second())).map(|ratio| 1.0 - ratio)
    }

    /// Between which shares the middle half of the runs lies.
    pub(super) fn costs_beside(&self, other: &Self) -> Option<[f64; 2]> {
        let mut costs: Vec<f64> =
            self.ratios(other, |run| Some(run.per_second())).map(|ratio| 1.0 - ratio).collect();
        costs.sort_by(f64::total_cmp);
        let at = |quarters: usize| costs.get(costs.len() * quarters / 4).copied();
        Some([at(1)?, at(3)?])
    }

    /// Median of the CPU time of a request as a multiple of that of `other`, run by run: what the machine does beside falls on
    /// one pair and not on the median.
    pub(super) fn cpu_beside(&self, other: &Self) -> Option<f64> {
        self.beside(other, Run::cpu_ms)
    }

    fn beside(&self, other: &Self, value: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
        middle(self.ratios(other, value).collect())
    }

    fn ratios(&self, other: &Self, value: impl Fn(&Run) -> Option<f64>) -> impl Iterator<Item = f64> {
        let pairs = self.runs.iter().zip(&other.runs);
        pairs.filter_map(move |(run, other)| Some(value(run)? / value(other).filter(|value| *value > 0.0)?))
    }

    /// Median of the p50 and p99 in milliseconds.
    pub(super) fn latencies_ms(&self) -> (f64, f64) {
        let of = |micros: fn(&Report) -> u64| self.median(|run| Some(micros(&run.report) as f64 / 1e3));
        (of(|report| report.p50_us).unwrap_or_default(), of(|report| report.p99_us).unwrap_or_default())
    }

    /// Median CPU time of the proxy for 1,000 requests, in milliseconds.
    pub(super) fn cpu_ms(&self) -> Option<f64> {
        self.median(Run::cpu_ms)
    }

    /// Mean of the same: for many short runs, in each of which there are few ticks of the clock.
    pub(super) fn mean_cpu_ms(&self) -> Option<f64> {
        let cpu: Duration = self.runs.iter().map(|run| run.cpu).sum::<Option<_>>()?;
        let right: u64 = self.runs.iter().map(|run| run.report.right).sum();
        Some(cpu.as_secs_f64() * 1e6 / right.max(1) as f64)
    }

    /// Median resident memory of the proxy at the end of a run, in megabytes.
    pub(super) fn rss_mb(&self) -> Option<f64> {
        self.median(|run| Some(run.rss? as f64 / 1e6))
    }

    /// Right, wrong and lost answers of all runs.
    pub(super) fn counts(&self) -> [u64; 3] {
        let sum = |count: fn(&Report) -> u64| self.runs.iter().map(|run| count(&run.report)).sum();
        [sum(|report| report.right), sum(|report| report.wrong), sum(|report| report.lost)]
    }

    /// What went wrong, described.
    pub(super) fn faults(&self) -> Vec<String> {
        let [_, wrong, lost] = self.counts();
        let described = self.runs.iter().flat_map(|run| run.report.faults.iter());
        let mut faults: Vec<String> = described
            .map(|fault| format!("{}, {}: {fault}", self.system.title(), self.traffic.name()))
            .collect();
        if faults.is_empty() && wrong + lost > 0 {
            faults.push(format!("{}: {wrong} wrong, {lost} lost", self.system.title()));
        }
        faults
    }

    fn median(&self, value: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
        middle(self.runs.iter().filter_map(value).collect())
    }
}
