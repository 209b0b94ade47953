//! The measurements: which cells there are, in which order, and what is made of them. Each cell has fresh processes.

mod calls;
mod idle;
pub(crate) mod layout;
pub(crate) mod report;
mod rig;
pub(crate) mod ruled;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::error::BenchError;
use crate::process::Cores;
pub(crate) use rig::Bench;
use rig::System;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Fewer connections, requests and repetitions: some ten minutes.
    #[arg(long)]
    quick: bool,
    /// Shadowcat's binary.
    #[arg(long, default_value = "target/release/shadowcat")]
    shadowcat: PathBuf,
    /// Where the reference servers are, which `cargo xtask peers` installs; without them their rows are left out.
    #[arg(long, default_value = "tests/.peers/node/node_modules/.bin")]
    peers: PathBuf,
    /// What to measure side by side.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = System::ALL)]
    systems: Vec<System>,
    /// Parts to run.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::ALL)]
    parts: Vec<Part>,
    /// Write the tables to this file too.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// A part of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Speed and CPU time of calls.
    Calls,
    /// CPU time of calls between the eras.
    Bridge,
    /// Throughput of calls with and without a tape.
    Recording,
    /// Memory of idle streams.
    Idle,
    /// 1,000 connections, every answer compared.
    Correctness,
}

impl Part {
    const ALL: [Self; 5] = [Self::Calls, Self::Bridge, Self::Recording, Self::Idle, Self::Correctness];
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Calls => "calls",
            Self::Bridge => "bridge",
            Self::Recording => "recording",
            Self::Idle => "idle",
            Self::Correctness => "correctness",
        })
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Scale {
    connections: &'static [usize],
    /// With one connection, where each request waits for the last one.
    requests_alone: usize,
    /// With more. CPU time is counted in steps of 10 ms, so a cell must use several hundred.
    requests: usize,
    /// Before a real server, which takes its time.
    requests_real: usize,
    repetitions: usize,
    streams: &'static [usize],
    settle_seconds: u64,
    correctness_requests: usize,
    /// Fresh pairs of processes, and turns of each pair, where recording is compared with none.
    recorded_pairs: usize,
    recorded_turns: usize,
}

impl Scale {
    fn requests(&self, connections: usize) -> usize {
        if connections == 1 { self.requests_alone } else { self.requests }
    }
}

const FULL: Scale = Scale {
    connections: &[1, 16, 64, 256],
    requests_alone: 15_000,
    requests: 40_000,
    requests_real: 3_000,
    repetitions: 5,
    streams: &[100, 1_000, 5_000],
    settle_seconds: 15,
    correctness_requests: 50_000,
    recorded_pairs: 10,
    recorded_turns: 12,
};

const QUICK: Scale = Scale {
    connections: &[1, 64],
    requests_alone: 4_000,
    requests: 15_000,
    requests_real: 1_000,
    repetitions: 3,
    streams: &[100, 1_000],
    // Freed memory goes back within five seconds, not at once.
    settle_seconds: 10,
    correctness_requests: 10_000,
    recorded_pairs: 4,
    recorded_turns: 12,
};

/// Runs the parts asked for. Fails if any answer was lost or wrong: a fast wrong answer is no result.
pub(crate) async fn run(settings: Settings) -> Result<ExitCode, BenchError> {
    let scale = if settings.quick { QUICK } else { FULL };
    let bench = Bench::new(Cores::find(), settings.shadowcat, settings.peers, &settings.systems)?;
    let mut text = report::heading(&bench.cores, scale);
    let mut faults = Vec::new();
    if settings.parts.contains(&Part::Calls) {
        let cells = calls::run(&bench, &settings.systems, scale).await;
        text += &report::calls(&cells);
        faults.extend(cells.iter().flat_map(calls::Cell::faults));
    }
    if settings.parts.contains(&Part::Bridge) && settings.systems.contains(&System::Off) {
        let pairs = calls::bridged(&bench, scale).await;
        text += &report::bridged(&pairs);
        faults.extend(pairs.iter().flatten().flat_map(calls::Cell::faults));
    }
    let has_both = [System::Off, System::On].iter().all(|system| settings.systems.contains(system));
    if settings.parts.contains(&Part::Recording) && has_both {
        for (bench, where_it_runs) in [(&bench, "proxy on its core"), (&bench.unpinned(), "on all cores")] {
            let pairs = calls::recorded(bench, scale).await;
            text += &report::recorded(&pairs, where_it_runs);
            faults.extend(pairs.iter().flatten().flat_map(calls::Cell::faults));
        }
    }
    if settings.parts.contains(&Part::Idle) {
        let rows = idle::run(&bench, &settings.systems, scale).await;
        text += &report::idle(&rows, scale);
        faults.extend(rows.iter().filter_map(idle::Row::fault));
    }
    if settings.parts.contains(&Part::Correctness) {
        let cells = calls::correctness(&bench, &settings.systems, scale).await;
        text += &report::correctness(&cells);
        faults.extend(cells.iter().flat_map(calls::Cell::faults));
    }
    text += &report::faults(&faults);
    println!("{text}");
    if let Some(path) = settings.out {
        std::fs::File::create(path)?.write_all(text.as_bytes())?;
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The one in the middle.
fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
