//! R3, SEC-18: forty kinds of secrets in seven places, and none of them on the disk, in the log or in an export.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use shadowcat_tests::proxy::{Proxy, before_url, program};
use shadowcat_tests::raw::post;
use shadowcat_tests::server::{member, path};
use shadowcat_tests::upstream::{Reply, Seen, Upstream};
use shadowcat_tests::wait::until;

use crate::edge::session;
use crate::faults::courtesy;

/// A kind of secret: under which name it goes as a member, a header or a parameter, what it looks like, and how it
/// stands in a text. `#` is twenty digits that are nowhere else, `%` the whole value.
struct Kind(&'static str, &'static str, &'static str);

const KINDS: [Kind; 40] = [
    // Known by their shape, under names that tell nothing.
    Kind("note", "ghp_#", "pushed with % today"),
    Kind("note", "github_pat_#", "pushed with % today"),
    Kind("note", "glpat-#", "git clone with %"),
    Kind("note", "sk-#", "OPENAI says %"),
    Kind("note", "sk-ant-api03-#", "the model's key is %."),
    Kind("note", "sk_live_#", "charged by %"),
    Kind("note", "rk_test_#", "charged by %"),
    Kind("note", "xoxb-#-#", "posted by %"),
    Kind("note", "xapp-1-#", "posted by %"),
    Kind("note", "AKIA#", "signed by %"),
    Kind("note", "AIza#abcdefg", "maps with %"),
    Kind("note", "ya29.#", "drive with %"),
    Kind("note", "npm_#", "published with %"),
    Kind("note", "pypi-#", "uploaded with %"),
    Kind("note", "hf_#", "downloaded with %"),
    Kind("note", "dop_v1_#", "droplet of %"),
    Kind("note", "shpat_#", "shop of %"),
    Kind("note", "hvs.#", "vault opened by %"),
    Kind("note", "SG.#.#", "mailed by %"),
    Kind("note", "AGE-SECRET-KEY-1#", "sealed for %"),
    Kind("note", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI#.c2ln#", "claims of %"),
    Kind("note", "-----BEGIN RSA PRIVATE KEY-----\nMII#\n-----END RSA PRIVATE KEY-----", "key:\n%\nend"),
    Kind("note", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n#\n-----END PGP PRIVATE KEY BLOCK-----", "%"),
    Kind("note", "postgres://app:pw#@db.example/app", "connected to %"),
    // Known by the name they go under.
    Kind("password", "hunter#", "password: \"%\""),
    Kind("passwd", "hunter#", "MYSQL_PASSWD=%"),
    Kind("passphrase", "correct#horse", "passphrase='%'"),
    Kind("client_secret", "cs#", "client_secret=%&grant_type=x"),
    Kind("clientSecret", "cs#", "{\"clientSecret\":\"%\"}"),
    Kind("apiKey", "key#", "curl -H 'X-Api-Key: %'"),
    Kind("access_token", "at#", "https://h.example/cb?access_token=%&x=1"),
    Kind("refreshToken", "rt#", "refresh_token: %"),
    Kind("authorization", "Bearer opaque#", "Authorization: %"),
    Kind("proxy-authorization", "Basic dTpw#", "Proxy-Authorization: %"),
    Kind("cookie", "sid=#; theme=dark", "Cookie: %"),
    Kind("mcp-session-id", "s#", "Mcp-Session-Id: %"),
    Kind("aws_secret_access_key", "wJalr#", "AWS_SECRET_ACCESS_KEY=%"),
    Kind("privateKey", "pk#", "private_key: '%'"),
    Kind("connectionString", "AccountKey=#", "connection_string=\"%\""),
    Kind("client_assertion", "ca#", "client_assertion=%"),
];

/// Where a secret stands.
#[derive(Clone, Copy)]
enum Place {
    RequestHeader,
    ResponseHeader,
    Arguments,
    Result,
    LogMessage,
    Error,
    Query,
}

const PLACES: [Place; 7] = [
    Place::RequestHeader,
    Place::ResponseHeader,
    Place::Arguments,
    Place::Result,
    Place::LogMessage,
    Place::Error,
    Place::Query,
];

/// What no file may hold: no two are equal, and nothing else has so many digits.
fn canary(kind: usize, place: Place) -> String {
    format!("77{kind:02}{:02}90817263544536", place as usize)
}

impl Kind {
    fn value(&self, number: usize, place: Place) -> String {
        self.1.replace('#', &canary(number, place))
    }

    fn text(&self, number: usize, place: Place) -> String {
        self.2.replace('%', &self.value(number, place))
    }

    /// As a member under its name, and in a text beside it.
    fn json(&self, number: usize, place: Place) -> String {
        let (value, text) = (self.value(number, place), self.text(number, place));
        serde_json::json!({self.0: value, "text": text, "more": ["a", {"text": text}]}).to_string()
    }

    fn header(&self, number: usize, place: Place) -> (String, String) {
        let name = if self.0 == "note" { "Authorization" } else { self.0 };
        let value = self.value(number, place).replace('\n', " ");
        (name.to_owned(), if self.0 == "note" { format!("Bearer {value}") } else { value })
    }

    fn query(&self, number: usize, place: Place) -> String {
        let name = if self.0 == "note" { "token" } else { self.0 };
        let mut query = format!("?a=1&{name}=");
        for byte in self.value(number, place).bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
                query.push(char::from(byte));
            } else {
                write!(query, "%{byte:02X}").unwrap();
            }
        }
        query
    }
}

/// Answers call N with a log message and a result, or with an error, all of them full of secrets of kind N.
fn answer(seen: &Seen) -> Reply {
    if let Some(reply) = courtesy(seen) {
        return reply;
    }
    let id = seen.member("id").unwrap();
    let call = path(&seen.body, &["params", "name"]).unwrap();
    let call: usize = call.trim_matches('"').parse().unwrap();
    let (number, fails) = (call / 2, call % 2 == 1);
    let kind = &KINDS[number];
    let said = if fails {
        let (text, data) = (kind.text(number, Place::Error), kind.json(number, Place::Error));
        let text = serde_json::to_string(&text).unwrap();
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32000,"message":{text},"data":{data}}}}}"#)
    } else {
        let result = kind.json(number, Place::Result);
        let text = serde_json::to_string(&kind.text(number, Place::Result)).unwrap();
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":{text}}}],"structuredContent":{result}}}}}"#
        )
    };
    let data = kind.json(number, Place::LogMessage);
    let log = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":{data}}}}}"#
    );
    let (name, value) = kind.header(number, Place::ResponseHeader);
    Reply::stream(format!("data: {log}\n\ndata: {said}\n\n"))
        .header("set-cookie", &value)
        .header(&name, &value)
}

