//! What rules cost the proxy: the same calls without rules and past sets of them, turn by turn; and what calls of others cost
//! while rules are slow on one stream.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::middle;
use super::report::verdict;
use super::rig::{Bench, Rig};
use crate::error::BenchError;
use crate::load::calls::Report;
use crate::load::client::Connection;
use crate::load::events;
use crate::load::session::Session;
use crate::wire::{self, Era, META_VERSION, MODERN};

/// Twenty rules as people write them. None of them changes the calls of the load, but a third has to look at each.
const TYPICAL: &str = include_str!("typical_rules.yaml");
const NONE: &str = "rules: []\n";
const SLOW: &str = "rules:\n  - name: slow\n    when: {on: notification, method: notifications/progress}\n    do: [{delay: 1ms}]\n";

/// Events of the stream on which rules are slow.
const EVENTS: usize = 10_000;
/// How long it may take on a machine that is busy.
const STREAM_MAX: Duration = Duration::from_mins(5);
/// Sessions beside it.
const OTHERS: usize = 8;
/// Into so many turns the calls of a run are divided.
const TURNS: usize = 4;
/// What may be added to the CPU time of the proxy.
const NONE_BAR: f64 = 0.02;
const TYPICAL_BAR: f64 = 0.10;
/// What may be added to the p99 of other sessions.
const P99_BAR: f64 = 0.10;
/// Callgrind runs a program some fifty times slower. The difference of two runs leaves the start out.
const COUNTED_REQUESTS: [usize; 2] = [500, 2_500];

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) requests: usize,
    pub(crate) pairs: usize,
}

/// A part of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// The judgement of one message, without a proxy.
    Judged,
    /// CPU time of a proxy.
    Cpu,
    /// Instructions of a proxy, where valgrind is installed.
    Instructions,
    /// Calls of other sessions beside a slow stream.
    Stream,
}

/// Measures a part that needs a proxy; its table as markdown.
pub(crate) async fn run(bench: &Bench, part: Part, scale: Scale) -> Result<String, BenchError> {
    let configs = Configs::new()?;
    match part {
        Part::Cpu => calls(bench, &configs, scale).await,
        Part::Instructions if Path::new(VALGRIND).exists() => instructions(bench, &configs).await,
        Part::Stream => beside_a_slow_stream(bench, &configs, scale).await,
        Part::Judged | Part::Instructions => Ok(String::new()),
    }
}

/// The configuration files of the proxies.
struct Configs(TempDir);

impl Configs {
    fn new() -> Result<Self, BenchError> {
        let configs = Self(tempfile::tempdir()?);
        for (name, rules) in [("none", NONE), ("typical", TYPICAL), ("slow", SLOW)] {
            std::fs::write(configs.path(name), rules)?;
        }
        Ok(configs)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(format!("{name}.yaml"))
    }

    /// Without a file there is nothing in the path that could carry rules.
    fn arguments(&self, name: Option<&str>) -> Vec<OsString> {
        name.map_or_else(Vec::new, |name| vec!["--config".into(), self.path(name).into()])
    }
}

/// The sets that are compared with no rules at all, with their bars.
const SETS: [(&str, &str, f64); 2] =
    [("none", "an empty list of rules", NONE_BAR), ("typical", "20 typical rules", TYPICAL_BAR)];

async fn calls(bench: &Bench, configs: &Configs, scale: Scale) -> Result<String, BenchError> {
    let mut plain = Vec::new();
    let mut ruled = [Vec::new(), Vec::new()];
    for pair in 0..scale.pairs {
        eprintln!("rules: pair {} of {}", pair + 1, scale.pairs);
        plain.push(cpu_us(bench, &configs.arguments(None), scale.requests).await?);
        for ((name, ..), measured) in SETS.iter().zip(&mut ruled) {
            measured.push(cpu_us(bench, &configs.arguments(Some(name)), scale.requests).await?);
        }
    }
    let mut text = heading("CPU time", "CPU us a call", "beside no rules");
    text.push_str(&plain_row(middle(plain.clone()).unwrap_or_default()));
    for ((_, title, bar), measured) in SETS.iter().zip(ruled) {
        // Each beside its neighbour: the machine is another one a minute later.
        let ratios = measured.iter().zip(&plain).map(|(ruled, plain)| ruled / plain).collect();
        text += &row(title, middle(measured).unwrap_or_default(), middle(ratios).unwrap_or_default(), *bar);
    }
    Ok(text)
}

