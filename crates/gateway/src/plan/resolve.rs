//! From what was said and written to a plan: flags over variables over the file over defaults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use shadowcat_filter::nearest;

use super::overrides::{Overrides, Said, Target, said, text};
use super::problems::{PlanErrors, Problems};
use super::{
    Admin, Auth, Bridge, Limits, Listen, Log, MainFile, Plan, Playing, Record, Rules, Sessions, Store,
    Timeouts, Upstream, UpstreamTarget, admin, auth, interceptors, listen, record, telemetry, upstream,
};
use crate::config::{self, ByteSize, Level, Loaded, LogFormat, Span, Variables};

const LISTEN: &str = "127.0.0.1:8080";
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const SESSION_IDLE: Duration = Duration::from_mins(30);
const SESSION_LIFE: Duration = Duration::from_hours(24);
const SESSIONS_MAX: usize = 10_000;
const BRIDGE_SESSION_IDLE: Duration = Duration::from_mins(10);
const BRIDGE_SESSIONS_MAX: usize = 1_000;
/// People answer what a server asks, and they take their time.
const PARKED_FOR: Duration = Duration::from_mins(10);
const PARKED_MAX: usize = 1_000;
/// The file of the sessions in the data directory.
pub const SESSION_FILE: &str = "sessions.db";
/// The directory of the tapes in the data directory, unless another is named.
pub const TAPES_DIR: &str = "tapes";
/// What logs and errors call tapes that stand in for a server.
const TAPE_NAME: &str = "tape";
/// The deepest nesting that the parser of messages can follow.
const DEPTH_MAX: usize = 128;
/// More of anything is no bound, and more than what bounds it can count.
const COUNT_MAX: usize = 1_000_000_000;
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// The longest message that there can be: whatever becomes of it, a line of a tape holds it.
const MESSAGE_BYTES_MAX: usize = 64 * MIB;

/// Keys that switch something on by being there.
const SWITCHES: [&str; 6] = ["auth", "record", "record.encrypt", "admin", "cache", "telemetry"];

/// Which side clients are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// One client on standard input and output: `shadowcat forward`.
    Stdio,
    /// Clients over HTTP: `shadowcat reverse`.
    Http,
}

impl Plan {
    /// Decides everything, or says everything that is wrong.
    ///
    /// # Errors
    /// Each problem with its place and the way out.
    pub fn resolve(
        face: Face,
        flags: &Overrides,
        loaded: &Loaded,
        variables: &Variables,
    ) -> Result<Self, PlanErrors> {
        let mut sources = Sources { flags, loaded, variables, problems: Problems::default() };
        sources.refuse_empty();
        let data = sources.data();
        let listen = match face {
            Face::Stdio => Some(Listen::Stdio),
            Face::Http => sources.listen(),
        };
        let auth = sources.auth(listen.as_ref());
        let upstream = sources.upstream();
        let sessions = sources.sessions(face, data.as_deref());
        let record = sources.record(data.as_deref());
        let rules = sources.rules();
        let interceptors = interceptors::resolve(loaded, variables, &mut sources.problems);
        let admin = sources.admin(data.as_deref());
        let bridge = sources.bridge(upstream.as_ref());
        let cache = sources.cache(upstream.as_ref());
        let timeouts = sources.timeouts();
        let limits = sources.limits();
        let pause = sources.pause(crate::build::message_limits(&limits));
        let telemetry = telemetry::resolve(loaded, variables, &mut sources.problems);
        let log = sources.log();
        let plan = match (listen, upstream) {
            (Some(listen), Some(upstream)) => Some(Self {
                listen,
                auth,
                upstream,
                sessions,
                record,
                rules,
                interceptors,
                admin,
                pause,
                bridge,
                cache,
                timeouts,
                limits,
                telemetry,
                log,
            }),
            _ => None,
        };
        sources.problems.or(plan)
    }
}

