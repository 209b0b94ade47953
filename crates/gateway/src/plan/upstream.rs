//! The upstream: exactly one, a program or a URL, with only the settings that fit its kind.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use http::uri::{Scheme, Uri};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::overrides::{Said, Target};
use super::problems::Problems;
use super::{Program, Remote, Secret, Upstream, UpstreamTarget};
use crate::config::{self, Loaded, Variables, expand};

const CHILDREN_MAX: usize = 32;
const CHILDREN_QUEUE: usize = 256;
/// Headers that the transport itself sets; a second value would break the request.
const OWN_HEADERS: [&str; 12] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The upstream that was named outside the file replaces the file's as a whole: the headers and the environment that
/// are written there are meant for the server that is written there.
pub(super) fn resolve(
    said: Option<Said<Target>>,
    loaded: &Loaded,
    variables: &Variables,
    problems: &mut Problems,
) -> Option<Upstream> {
    let queue = loaded.file.limits.children_queue.unwrap_or(CHILDREN_QUEUE);
    if let Some(Said { value, place }) = said {
        let target = match value {
            Target::Url(url) => remote(&url, HeaderMap::new(), None, &place, problems)?,
            Target::Command(words) => UpstreamTarget::Stdio(program(words, &place, queue, problems)?),
        };
        return Some(Upstream { name: name_of(&target), target });
    }
    let Some(written) = &loaded.file.upstream else {
        problems.add(
            "upstream",
            "no upstream; give `reverse --upstream URL`, `forward URL`, `-- COMMAND ARGS…`, or `upstream` in a file",
        );
        return None;
    };
    let file = FromFile { at: "upstream", url_key: "url", written, loaded, variables, queue };
    let target = file.target(problems)?;
    let name = file.name(&target, problems);
    Some(Upstream { name, target })
}

/// How a server is reached that is written at another key of the file, and under which name its URL stands there.
pub(super) fn target(
    (at, url_key): (&str, &str),
    written: &config::Upstream,
    loaded: &Loaded,
    variables: &Variables,
    problems: &mut Problems,
) -> Option<UpstreamTarget> {
    FromFile { at, url_key, written, loaded, variables, queue: CHILDREN_QUEUE }.target(problems)
}

struct FromFile<'a> {
    /// The key under which it is written.
    at: &'a str,
    url_key: &'a str,
    written: &'a config::Upstream,
    loaded: &'a Loaded,
    variables: &'a Variables,
    queue: usize,
}

impl FromFile<'_> {
    fn place(&self, key: &str) -> String {
        self.loaded.place(&format!("{}.{key}", self.at))
    }

    fn target(&self, problems: &mut Problems) -> Option<UpstreamTarget> {
        let sentence = match (&self.written.url, &self.written.command) {
            (Some(url), None) => return self.remote(url, problems),
            (None, Some(command)) => return self.program(command, problems),
            (Some(_), Some(_)) => "has both `url` and `command`; keep one of them",
            (None, None) => "needs `url` or `command`",
        };
        problems.add(self.loaded.place(self.at), sentence);
        None
    }

    fn name(&self, target: &UpstreamTarget, problems: &mut Problems) -> Arc<str> {
        let Some(name) = &self.written.name else { return name_of(target) };
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            problems.add(self.place("name"), "expected 1 to 64 letters, digits, `-`, `_` or `.`");
        }
        name.as_str().into()
    }

    fn remote(&self, url: &str, problems: &mut Problems) -> Option<UpstreamTarget> {
        let written = self.written;
        let misplaced = [
            ("env", written.env.is_some()),
            ("cwd", written.cwd.is_some()),
            ("warm", written.warm.is_some()),
            ("children_max", written.children_max.is_some()),
        ];
        self.refuse_misplaced(&misplaced, "command", problems);
        let url = problems.take(self.place(self.url_key), expand(url, self.variables));
        let headers = self.headers(problems);
        remote(&url?, headers, written.ca_file.as_deref(), &self.place(self.url_key), problems)
    }

    fn program(&self, command: &[String], problems: &mut Problems) -> Option<UpstreamTarget> {
        let written = self.written;
        let misplaced = [("headers", written.headers.is_some()), ("ca_file", written.ca_file.is_some())];
        self.refuse_misplaced(&misplaced, "url", problems);
        let words = command.iter().map(OsString::from).collect();
        let set = self.set(problems);
        let mut program = program(words, &self.place("command"), self.queue, problems)?;
        program.cwd.clone_from(&written.cwd);
        program.inherit = written.env.as_ref().and_then(|env| env.inherit.clone());
        program.set = set;
        program.warm = written.warm.unwrap_or(program.warm);
        program.children_max = written.children_max.unwrap_or(CHILDREN_MAX);
        if program.children_max == 0 {
            problems.add(self.place("children_max"), "expected 1 or more");
        } else if program.warm > program.children_max {
            problems
                .add(self.place("warm"), format!("is more than `children_max` ({})", program.children_max));
        }
        Some(UpstreamTarget::Stdio(program))
    }

    fn refuse_misplaced(&self, keys: &[(&str, bool)], kind: &str, problems: &mut Problems) {
        for (key, _) in keys.iter().filter(|(_, present)| *present) {
            problems.add(self.place(key), format!("has a meaning only beside `{kind}`; remove it"));
        }
    }

    fn set(&self, problems: &mut Problems) -> Vec<(String, Secret)> {
        let mut set = Vec::new();
        for (name, value) in self.written.env.iter().flat_map(|env| &env.set) {
            let place = self.place(&format!("env.set.{name}"));
            if name.is_empty() || name.contains(['=', '\0']) {
                problems.add(&place, "is no name of a variable");
            }
            let Some(value) = problems.take(&place, expand(value.reveal(), self.variables)) else { continue };
            if value.contains('\0') {
                problems.add(&place, "holds a NUL character");
            }
            set.push((name.clone(), Secret::new(value)));
        }
        set
    }

    fn headers(&self, problems: &mut Problems) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in self.written.headers.iter().flatten() {
            let place = self.place(&format!("headers.{name}"));
            let name = problems.take(&place, header_name(name));
            let value = problems.take(&place, expand(value.reveal(), self.variables));
            let value = value.and_then(|value| problems.take(&place, header_value(&value)));
            if let (Some(name), Some(value)) = (name, value)
                && headers.insert(name, value).is_some()
            {
                problems.add(&place, "is written twice; names of headers have no case");
            }
        }
        headers
    }
}

