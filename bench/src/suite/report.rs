//! The tables, in markdown. No measuring here.

use std::fmt::Write as _;

use super::Scale;
use super::calls::{Cell, Traffic};
use super::idle::Row;
use super::rig::{System, Upstream};
use crate::process::Cores;
use crate::wire::{Answer, Era};

/// Most CPU time a request may cost, as a multiple of the bare relay's.
const CPU_BARS: [(&str, Upstream, System, f64); 3] = [
    ("CPU per request, HTTP upstream", Upstream::Http, System::Off, 1.7),
    ("CPU per request, HTTP upstream, recording", Upstream::Http, System::On, 2.2),
    ("CPU per request, stdio upstream", Upstream::Stdio, System::Off, 2.5),
];
/// Most CPU time of a bridged call, as a multiple of the same call without a bridge.
const BRIDGE_BAR: f64 = 1.5;
/// Most of the throughput that recording may take.
const RECORDING_BAR: f64 = 0.05;
/// Most kilobytes a stream with its upstream stream may cost.
const STREAM_KB_BAR: f64 = 40.0;
/// From so many streams on it is judged what each takes: of fewer, what the first one needs is the better part.
const STREAMS_MANY: usize = 1_000;
/// Most megabytes of the whole proxy when nothing has happened yet.
const STARTED_MB_BAR: f64 = 12.0;
/// Most megabytes of the whole proxy, by open streams that have none upstream.
const MEMORY_MB_BARS: [(usize, f64); 3] = [(100, 15.0), (1_000, 32.0), (5_000, 112.0)];
/// Most megabytes above idle after all streams are closed.
const CLOSED_MB_BAR: f64 = 10.0;

/// What was run, and on what.
pub(super) fn heading(cores: &Cores, scale: Scale) -> String {
    let placed = match cores {
        Cores::Pinned(_) => "the proxy alone on core 0, load and mock together on core 1",
        Cores::Free => "not pinned (no taskset, or one core only): the figures vary more",
    };
    format!(
        "# Shadowcat beside a bare relay\n\nProcesses: {placed}. Each cell has fresh processes, {} requests ({} with one \
         connection) after a warm-up, \
         median of {} run(s). CPU is the user and system time of the proxy process for 1,000 requests. \"x relay\" is that \
         time against the bare relay's for the same calls over HTTP. Each ratio is the median of the ratios of neighbouring runs, \
         not that of the medians.\n",
        scale.requests, scale.requests_alone, scale.repetitions
    )
}

/// A table for each kind of traffic, then the bars.
pub(super) fn calls(cells: &[Cell]) -> String {
    let mut text = String::new();
    for (upstream, era, answer) in [
        (Upstream::Http, Era::Legacy, Answer::Json),
        (Upstream::Http, Era::Legacy, Answer::Sse),
        (Upstream::Http, Era::Legacy, Answer::Progress),
        (Upstream::Stdio, Era::Legacy, Answer::Json),
        (Upstream::Stdio, Era::Legacy, Answer::Progress),
        (Upstream::Http, Era::Modern, Answer::Json),
        (Upstream::Http, Era::Modern, Answer::Sse),
    ] {
        let of_this = |traffic: &Traffic| {
            traffic.upstream == upstream && traffic.era == era && traffic.answers.as_slice() == [answer]
        };
        let rows: Vec<&Cell> = cells.iter().filter(|cell| of_this(&cell.traffic)).collect();
        if !rows.is_empty() {
            let _ = write!(text, "\n## {}\n\n{}", title(upstream, era, answer), CALLS_HEAD);
            for cell in rows {
                text += &call_row(cell, cells);
            }
        }
    }
    text + &cpu_bars(cells)
}

const CALLS_HEAD: &str = "| connections | system | requests/s | p50 ms | p99 ms | CPU ms | x relay | RSS MB | wrong or lost |\n|---:|---|---:|---:|---:|---:|---:|---:|---:|\n";

fn title(upstream: Upstream, era: Era, answer: Answer) -> String {
    let upstream = match upstream {
        Upstream::Http => "HTTP upstream",
        Upstream::PostOnly => "HTTP upstream without streams",
        Upstream::Stdio => "stdio upstream",
        Upstream::Everything => "the reference server `everything`",
    };
    let era = match era {
        Era::Legacy => "sessions",
        Era::Modern => "stateless (2026-07-28)",
    };
    let answer = match answer {
        Answer::Json => "JSON answers",
        Answer::Sse => "SSE answers",
        Answer::Progress => "SSE answers with a progress notification",
        Answer::Echo => "SSE answers to `echo`",
    };
    format!("{upstream}, {era}, {answer}")
}

