//! Starts the processes of one cell: the mock, the system measured, and the load in front of it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ValueEnum;
use tempfile::TempDir;

use crate::error::BenchError;
use crate::process::{Cores, Load, Server, Side};
use crate::wire::Era;

/// What stands between the load and the mock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum System {
    /// Nothing.
    Direct,
    /// The relay that looks at nothing.
    Relay,
    /// Shadowcat without a tape.
    Off,
    /// Shadowcat with a tape.
    On,
    /// Shadowcat in the place of the mock, from a tape.
    Tape,
}

impl System {
    /// In the order of the tables.
    pub(super) const ALL: [Self; 5] = [Self::Direct, Self::Relay, Self::Off, Self::On, Self::Tape];

    /// The name in the tables.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "bare relay",
            Self::Off => "Shadowcat",
            Self::On => "Shadowcat, recording",
            Self::Tape => "Shadowcat, from a tape",
        }
    }

    /// Whether it is the program under test.
    pub(super) fn is_shadowcat(self) -> bool {
        matches!(self, Self::Off | Self::On | Self::Tape)
    }
}

impl std::fmt::Display for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
            Self::Off => "off",
            Self::On => "on",
            Self::Tape => "tape",
        })
    }
}

/// How the mock is reached by a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upstream {
    Http,
    /// Over HTTP, but it offers no stream of its own.
    PostOnly,
    Stdio,
    /// The reference server `everything`, over HTTP.
    Everything,
}

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(super) cores: Cores,
    this: PathBuf,
    shadowcat: PathBuf,
    peers: PathBuf,
}

/// The reference server, beside the `node` that runs it.
const EVERYTHING: &str = "mcp-server-everything";
/// What it says when it listens.
const EVERYTHING_SAYS: &str = "listening on port";

impl Bench {
    /// Fails if a program that is to be measured does not exist.
    pub(super) fn new(
        cores: Cores,
        shadowcat: PathBuf,
        peers: PathBuf,
        systems: &[System],
    ) -> Result<Self, BenchError> {
        if systems.iter().any(|system| system.is_shadowcat()) && !shadowcat.exists() {
            return Err(BenchError::NoBinary(shadowcat));
        }
        Ok(Self { cores, this: std::env::current_exe()?, shadowcat, peers })
    }

    /// Starts a system and what is behind it, which speaks one era only where that is said.
    pub(super) async fn start(
        &self,
        system: System,
        upstream: Upstream,
        speaks: Option<Era>,
    ) -> Result<Rig, BenchError> {
        let mock = match upstream {
            Upstream::Http => Some(Server::start(&self.mock(&[], speaks)).await?),
            Upstream::PostOnly => Some(Server::start(&self.mock(&["--post-only"], speaks)).await?),
            Upstream::Stdio => None,
            Upstream::Everything => Some(Server::start_foreign(&self.everything(), EVERYTHING_SAYS).await?),
        };
        let data = tempfile::tempdir()?;
        let proxy = match (system, &mock) {
            (System::Direct, _) | (System::Relay, None) => None,
            (System::Relay, Some(mock)) => {
                let role = self.role(Side::Proxy, &["relay", "--upstream", mock.address()]);
                Some(Server::start(&role).await?)
            }
            (System::Off | System::On | System::Tape, mock) => {
                let words = self.shadowcat(system, mock.as_ref(), speaks, &data);
                Some(Server::start(&words).await?)
            }
        };
        Ok(Rig { mock, proxy, data })
    }

    /// The same programs, where the system puts them.
    pub(super) fn unpinned(&self) -> Self {
        let Self { this, shadowcat, peers, .. } = self;
        Self { cores: Cores::Free, this: this.clone(), shadowcat: shadowcat.clone(), peers: peers.clone() }
    }

    /// For Shadowcat alone.
    pub(crate) fn of(shadowcat: PathBuf) -> Result<Self, BenchError> {
        Self::new(Cores::find(), shadowcat, PathBuf::new(), &[System::Off])
    }

    /// Starts Shadowcat without a tape in front of the mock on HTTP, with more arguments.
    pub(super) async fn start_with(&self, more: &[OsString]) -> Result<Rig, BenchError> {
        self.start_under(&[], more).await
    }