fn header_name(text: &str) -> Result<HeaderName, String> {
    let name: HeaderName = text.parse().map_err(|_| "is no name of a header".to_owned())?;
    if OWN_HEADERS.contains(&name.as_str()) || name.as_str().starts_with("mcp-") {
        return Err("is set by the proxy itself; remove it".to_owned());
    }
    Ok(name)
}

fn header_value(text: &str) -> Result<HeaderValue, &'static str> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| "holds a character that no header may have, such as a line end")?;
    value.set_sensitive(true);
    Ok(value)
}

fn program(words: Vec<OsString>, place: &str, queue: usize, problems: &mut Problems) -> Option<Program> {
    let mut words = words.into_iter();
    let Some(program) = words.next().filter(|program| !program.is_empty()) else {
        problems.add(place, "the command is empty; give a program and its arguments");
        return None;
    };
    let args: Vec<OsString> = words.collect();
    if [&program].into_iter().chain(&args).any(|word| word.as_encoded_bytes().contains(&0)) {
        problems.add(place, "a word of the command holds a NUL character");
        return None;
    }
    Some(Program {
        program,
        args,
        cwd: None,
        inherit: None,
        set: Vec::new(),
        warm: 0,
        children_max: CHILDREN_MAX,
        children_queue: queue,
    })
}

fn remote(
    text: &str,
    headers: HeaderMap,
    ca_file: Option<&Path>,
    place: &str,
    problems: &mut Problems,
) -> Option<UpstreamTarget> {
    let (is_sse, text) = match text.strip_prefix("sse+") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let url = problems.take(place, url(text))?;
    let remote = Remote { url, headers, ca_file: ca_file.map(Path::to_owned) };
    Some(if is_sse { UpstreamTarget::Sse(remote) } else { UpstreamTarget::Http(remote) })
}

/// The text is not repeated in errors: URLs are a popular place for tokens.
fn url(text: &str) -> Result<Uri, &'static str> {
    const RIGHT: &str = "expected `http(s)://HOST/PATH` or `sse+http(s)://HOST/PATH`";
    let url: Uri = text.parse().map_err(|_| RIGHT)?;
    let authority = url.authority().ok_or(RIGHT)?;
    if url.scheme() != Some(&Scheme::HTTP) && url.scheme() != Some(&Scheme::HTTPS) {
        return Err(RIGHT);
    }
    if authority.as_str().contains('@') {
        return Err("holds a user name; put credentials into `headers`");
    }
    if authority.host().is_empty() || (authority.port().is_none() && authority.as_str().ends_with(':')) {
        return Err(RIGHT);
    }
    if text.contains('#') {
        return Err("holds a fragment (`#…`), which is never sent; remove it");
    }
    Ok(url)
}

/// The host of a URL, or the file name of a program.
fn name_of(target: &UpstreamTarget) -> Arc<str> {
    match target {
        UpstreamTarget::Http(remote) | UpstreamTarget::Sse(remote) => {
            remote.url.host().unwrap_or("upstream").into()
        }
        UpstreamTarget::Stdio(program) => {
            let name = Path::new(&program.program).file_name().unwrap_or(&program.program);
            name.to_string_lossy().into()
        }
        UpstreamTarget::Tape(_) => "tape".into(),
    }
}