fn call_row(cell: &Cell, cells: &[Cell]) -> String {
    let (p50, p99) = cell.latencies_ms();
    let [_, wrong, lost] = cell.counts();
    format!(
        "| {} | {} | {:.0} | {p50:.2} | {p99:.2} | {} | {} | {} | {} |\n",
        cell.traffic.connections,
        cell.system.title(),
        cell.per_second(),
        number(cell.cpu_ms(), 1),
        number(ratio(cell, cells), 2),
        number(cell.rss_mb(), 1),
        wrong + lost,
    )
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

/// CPU time of a cell against the relay's for the same calls, turn by turn.
fn ratio(cell: &Cell, cells: &[Cell]) -> Option<f64> {
    let relay = cells.iter().find(|other| {
        other.system == System::Relay
            && other.traffic.upstream == Upstream::Http
            && other.traffic.is_like(&cell.traffic)
    })?;
    cell.cpu_beside(relay)
}

fn cpu_bars(cells: &[Cell]) -> String {
    let mut text = String::new();
    for (name, upstream, system, bar) in CPU_BARS {
        let of_this = cells.iter().filter(|cell| cell.system == system && cell.traffic.upstream == upstream);
        let ratios = of_this.filter_map(|cell| Some((ratio(cell, cells)?, &cell.traffic)));
        if let Some((worst, traffic)) = ratios.max_by(|(one, _), (other, _)| one.total_cmp(other)) {
            let measured = format!("{worst:.2} x relay in the worst row ({})", traffic.name());
            text += &bar_row(name, &measured, &format!("{bar} x"), worst <= bar);
        }
    }
    bars(&text)
}

/// The table of bridged calls beside those without a bridge, and its bar.
pub(super) fn bridged(pairs: &[[Cell; 2]]) -> String {
    let mut text = "\n## A server of the other era\n\n\
        | calls | CPU ms, same era | CPU ms, bridged | x same era | wrong or lost |\n|---|---:|---:|---:|---:|\n"
        .to_owned();
    let mut worst: Option<f64> = None;
    for [same, bridged] in pairs {
        let ratio = bridged.cpu_beside(same);
        let [_, wrong, lost] = bridged.counts();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            same.traffic.name(),
            number(same.cpu_ms(), 1),
            number(bridged.cpu_ms(), 1),
            number(ratio, 2),
            wrong + lost,
        );
        worst = worst.into_iter().chain(ratio).reduce(f64::max);
    }
    let Some(worst) = worst else { return text };
    let measured = format!("{worst:.2} x the same era in the worst row");
    let bar = format!("{BRIDGE_BAR} x");
    text + &bars(&bar_row("CPU per bridged call", &measured, &bar, worst <= BRIDGE_BAR))
}

/// The table of calls with and without a tape, and its bar.
pub(super) fn recorded(pairs: &[[Cell; 2]], where_it_runs: &str) -> String {
    let mut text = format!(
        "\n## Recording, {where_it_runs}\n\n\
        | calls | requests/s, off | requests/s, on | throughput lost | middle half of the turns | CPU ms, off | CPU ms, on | wrong or lost |\n\
        |---|---:|---:|---:|---:|---:|---:|---:|\n"
    );
    let mut worst = [None; 2];
    for [off, on] in pairs {
        let (cost, half) = (on.cost_beside(off), on.costs_beside(off));
        let faults = [off, on].map(|cell| cell.counts()[1] + cell.counts()[2]);
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.0} | {} % | {} to {} % | {} | {} | {} |",
            off.traffic.name(),
            off.per_second(),
            on.per_second(),
            number(cost.map(|cost| 100.0 * cost), 1),
            number(half.map(|[low, _]| 100.0 * low), 1),
            number(half.map(|[_, high]| 100.0 * high), 1),
            number(off.mean_cpu_ms(), 1),
            number(on.mean_cpu_ms(), 1),
            faults.iter().sum::<u64>(),
        );
        let [of_mock, of_real] = &mut worst;
        let worst = if off.traffic.upstream == Upstream::Everything { of_real } else { of_mock };
        *worst = worst.iter().copied().chain(cost).reduce(f64::max);
    }
    let bar = format!("{} %", 100.0 * RECORDING_BAR);
    let row = |(worst, server): (Option<f64>, &str)| {
        let worst = worst?;
        let measured = format!("{:.1} % in the worst row", 100.0 * worst);
        let what = format!("throughput lost to recording before {server}, {where_it_runs}");
        Some(bar_row(&what, &measured, &bar, worst <= RECORDING_BAR))
    };
    let servers = ["a mock that does no work", "the reference server"];
    text + &bars(&worst.into_iter().zip(servers).filter_map(row).collect::<String>())
}

