//! A system with a load in front of it.

use tempfile::TempDir;

use super::{Run, Traffic};
use crate::error::BenchError;
use crate::process::{Load, Server};
use crate::suite::rig::{Bench, Rig, System};

/// Puts a load with these options on a rig.
pub(in crate::suite) async fn load(
    bench: &Bench,
    rig: &Rig,
    options: Vec<String>,
) -> Result<Run, BenchError> {
    let mut load = bench.load("load", rig, &options)?;
    let run = turn(rig, &mut load).await?;
    close(load).await?;
    Ok(run)
}

async fn turn(rig: &Rig, load: &mut Load) -> Result<Run, BenchError> {
    let cpu = || rig.proxy.as_ref().map(Server::cpu).transpose();
    load.reached("warm").await?;
    let before = cpu()?;
    load.go().await?;
    let report = load.report().await?;
    let after = cpu()?;
    let rss = rig.proxy.as_ref().map(Server::rss).transpose()?;
    Ok(Run { report, cpu: after.zip(before).map(|(after, before)| after.saturating_sub(before)), rss })
}

async fn close(mut load: Load) -> Result<(), BenchError> {
    load.reached("closing").await?;
    load.go().await?;
    load.finish().await
}

/// A system with the load in front of it.
pub(super) struct Loaded {
    rig: Rig,
    load: Load,
}

impl Loaded {
    pub(super) async fn start(
        bench: &Bench,
        system: System,
        traffic: &Traffic,
        options: Vec<String>,
    ) -> Result<Self, BenchError> {
        let speaks = traffic.bridged.then(|| traffic.era.other());
        let rig = bench.start(system, traffic.upstream, speaks).await?;
        let load = bench.load("load", &rig, &options)?;
        Ok(Self { rig, load })
    }

    pub(super) async fn turn(&mut self) -> Result<Run, BenchError> {
        turn(&self.rig, &mut self.load).await
    }

    /// Gives what the system wrote.
    pub(super) async fn stop(self) -> Result<TempDir, BenchError> {
        close(self.load).await?;
        self.rig.stop().await
    }
}
