//! Rules: what a message costs that passes a thousand of them, and what they cost a proxy. The first part links what it
//! measures: the judgement of one message is far too short to be seen on a wire.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use shadowcat_protocol::{Direction, Limits, Message};
use shadowcat_rules::written::Rule;
use shadowcat_rules::{Facts, Kind, Rules, Scene, World};

use crate::error::BenchError;
use crate::suite::Bench;
use crate::suite::report::verdict;
use crate::suite::ruled::{self, Part, Scale};

const US_BAR: f64 = 50.0;
/// What `--quick` measures.
const QUICK: Scale = Scale { requests: 4_000, pairs: 1 };

#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Rules of each kind.
    #[arg(long, default_value_t = 1_000)]
    rules: usize,
    /// Messages that are judged.
    #[arg(long, default_value_t = 20_000)]
    messages: u32,
    /// Shadowcat's binary.
    #[arg(long, default_value = "target/release/shadowcat")]
    shadowcat: PathBuf,
    /// Fewer calls and runs: good for a look only.
    #[arg(long)]
    quick: bool,
    /// Calls of each run before a proxy. CPU time is counted in steps of 10 ms.
    #[arg(long, default_value_t = 40_000)]
    requests: usize,
    /// Runs of each kind, turn by turn.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Parts to run.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "judged,cpu,instructions,stream")]
    parts: Vec<Part>,
}

/// A set of rules, and what its rules look like: `#` is the number of the rule.
const SETS: [(&str, &str); 6] = [
    ("for other methods", r##"{"name":"#","when":{"method":"resources/#"},"do":[{"drop":true}]}"##),
    ("for a tool each", r##"{"name":"#","when":{"tool":"tool_#"},"do":[{"drop":true}]}"##),
    ("for tools by `*`", r##"{"name":"#","when":{"tool":"tool_#*"},"do":[{"drop":true}]}"##),
    (
        "for tools by regular expression",
        r##"{"name":"#","when":{"tool":"/^tool_#$/"},"do":[{"drop":true}]}"##,
    ),
    (
        "on an argument",
        r##"{"name":"#","when":{"method":"tools/call","params":{"$.arguments.path":"/etc/#"}},"do":[{"drop":true}]}"##,
    ),
    (
        "on an argument, by regular expression",
        r##"{"name":"#","when":{"method":"tools/call","params":{"$.arguments.path":{"matches":"^/etc/#"}}},"do":[{"drop":true}]}"##,
    ),
];

struct Real;

impl World for Real {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn random(&self) -> [u8; 16] {
        [0; 16]
    }
}

/// Prints the tables.
pub(crate) async fn run(settings: Settings) -> Result<(), BenchError> {
    let Settings { requests, pairs, .. } = settings;
    let scale = if settings.quick { QUICK } else { Scale { requests, pairs } };
    for part in &settings.parts {
        if *part == Part::Judged {
            table(&settings)?;
        } else {
            // Each is printed when it is there: the next one may fail.
            println!("{}", ruled::run(&Bench::of(settings.shadowcat.clone())?, *part, scale).await?);
        }
    }
    Ok(())
}

/// No message fits a rule, so that all are looked at.
fn table(settings: &Settings) -> Result<(), BenchError> {
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"tool","arguments":{{"path":"/home/{}","n":1}}}}}}"#,
        "x".repeat(256)
    );
    let message = Message::parse(text.into(), &Limits::default()).map_err(failed)?;
    println!("| {} rules | us a message | bar |\n|---|---|---|", settings.rules);
    for (name, form) in SETS {
        let rules = compile(form, settings.rules)?;
        let us =
            judged(&rules, &message, settings.messages).as_secs_f64() * 1e6 / f64::from(settings.messages);
        println!("| {name} | {us:.2} | {US_BAR:.0} {} |", verdict(us < US_BAR));
    }
    Ok(())
}

fn compile(form: &str, count: usize) -> Result<Rules, BenchError> {
    let rule = |number: usize| serde_json::from_str::<Rule>(&form.replace('#', &number.to_string()));
    let written: Vec<Rule> = (0..count).map(rule).collect::<Result<_, _>>().map_err(failed)?;
    Rules::compile(&written).map_err(|faults| {
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        BenchError::Io(std::io::Error::other(told.join("; ")))
    })
}

fn judged(rules: &Rules, message: &Message, count: u32) -> Duration {
    let facts = Facts::default();
    let begun = cpu_time();
    for _ in 0..count {
        if !rules.concerns(Kind::Request, Direction::ToServer, message.method()) {
            continue;
        }
        let scene = Scene { direction: Direction::ToServer, facts: &facts, asked: None, took: None };
        let mut judgement = rules.judge(message.clone(), scene);
        while judgement.next(&Real).is_some() {}
    }
    cpu_time().saturating_sub(begun)
}

/// What this thread has used: other work on the machine does not count.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

fn failed(cause: impl std::error::Error + Send + Sync + 'static) -> BenchError {
    BenchError::Io(std::io::Error::other(cause))
}