fn bars(rows: &str) -> String {
    if rows.is_empty() {
        return String::new();
    }
    format!("\n| bar | measured | at most | |\n|---|---:|---:|---|\n{rows}")
}

fn bar_row(name: &str, measured: &str, bar: &str, holds: bool) -> String {
    format!("| {name} | {measured} | {bar} | {} |\n", verdict(holds))
}

/// Whether a bar is met, as all tables say it.
pub(crate) fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "MISSED" }
}

/// The memory table and its bars.
pub(super) fn idle(rows: &[Row], scale: Scale) -> String {
    let mut text = format!(
        "\n## Idle event streams, a session each\n\n\
         | streams | system | upstream streams | RSS MB before | open | {} s after closing | kB per stream | opened in s | lost |\n\
         |---:|---|---|---:|---:|---:|---:|---:|---:|\n",
        scale.settle_seconds
    );
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {} |",
            row.streams,
            row.system.title(),
            upstream_streams(row),
            row.before_mb,
            row.open_mb,
            row.closed_mb,
            row.kb_per_stream(),
            row.report.opening_seconds,
            row.report.lost,
        );
    }
    text + &memory_bars(rows)
}

fn upstream_streams(row: &Row) -> &'static str {
    if row.upstream == Upstream::Http { "one each" } else { "none" }
}

fn memory_bars(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows.iter().filter(|row| row.system.is_shadowcat()) {
        // Streams that are not there cost nothing, which proves nothing.
        let whole = row.report.lost == 0;
        let mb = |value: f64| format!("{value:.1} MB");
        let mut add = |name: String, measured: f64, most: f64| {
            text.push_str(&bar_row(&name, &mb(measured), &mb(most), whole && measured <= most));
        };
        let (streams, with) = (row.streams, upstream_streams(row));
        if row.upstream == Upstream::PostOnly {
            add("memory when started".to_owned(), row.before_mb, STARTED_MB_BAR);
            if let Some((_, bar)) = MEMORY_MB_BARS.iter().find(|(at, _)| *at == streams) {
                add(format!("memory with {streams} streams, {with} upstream"), row.open_mb, *bar);
            }
        }
        add(
            format!("memory after {streams} streams closed, {with} upstream"),
            row.closed_mb,
            row.before_mb + CLOSED_MB_BAR,
        );
        if row.upstream == Upstream::Http && streams >= STREAMS_MANY {
            let kb = row.kb_per_stream();
            let name = format!("each of {streams} streams with its upstream stream");
            text += &bar_row(
                &name,
                &format!("{kb:.1} kB"),
                &format!("{STREAM_KB_BAR} kB"),
                whole && kb <= STREAM_KB_BAR,
            );
        }
    }
    bars(&text)
}

/// The table of compared answers.
pub(super) fn correctness(cells: &[Cell]) -> String {
    let mut text = "\n## 1,000 connections, ids and sessions shared, every answer compared byte for byte\n\n\
        | upstream | era | system | right | wrong | lost |\n|---|---|---|---:|---:|---:|\n"
        .to_owned();
    for cell in cells {
        let [right, wrong, lost] = cell.counts();
        let Traffic { upstream, era, .. } = cell.traffic;
        let _ = writeln!(
            text,
            "| {upstream:?} | {era:?} | {} | {right} | {wrong} | {lost} |",
            cell.system.title()
        );
    }
    text
}

/// What went wrong, or nothing.
pub(super) fn faults(faults: &[String]) -> String {
    if faults.is_empty() {
        return "\nNo answer was lost or wrong.\n".to_owned();
    }
    format!("\n## Faults\n\n- {}\n", faults.join("\n- "))
}