/// Makes all calls, and waits until they are on the tape.
async fn talk(proxy: &Proxy) {
    let id = session(proxy, "2025-11-25").await;
    for call in 0..2 * KINDS.len() {
        let (number, kind) = (call / 2, &KINDS[call / 2]);
        let link = format!("https://h.example/{}", kind.query(number, Place::Query));
        let arguments = kind.json(number, Place::Arguments);
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":{call},"method":"tools/call","params":{{"name":"{call}","arguments":{arguments},"link":"{link}"}}}}"#
        );
        let (name, value) = kind.header(number, Place::RequestHeader);
        let target = format!("/mcp{}", kind.query(number, Place::Query));
        let mut ask = post(&target, &text).header("X-Debug", &value);
        if !name.eq_ignore_ascii_case("mcp-session-id") {
            ask = ask.header(&name, &value);
        }
        let answer = ask.header("Mcp-Session-Id", &id).send(proxy.address).await;
        assert_eq!(answer.status, 200, "call {call}");
        let told = answer.text().await;
        let place = if call % 2 == 1 { Place::Error } else { Place::Result };
        assert!(told.contains(&canary(number, place)), "the client gets what was said: {told}");
    }
    until("all is on the tape", || {
        tape_text(&proxy.data().join("tapes")).matches(r#""kind":"response""#).count() > 80
    })
    .await;
}

fn tape_text(tapes: &Path) -> String {
    let files = std::fs::read_dir(tapes).into_iter().flatten().map(|entry| entry.unwrap().path());
    files.map(|file| String::from_utf8(std::fs::read(file).unwrap()).unwrap()).collect()
}

/// All files below a directory, with their names.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    found
}

/// The secrets in these bytes, by their numbers and places.
fn leaked(bytes: &[u8]) -> Vec<(usize, usize)> {
    let text = String::from_utf8_lossy(bytes);
    let all = (0..KINDS.len()).flat_map(|kind| PLACES.map(|place| (kind, place)));
    all.filter(|(kind, place)| text.contains(&canary(*kind, *place)))
        .map(|(kind, place)| (kind, place as usize))
        .collect()
}

fn exported(proxy: &Proxy, format: &str) -> Vec<u8> {
    let tapes = proxy.data().join("tapes");
    let tape = std::fs::read_dir(tapes).unwrap().next().unwrap().unwrap().path();
    let out = Command::new(program()).args(["tape", "export", format]).arg(tape).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

#[tokio::test]
async fn sec18_forty_kinds_of_secrets_in_seven_places_are_in_no_tape_no_log_and_no_export() {
    let upstream = Upstream::start(|seen| async move { answer(&seen) }).await;
    let reverse =
        before_url(&upstream.url("/mcp")).config("record: {}\n").argument("--log-level").argument("debug");
    let proxy = reverse.start().await;
    talk(&proxy).await;
    let mut looked_at = files(proxy.data());
    assert!(looked_at.len() >= 3, "sessions, the file and a tape");
    looked_at.push(("stderr".to_owned(), proxy.process.stderr().into_bytes()));
    looked_at.push(("metrics".to_owned(), proxy.page("/metrics").await.1.into_bytes()));
    for format in ["har", "jsonl", "markdown"] {
        looked_at.push((format.to_owned(), exported(&proxy, format)));
    }
    for (name, bytes) in looked_at {
        let leaked = leaked(&bytes);
        let kinds: Vec<_> = leaked.iter().map(|(kind, place)| (KINDS[*kind].1, *place)).collect();
        assert!(kinds.is_empty(), "{name}: {kinds:?}");
    }
    let tape = tape_text(&proxy.data().join("tapes"));
    assert!(tape.matches("[redacted:").count() > 7 * KINDS.len());
    for record in tape.lines() {
        assert!(member(record, "record").is_some(), "{record}");
    }
}

#[tokio::test]
async fn sec18_without_redaction_all_of_them_are_found_where_messages_hold_them() {
    let upstream = Upstream::start(|seen| async move { answer(&seen) }).await;
    let proxy = before_url(&upstream.url("/mcp")).config("record:\n  redact: false\n").start().await;
    talk(&proxy).await;
    let found = leaked(tape_text(&proxy.data().join("tapes")).as_bytes());
    let in_messages = [Place::Arguments, Place::Result, Place::LogMessage, Place::Error, Place::Query];
    assert_eq!(found.len(), in_messages.len() * KINDS.len(), "headers are on no tape");
}