pub(super) struct Sources<'a> {
    pub(super) flags: &'a Overrides,
    pub(super) loaded: &'a Loaded,
    pub(super) variables: &'a Variables,
    pub(super) problems: Problems,
}

impl<'a> Sources<'a> {
    pub(super) fn file(&self) -> &'a config::File {
        &self.loaded.file
    }

    pub(super) fn place(&self, key: &str) -> String {
        self.loaded.place(key)
    }

    fn data(&self) -> Option<PathBuf> {
        let said = said(("--data", self.flags.data.as_ref()), ("SHADOWCAT_DATA", self.variables), |value| {
            PathBuf::from(value)
        });
        said.map(|said| said.value).or_else(|| self.file().data.clone())
    }

    fn rules(&mut self) -> Rules {
        if let Err(PlanErrors(faults)) = super::rules(self.loaded) {
            self.problems.extend(faults);
        }
        let flags = (!self.flags.rules.is_empty()).then_some(&self.flags.rules);
        let said =
            said(("--rules", flags), ("SHADOWCAT_RULES", self.variables), |value| vec![PathBuf::from(value)]);
        let files = said.map_or_else(|| self.file().rule_files.clone(), |said| said.value);
        let Loaded { path, keys, .. } = self.loaded;
        let main = || MainFile { path: path.into(), keys: keys.clone() };
        Rules { written: self.file().rules.clone(), main: (!path.is_empty()).then(main), files }
    }

    fn listen(&mut self) -> Option<Listen> {
        let said = said(("--listen", self.flags.listen.as_ref()), ("SHADOWCAT_LISTEN", self.variables), text);
        let written = || self.file().listen.clone().map(|value| Said { value, place: self.place("listen") });
        let default = || Said { value: LISTEN.to_owned(), place: "listen".to_owned() };
        let Said { value, place } = said.or_else(written).unwrap_or_else(default);
        let address = self.problems.take(&place, listen::parse(&value))?;
        let http = &self.file().http;
        let is_remote = !shadowcat_auth::is_loopback(address.ip());
        let unauthenticated_remote = is_remote && self.file().auth.is_none();
        if unauthenticated_remote && !http.i_accept_unauthenticated_remote_clients {
            self.problems.add(place, listen::refusal(address));
            return None;
        }
        self.check_origins(&http.allowed_origins);
        listen::check_hosts(&http.allowed_hosts, &self.place("http.allowed_hosts"), &mut self.problems);
        Some(Listen::Http {
            address,
            allowed_hosts: http.allowed_hosts.clone(),
            allowed_origins: http.allowed_origins.clone(),
            keep_alive: http.keep_alive.map_or(KEEP_ALIVE, Span::get),
            unauthenticated_remote,
        })
    }

    /// A key that switches something on is as if it were not there when all below it is a comment: whoever wrote it means
    /// something else.
    fn refuse_empty(&mut self) {
        for key in SWITCHES.into_iter().filter(|key| self.loaded.keys.is_empty_at(key)) {
            let sentence = "has nothing below it, which would switch nothing on; write what it is to do (`{}`, where all of that \
                            may be left out), or take the key away";
            self.problems.add(self.place(key), sentence);
        }
    }

    fn auth(&mut self, listen: Option<&Listen>) -> Option<Auth> {
        let address = match listen {
            Some(Listen::Http { address, .. }) => Some(*address),
            Some(Listen::Stdio) | None => None,
        };
        auth::resolve(self.loaded, self.variables, address, &mut self.problems)
    }

    fn check_origins(&mut self, origins: &[String]) {
        for origin in origins {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            let is_origin =
                authority.is_some_and(|a| a.parse::<http::uri::Authority>().is_ok() && !a.contains('@'));
            if !is_origin {
                let place = self.place("http.allowed_origins");
                self.problems.add(
                    place,
                    format!("`{origin}` is no origin; write `https://HOST` or `https://HOST:PORT`"),
                );
            }
        }
    }

    fn upstream(&mut self) -> Option<Upstream> {
        let flag = self.flags.upstream.as_ref();
        let Some(tape) = &self.flags.tape else { return self.server(flag) };
        let beyond = match flag {
            Some(_) => Some(Box::new(self.server(flag)?)),
            None => None,
        };
        let playing = Playing { beyond, ..tape.clone() };
        Some(Upstream { name: TAPE_NAME.into(), target: UpstreamTarget::Tape(playing) })
    }

    fn server(&mut self, flag: Option<&Target>) -> Option<Upstream> {
        let name =
            if matches!(flag, Some(Target::Command(_))) { "the command after --" } else { "--upstream" };
        let said =
            said((name, flag), ("SHADOWCAT_UPSTREAM", self.variables), |value| Target::Url(text(value)));
        upstream::resolve(said, self.loaded, self.variables, &mut self.problems)
    }

    fn sessions(&mut self, face: Face, data: Option<&Path>) -> Sessions {
        let written = &self.file().sessions;
        let store = match (face, written.store, data) {
            // The session of a client on stdio is its connection, and ends with this process.
            (Face::Stdio, _, _) | (_, Some(config::Store::Memory), _) | (_, None, None) => Store::Memory,
            (_, _, Some(data)) => Store::Sqlite(data.join(SESSION_FILE)),
            (_, Some(config::Store::Sqlite), None) => {
                let place = self.place("sessions.store");
                self.problems.add(place, "sqlite needs a directory; give `--data DIR` or `data`");
                Store::Memory
            }
        };
        let idle = written.idle.map_or(SESSION_IDLE, Span::get);
        let life = written.life.map_or(SESSION_LIFE.max(idle), Span::get);
        if life < idle {
            let place = self.place("sessions.life");
            self.problems.add(place, "is shorter than `sessions.idle`; make it longer");
        }
        Sessions { store, idle, life, max: self.count("sessions.max", written.max, SESSIONS_MAX) }
    }

    fn record(&mut self, data: Option<&Path>) -> Option<Record> {
        let said =
            said(("--record", self.flags.record.as_ref()), ("SHADOWCAT_RECORD", self.variables), |value| {
                PathBuf::from(value)
            });
        record::resolve(said, data, self.loaded, self.variables, &mut self.problems)
    }

    fn admin(&mut self, data: Option<&Path>) -> Option<Admin> {
        let said = said(("--admin", self.flags.admin.as_ref()), ("SHADOWCAT_ADMIN", self.variables), text);
        let said = said.map(|said| (said.value, said.place));
        admin::resolve(said, data, self.loaded, &mut self.problems)
    }

    fn bridge(&mut self, upstream: Option<&Upstream>) -> Option<Bridge> {
        let written = &self.file().bridge;
        let sessions_max = self.count("bridge.sessions_max", written.sessions_max, BRIDGE_SESSIONS_MAX);
        let per_client = match upstream.map(|upstream| &upstream.target) {
            // Each is a child, and others need some too.
            Some(UpstreamTarget::Stdio(program)) => sessions_max.min(program.children_max.div_ceil(2)),
            _ => sessions_max,
        };
        let bridge = Bridge {
            per_request: written.sessions == Some(config::BridgeSessions::PerRequest),
            session_idle: written.session_idle.map_or(BRIDGE_SESSION_IDLE, Span::get),
            sessions_max,
            sessions_per_client: self.count(
                "bridge.sessions_per_client",
                written.sessions_per_client,
                per_client,
            ),
            parked_for: written.parked_for.map_or(PARKED_FOR, Span::get),
            parked_max: self.count("bridge.parked_max", written.parked_max, PARKED_MAX),
        };
        written.enabled.unwrap_or(true).then_some(bridge)
    }

    fn timeouts(&mut self) -> Timeouts {
        let written = &self.file().timeouts;
        let span = |written: Option<Span>, seconds| written.map_or(Duration::from_secs(seconds), Span::get);
        let request = self.request_timeout().unwrap_or_else(|| span(written.request, 60));
        let request_max = written.request_max.map_or(Duration::from_mins(10).max(request), Span::get);
        if request_max < request {
            let place = self.place("timeouts.request_max");
            self.problems.add(place, "is shorter than `timeouts.request`; make it longer");
        }
        Timeouts {
            request,
            request_max,
            connect: span(written.connect, 5),
            shutdown: span(written.shutdown, 30),
            header_read: span(written.header_read, 10),
            body_read: span(written.body_read, 30),
            write_stall: span(written.write_stall, 60),
        }
    }

    fn request_timeout(&mut self) -> Option<Duration> {
        let flag = ("--request-timeout", self.flags.request_timeout.as_ref());
        let Said { value, place } = said(flag, ("SHADOWCAT_REQUEST_TIMEOUT", self.variables), text)?;
        self.problems.take(place, Span::parse(&value)).map(Span::get)
    }

    fn limits(&mut self) -> Limits {
        let written = &self.file().limits;
        let size = |written: Option<ByteSize>, bytes| written.map_or(bytes, ByteSize::bytes);
        for (key, written) in [("limits.body", written.body), ("limits.message", written.message)] {
            if written.is_some_and(|written| written.bytes() > MESSAGE_BYTES_MAX) {
                let place = self.place(key);
                self.problems.add(place, format!("expected at most {}MiB", MESSAGE_BYTES_MAX / MIB));
            }
        }
        let depth_max = self.count("limits.depth", written.depth, DEPTH_MAX);
        if depth_max > DEPTH_MAX {
            let place = self.place("limits.depth");
            self.problems.add(place, format!("expected at most {DEPTH_MAX}"));
        }
        Limits {
            body_bytes_max: size(written.body, 4 * MIB),
            message_bytes_max: size(written.message, 16 * MIB),
            depth_max,
            header_bytes_max: size(written.headers, 32 * KIB),
            connections_max: self.count("limits.connections", written.connections, 10_000),
            in_flight_per_session_max: self.count(
                "limits.in_flight_per_session",
                written.in_flight_per_session,
                256,
            ),
            stream_buffer_bytes_max: size(written.stream_buffer, 256 * KIB),
            resume_events_max: self.count("limits.resume_events", written.resume_events, 256),
            resume_bytes_max: size(written.resume_bytes, MIB),
            resume_window: written.resume_window.map_or(Duration::from_mins(5), Span::get),
        }
    }

    /// A number of things, of which there must be at least one.
    pub(super) fn count(&mut self, key: &str, written: Option<usize>, default: usize) -> usize {
        if written == Some(0) {
            let place = self.place(key);
            self.problems.add(place, "expected 1 or more");
        }
        if written.is_some_and(|written| written > COUNT_MAX) {
            let place = self.place(key);
            self.problems.add(place, format!("expected at most {COUNT_MAX}"));
        }
        written.unwrap_or(default)
    }

    fn log(&mut self) -> Log {
        let level = self.word("SHADOWCAT_LOG", Level::parse, &Level::WORDS);
        let format = self.word("SHADOWCAT_LOG_FORMAT", LogFormat::parse, &LogFormat::WORDS);
        let written = &self.file().log;
        Log {
            level: self.flags.log_level.or(level).or(written.level).unwrap_or(Level::Info),
            format: self.flags.log_format.or(format).or(written.format).unwrap_or(LogFormat::Text),
        }
    }

    /// A variable that holds one of a few words.
    fn word<T>(&mut self, name: &str, parse: fn(&str) -> Option<T>, words: &[&str]) -> Option<T> {
        let word = text(self.variables.get(name)?);
        let parsed = parse(&word);
        if parsed.is_none() {
            let way_out = match nearest(&word, words) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("expected one of {}", words.join(", ")),
            };
            self.problems.add(name, format!("unknown word `{word}`; {way_out}"));
        }
        parsed
    }
}
