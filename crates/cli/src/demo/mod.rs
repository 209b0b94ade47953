//! `shadowcat demo`: everything on, in front of a built-in server, and a line for each message.

mod watch;
mod welcome;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use shadowcat_gateway::config::Loaded;
use shadowcat_gateway::{Face, Level, LogFormat, Overrides, Plan, TAPES_DIR, Target};

use crate::failure::Failure;
use crate::process::Process;
use crate::run::{self, Run, Workers};

/// Where the demo is found if nobody else is there.
const PORT: u16 = 8910;
/// Where the admin API is: it is found by the data directory.
const ANY_PORT: &str = "127.0.0.1:0";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to listen [default: 127.0.0.1:8910, or a free port if that is taken]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Directory for sessions and tapes
    #[arg(long, value_name = "DIR", default_value = ".shadowcat")]
    data: PathBuf,
    /// Directory for tapes [default: `tapes` in the directory of `--data`]
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    #[command(flatten)]
    workers: Workers,
}

impl Args {
    pub(crate) fn run(self, process: &Process) -> Result<(), Failure> {
        let program = Process::program()?;
        let tapes = self.record.unwrap_or_else(|| self.data.join(TAPES_DIR));
        let server = vec![program.clone().into_os_string(), "demo-server".into()];
        let flags = Overrides {
            tape: None,
            listen: Some(self.listen.unwrap_or_else(|| free_address().to_string())),
            upstream: Some(Target::Command(server)),
            record: Some(tapes.clone()),
            data: Some(self.data),
            // What is shown is the traffic; only what is wrong may stand between.
            log_level: Some(Level::Warn),
            log_format: Some(LogFormat::Text),
            request_timeout: None,
            admin: Some(ANY_PORT.to_owned()),
            rules: Vec::new(),
            breaks: Vec::new(),
        };
        let mut plan = Plan::resolve(Face::Http, &flags, &Loaded::default(), &process.variables())
            .map_err(|errors| Failure::usage(errors.to_string()))?;
        // Not the name of the program, which is our own.
        plan.upstream.name = "demo".into();
        let (tap, watcher) = watch::start();
        let ended = Run { plan, tap: Some(tap), workers: self.workers }.until_told(process, move |address| {
            show(&welcome::text(address, &program, &tapes));
            run::announce(address);
        });
        watcher.end();
        ended
    }
}

/// The demo's own port, or any.
fn free_address() -> SocketAddr {
    let own = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    if TcpListener::bind(own).is_ok() { own } else { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) }
}

fn show(text: &str) {
    let mut out = io::stdout().lock();
    // Nobody watches: the demo goes on serving.
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}