/// CPU time of the proxy for one call.
async fn cpu_us(bench: &Bench, more: &[OsString], requests: usize) -> Result<f64, BenchError> {
    let rig = bench.start_with(more).await?;
    let (report, cpu) = load(bench, &rig, requests, 64).await?;
    rig.stop().await?;
    Ok(cpu.as_secs_f64() * 1e6 / checked(&report)? as f64)
}

const VALGRIND: &str = "/usr/bin/valgrind";

async fn instructions(bench: &Bench, configs: &Configs) -> Result<String, BenchError> {
    let plain = counted(bench, &configs.arguments(None)).await?;
    let mut text = heading("Instructions (callgrind, without the kernel's)", "a call", "beside no rules");
    text.push_str(&plain_row(plain));
    for (name, title, bar) in SETS {
        let ruled = counted(bench, &configs.arguments(Some(name))).await?;
        text += &row(title, ruled, ruled / plain, bar);
    }
    Ok(text)
}

/// Instructions of the proxy for one call.
async fn counted(bench: &Bench, more: &[OsString]) -> Result<f64, BenchError> {
    let [few, many] = COUNTED_REQUESTS;
    let more_instructions =
        counted_in_all(bench, more, many).await? - counted_in_all(bench, more, few).await?;
    // The warm-up is a part of what is sent.
    Ok(more_instructions / ((many - few) + (many - few) / 5) as f64)
}

async fn counted_in_all(bench: &Bench, more: &[OsString], requests: usize) -> Result<f64, BenchError> {
    eprintln!("rules: instructions of {requests} calls");
    let out = tempfile::NamedTempFile::new()?;
    let rig = bench.start_under(&callgrind(out.path()), more).await?;
    checked(&load(bench, &rig, requests, 4).await?.0)?;
    rig.stop().await?;
    total(&std::fs::read_to_string(out.path())?)
}

/// The words that put a program under callgrind, which writes to this file.
pub(super) fn callgrind(profile: &Path) -> Vec<OsString> {
    let mut file = OsString::from("--callgrind-out-file=");
    file.push(profile);
    vec![VALGRIND.into(), "--tool=callgrind".into(), file]
}

/// What callgrind has counted in all.
fn total(profile: &str) -> Result<f64, BenchError> {
    let line =
        profile.lines().find_map(|line| line.strip_prefix("totals:").or(line.strip_prefix("summary:")));
    let total = line.and_then(|line| line.trim().parse().ok());
    total.ok_or_else(|| std::io::Error::other("callgrind has counted nothing").into())
}

/// Many short turns before one proxy, each alone and beside the stream right behind each other: what the machine does
/// meanwhile falls on both, and which of them is first changes from turn to turn.
async fn beside_a_slow_stream(bench: &Bench, configs: &Configs, scale: Scale) -> Result<String, BenchError> {
    let rig = bench.start_with(&configs.arguments(Some("slow"))).await?;
    let requests = (scale.requests / TURNS).max(1);
    let turns = scale.pairs * TURNS;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    // The first one warms the proxy up.
    load(bench, &rig, requests, OTHERS).await?;
    for turn in 0..turns {
        eprintln!("rules: beside a slow stream, turn {} of {turns}", turn + 1);
        let is_beside_first = turn % 2 == 1;
        for is_beside in [is_beside_first, !is_beside_first] {
            if is_beside {
                beside.push(load_beside(bench, &rig, requests).await?);
            } else {
                alone.push(checked_load(bench, &rig, requests).await?);
            }
        }
    }
    // Those of the turns end with their turn; of this one each event is looked at.
    slow_stream(rig.url()).await?;
    rig.stop().await?;
    Ok(turns_table(&alone, &beside, requests))
}

/// Calls while there is a slow stream.
async fn load_beside(bench: &Bench, rig: &Rig, requests: usize) -> Result<Report, BenchError> {
    let streams = async {
        loop {
            if let Err(fault) = slow_stream(rig.url()).await {
                return fault;
            }
        }
    };
    tokio::select! {
        fault = streams => Err(fault),
        report = checked_load(bench, rig, requests) => report,
    }
}

async fn checked_load(bench: &Bench, rig: &Rig, requests: usize) -> Result<Report, BenchError> {
    let (report, _) = load(bench, rig, requests, OTHERS).await?;
    checked(&report)?;
    Ok(report)
}