    /// The same by means of another program, which is given its words first.
    pub(super) async fn start_under(
        &self,
        program: &[OsString],
        more: &[OsString],
    ) -> Result<Rig, BenchError> {
        let mock = Some(Server::start(&self.mock(&[], None)).await?);
        let data = tempfile::tempdir()?;
        let words = self.shadowcat(System::Off, mock.as_ref(), None, &data);
        let place = words.iter().position(|word| *word == self.shadowcat).unwrap_or_default();
        let (core, own) = words.split_at(place);
        let words = [core, program, own, more].concat();
        let proxy = Some(Server::start(&words).await?);
        Ok(Rig { mock, proxy, data })
    }

    /// Starts Shadowcat alone, in the place of what is on the tape of an earlier rig.
    pub(super) async fn start_from_tape(&self, data: TempDir) -> Result<Rig, BenchError> {
        let mut words = self.cores.words(Side::Proxy, &self.shadowcat);
        words.extend(["mock", "--listen", "127.0.0.1:0"].map(OsString::from));
        for tape in std::fs::read_dir(data.path().join("tapes"))? {
            words.push(tape?.path().into());
        }
        Ok(Rig { mock: None, proxy: Some(Server::start(&words).await?), data })
    }

    /// Starts a load role in front of a rig.
    pub(super) fn load(&self, role: &str, rig: &Rig, options: &[String]) -> Result<Load, BenchError> {
        let mut words = self.role(Side::Load, &[role, "--url", rig.url()]);
        words.extend(options.iter().map(OsString::from));
        Load::start(&words)
    }

    fn role(&self, side: Side, arguments: &[&str]) -> Vec<OsString> {
        let mut words = self.cores.words(side, &self.this);
        words.extend(arguments.iter().map(OsString::from));
        words
    }

    fn mock(&self, arguments: &[&str], speaks: Option<Era>) -> Vec<OsString> {
        let mut words = self.role(Side::Load, &[&["mock"], arguments].concat());
        if let Some(era) = speaks {
            words.extend(["--speaks", era.word()].map(OsString::from));
        }
        words
    }

    /// Whether the reference server is installed, and nobody is held to a core: it needs more than one.
    pub(super) fn has_everything(&self) -> bool {
        matches!(self.cores, Cores::Free) && self.peers.join(EVERYTHING).exists()
    }

    fn everything(&self) -> Vec<OsString> {
        let mut words = self.cores.words(Side::Load, &self.peers.join("node"));
        words.extend([self.peers.join(EVERYTHING).into(), "streamableHttp".into()]);
        words
    }

    fn shadowcat(
        &self,
        system: System,
        mock: Option<&Server>,
        speaks: Option<Era>,
        data: &TempDir,
    ) -> Vec<OsString> {
        let mut words = self.cores.words(Side::Proxy, &self.shadowcat);
        words.extend(["reverse", "--listen", "127.0.0.1:0", "--data"].map(OsString::from));
        words.push(data.path().join("data").into());
        if system == System::On {
            words.extend(["--record".into(), data.path().join("tapes").into()]);
        }
        if let Some(mock) = mock {
            words.extend(["--upstream".into(), mock.url().into()]);
        } else {
            words.push("--".into());
            // A child inherits the proxy's core, where it would take time from what is measured.
            words.extend(self.mock(&["--stdio", "--out-of-order"], speaks));
        }
        words
    }
}

/// The running processes of one cell.
#[derive(Debug)]
pub(super) struct Rig {
    mock: Option<Server>,
    /// The process that is measured; none if there is no proxy.
    pub(super) proxy: Option<Server>,
    data: TempDir,
}

impl Rig {
    pub(super) fn url(&self) -> &str {
        self.proxy.as_ref().or(self.mock.as_ref()).map(Server::url).unwrap_or_default()
    }

    /// Ends the processes, the proxy first; gives what they wrote.
    pub(super) async fn stop(self) -> Result<TempDir, BenchError> {
        for server in [self.proxy, self.mock].into_iter().flatten() {
            server.stop().await?;
        }
        Ok(self.data)
    }
}
