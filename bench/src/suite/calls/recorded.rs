//! Calls without a tape and onto one.

use super::loaded::Loaded;
use super::{Cell, Run, Traffic};
use crate::error::BenchError;
use crate::suite::Scale;
use crate::suite::rig::{Bench, System, Upstream};
use crate::wire::{Answer, Era};

/// Connections at which recording is compared with none.
const CONNECTIONS: usize = 64;

/// What is compared is throughput, which a machine with neighbours gives and takes from one
/// second to the next: so both stand ready side by side and are loaded turn by turn.
pub(in crate::suite) async fn recorded(bench: &Bench, scale: Scale) -> Vec<[Cell; 2]> {
    let mut pairs = Vec::new();
    let real = bench.has_everything().then_some((Upstream::Everything, Answer::Echo));
    for (upstream, answer) in [
        (Upstream::Http, Answer::Json),
        (Upstream::Http, Answer::Sse),
        (Upstream::Http, Answer::Progress),
        (Upstream::Stdio, Answer::Json),
    ]
    .into_iter()
    .chain(real)
    {
        let traffic = Traffic::of(upstream, Era::Legacy, answer, CONNECTIONS);
        let cell = |system| Cell { system, traffic: traffic.clone(), runs: Vec::new() };
        let mut pair = [cell(System::Off), cell(System::On)];
        for _ in 0..scale.recorded_pairs {
            if let Err(error) = side_by_side(bench, &mut pair, scale).await {
                for cell in &mut pair {
                    cell.runs.push(Run::failed(&error, scale.requests));
                }
            }
        }
        pairs.push(pair);
    }
    pairs
}

async fn side_by_side(bench: &Bench, pair: &mut [Cell; 2], scale: Scale) -> Result<(), BenchError> {
    let options = |cell: &Cell| {
        let is_real = cell.traffic.upstream == Upstream::Everything;
        let mut options = cell.traffic.options(if is_real { scale.requests_real } else { scale.requests });
        options.push(format!("--turns={}", scale.recorded_turns));
        options
    };
    let [off, on] = pair;
    eprintln!("{} and {}: {}", off.system.title(), on.system.title(), off.traffic.name());
    let mut loaded_off = Loaded::start(bench, off.system, &off.traffic, options(off)).await?;
    let mut loaded_on = Loaded::start(bench, on.system, &on.traffic, options(on)).await?;
    for turn in 0..scale.recorded_turns {
        // Who was first is second in the next one.
        let (run_off, run_on) = if turn % 2 == 0 {
            let run_off = loaded_off.turn().await?;
            (run_off, loaded_on.turn().await?)
        } else {
            let run_on = loaded_on.turn().await?;
            (loaded_off.turn().await?, run_on)
        };
        // Only both: runs are compared by their places.
        off.runs.push(run_off);
        on.runs.push(run_on);
    }
    loaded_off.stop().await?;
    loaded_on.stop().await.map(drop)
}