fn turns_table(alone: &[Report], beside: &[Report], requests: usize) -> String {
    let mut text = format!(
        "\n## Calls of {OTHERS} other sessions beside a stream of {EVENTS} events that a rule delays by 1 ms each\n\n\
        {} turns of {requests} calls each, alone and beside it; medians, and the median of the ratios of the turns.\n\n\
        | | alone | beside it | ratio | middle half of the ratios | bar |\n|---|---:|---:|---:|---:|---|\n",
        alone.len(),
    );
    for (name, of, bar) in [
        ("p50 us", (|report: &Report| report.p50_us) as fn(&Report) -> u64, None),
        ("p99 us", |report| report.p99_us, Some(P99_BAR)),
    ] {
        let values = |reports: &[Report]| reports.iter().map(|report| of(report) as f64).collect::<Vec<_>>();
        let (alone, beside) = (values(alone), values(beside));
        let mut ratios: Vec<f64> =
            beside.iter().zip(&alone).map(|(one, other)| one / other.max(1.0)).collect();
        ratios.sort_by(f64::total_cmp);
        let at = |quarter: usize| ratios.get(ratios.len() * quarter / 4).copied().unwrap_or_default();
        let bar = bar.map_or_else(String::new, |bar| percent(at(2), bar));
        let [alone, beside] = [alone, beside].map(|values| middle(values).unwrap_or_default());
        let (ratio, low, high) = (at(2), at(1), at(3));
        let line =
            format!("| {name} | {alone:.0} | {beside:.0} | {ratio:.2} | {low:.2} to {high:.2} | {bar} |\n");
        text.push_str(&line);
    }
    text
}

/// One call with its events, all of which have to come, in order. Without a session: who leaves it ends it.
async fn slow_stream(url: &str) -> Result<(), BenchError> {
    let mut connection = Connection::open(&url.parse()?).await?;
    let session = Session::open(Era::Modern, &mut connection).await?;
    let mut headers = session.headers(None);
    headers.push(("mcp-name", "progress"));
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"progress","arguments":{{"canary":"slow","events":{EVENTS}}},"_meta":{{"progressToken":7,"{META_VERSION}":"{MODERN}","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    );
    let reply = connection.post_within(STREAM_MAX, &headers, text).await?;
    let came = events::messages(&String::from_utf8_lossy(&reply.body));
    let expected = (1..=EVENTS).map(|number| wire::progress("7", "slow", number));
    if came.len() == EVENTS + 1 && expected.zip(&came).all(|(expected, came)| expected == *came) {
        return Ok(());
    }
    Err(BenchError::Handshake { step: "slow stream", found: format!("{} events", came.len()) })
}

/// The report of so many calls, and the CPU time they took the proxy.
async fn load(
    bench: &Bench,
    rig: &Rig,
    requests: usize,
    connections: usize,
) -> Result<(Report, Duration), BenchError> {
    let options = [
        format!("--connections={connections}"),
        format!("--requests={requests}"),
        format!("--warm-up={}", requests / 5),
    ];
    let run = super::calls::load(bench, rig, options.into()).await?;
    Ok((run.report, run.cpu.unwrap_or_default()))
}

/// How many answers there were, if all were right.
fn checked(report: &Report) -> Result<u64, BenchError> {
    if report.wrong + report.lost == 0 {
        return Ok(report.right.max(1));
    }
    Err(BenchError::Process { program: "the proxy".into(), said: report.faults.join("; ") })
}

fn heading(title: &str, value: &str, ratio: &str) -> String {
    format!("\n## {title}\n\n| | {value} | {ratio} | bar |\n|---|---:|---:|---|\n")
}

fn plain_row(value: f64) -> String {
    format!("| no rules | {value:.1} | | |\n")
}

fn row(title: &str, value: f64, ratio: f64, bar: f64) -> String {
    format!("| {title} | {value:.1} | {:+.1} % | {} |\n", (ratio - 1.0) * 100.0, percent(ratio, bar))
}

fn percent(ratio: f64, bar: f64) -> String {
    format!("{:.0} % {}", bar * 100.0, verdict(ratio <= 1.0 + bar))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_rules_are_twenty_and_right() {
        assert_eq!(TYPICAL.lines().filter(|line| line.starts_with("  - name:")).count(), 20);
    }

    #[test]
    fn what_callgrind_counted_is_found() {
        assert_eq!(total("events: Ir\nfn=x\nsummary: 12\n\ntotals: 12\n").ok(), Some(12.0));
        assert!(total("").is_err());
    }
}
