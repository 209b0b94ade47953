//! Memory of a proxy that holds event streams on which nothing happens.

use std::time::Duration;

use super::Scale;
use super::rig::{Bench, Rig, System, Upstream};
use crate::error::BenchError;
use crate::load::idle::Report;
use crate::process::Server;

/// Time after the last stream is open before the memory is read.
const OPEN_SETTLE: Duration = Duration::from_secs(2);

/// One system holding one number of streams.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) system: System,
    pub(super) upstream: Upstream,
    pub(super) streams: usize,
    pub(super) before_mb: f64,
    pub(super) open_mb: f64,
    pub(super) closed_mb: f64,
    pub(super) report: Report,
}

/// Every number of streams in every proxy.
pub(super) async fn run(bench: &Bench, systems: &[System], scale: Scale) -> Vec<Row> {
    let mut rows = Vec::new();
    for &streams in scale.streams {
        // The memory goal is stated without a tape.
        for (system, upstream) in [
            (System::Relay, Upstream::Http),
            (System::Off, Upstream::Http),
            (System::Off, Upstream::PostOnly),
        ] {
            if systems.contains(&system) {
                eprintln!("{}: {streams} idle streams, {upstream:?}", system.title());
                let row = measure(bench, system, upstream, streams, scale).await;
                rows.push(row.unwrap_or_else(|error| Row::failed(system, upstream, streams, &error)));
            }
        }
    }
    rows
}

async fn measure(
    bench: &Bench,
    system: System,
    upstream: Upstream,
    streams: usize,
    scale: Scale,
) -> Result<Row, BenchError> {
    let rig = bench.start(system, upstream, None).await?;
    tokio::time::sleep(OPEN_SETTLE).await;
    let before_mb = memory_mb(&rig)?;
    let mut load = bench.load("hold", &rig, &[format!("--streams={streams}")])?;
    load.reached("open").await?;
    tokio::time::sleep(OPEN_SETTLE).await;
    let open_mb = memory_mb(&rig)?;
    load.go().await?;
    let report = load.report().await?;
    load.finish().await?;
    tokio::time::sleep(Duration::from_secs(scale.settle_seconds)).await;
    let closed_mb = memory_mb(&rig)?;
    rig.stop().await?;
    Ok(Row { system, upstream, streams, before_mb, open_mb, closed_mb, report })
}

fn memory_mb(rig: &Rig) -> Result<f64, BenchError> {
    let rss = rig.proxy.as_ref().map(Server::rss).transpose()?;
    Ok(rss.unwrap_or_default() as f64 / 1e6)
}

impl Row {
    /// A row that could not be measured: no figure, and every stream lost.
    fn failed(system: System, upstream: Upstream, streams: usize, error: &BenchError) -> Self {
        let report =
            Report { held: 0, lost: streams, fault: Some(error.to_string()), opening_seconds: f64::NAN };
        Self {
            system,
            upstream,
            streams,
            before_mb: f64::NAN,
            open_mb: f64::NAN,
            closed_mb: f64::NAN,
            report,
        }
    }

    /// Memory that one stream costs.
    pub(super) fn kb_per_stream(&self) -> f64 {
        (self.open_mb - self.before_mb) * 1e3 / self.streams as f64
    }

    /// What went wrong, described.
    pub(super) fn fault(&self) -> Option<String> {
        let why = self.report.fault.as_deref().unwrap_or("ended by the other side");
        (self.report.lost > 0).then(|| {
            format!("{}: {} of {} streams lost: {why}", self.system.title(), self.report.lost, self.streams)
        })
    }
}
