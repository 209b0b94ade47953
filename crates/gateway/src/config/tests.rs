//! Files that are right, and a table of files that are not.

use super::*;

#[test]
fn an_empty_file_is_a_file() {
    for text in ["", "# nothing\n", "{}"] {
        assert!(Loaded::parse("shadowcat.yaml", text).unwrap().file.upstream.is_none(), "{text}");
    }
}

fn mistake(text: &str) -> String {
    Loaded::parse("sc.yaml", text).unwrap_err().to_string()
}

#[test]
fn a_mistake_is_told_with_its_place_and_the_way_out() {
    let table = [
        ("listn: 127.0.0.1:1\n", "sc.yaml:1:1: unknown key `listn`; did you mean `listen`?"),
        ("data: d\nupstrem:\n  url: x\n", "sc.yaml:2:1: unknown key `upstrem`; did you mean `upstream`?"),
        (
            "upstream:\n  comand: [a]\n",
            "sc.yaml:2:3: upstream: unknown key `comand`; did you mean `command`?",
        ),
        ("upstream:\n  ulr: http://h/\n", "did you mean `url`?"),
        ("upstream:\n  URL: http://h/\n", "did you mean `url`?"),
        (
            "timeouts:\n  request: 30\n",
            "sc.yaml:2:12: timeouts.request: expected a length of time with its unit",
        ),
        (
            "timeouts:\n  request: 0s\n",
            "sc.yaml:2:12: timeouts.request: expected a length of time above zero",
        ),
        ("timeouts:\n  requestmax: 1s\n", "did you mean `request_max`?"),
        ("timeouts:\n  request: [1s]\n", "sc.yaml:2"),
        ("cache:\n  entries: 5\n", "sc.yaml:2:3: cache: unknown key `entries`; did you mean `entries_max`?"),
        ("limits:\n  body: 4\n", "sc.yaml:2:9: limits.body: expected a number of bytes with its unit"),
        ("limits:\n  body: 4mb\n", "sc.yaml:2:9: limits.body: expected a number of bytes with its unit"),
        ("limits:\n  depth: deep\n", "sc.yaml:2:10: limits.depth: expected a whole number"),
        ("limits:\n  depth: -1\n", "sc.yaml:2:10: limits.depth: "),
        (
            "sessions:\n  store: sqllite\n",
            "sc.yaml:2:10: sessions.store: unknown word `sqllite`; did you mean `sqlite`?",
        ),
        ("sessions:\n  store: redis\n", "unknown word `redis`; expected one of sqlite, memory"),
        ("log:\n  level: verbose\n", "expected one of error, warn, info, debug, trace"),
        ("log:\n  format: jsonn\n", "did you mean `json`?"),
        ("record:\n  redact: maybe\n", "sc.yaml:2:11: record.redact: expected true or false"),
        ("listen: a\nlisten: b\n", "sc.yaml:2:1: key `listen` is written twice"),
        ("upstream: [a, b]\n", "sc.yaml:1:11: upstream: expected keys with values"),
        ("upstream:\n  command: npx server\n", "sc.yaml:2:12: upstream.command: expected a list"),
        ("upstream:\n\turl: x\n", "sc.yaml:2:2: upstream.url: tabs"),
        ("upstream: {url: 'http://h\n", "sc.yaml:"),
        ("http:\n  i_accept_unauthenticated_remote_clients: sure\n", "sc.yaml:2:44: http.i_accept_unauth"),
        ("- listen\n", "sc.yaml:1"),
    ];
    for (text, expected) in table {
        let told = mistake(text);
        assert!(told.contains(expected), "{text}\ntold: {told}\nexpected: {expected}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

#[test]
fn a_mistake_does_not_repeat_a_secret() {
    for text in [
        "upstream:\n  headers: Bearer hunter2\n",
        "upstream:\n  headers:\n    Authorization: [hunter2]\n",
        "upstream:\n  headers:\n    Authorization: {hunter2: a}\n",
        "upstream:\n  env: {set: hunter2}\n",
        "upstream:\n  env:\n    set:\n      TOKEN: !!int hunter2\n",
        "upstream:\n  headers:\n    Authorization: \"hunter2\n",
        "upstream:\n  headers:\n    Authorization: *hunter2\n",
        "limits:\n  depth: hunter2\n",
        "record:\n  redact: hunter2\n",
        "timeouts:\n  request: hunter2\n",
    ] {
        let told = mistake(text);
        assert!(!told.contains("hunter2"), "{text}: {told}");
    }
}

#[test]
fn debug_output_of_a_file_holds_no_secret() {
    let text = "upstream:\n  headers: {Authorization: hunter2}\n  env: {set: {TOKEN: hunter2}}\n";
    let shown = format!("{:?}", Loaded::parse("sc.yaml", text).unwrap());
    assert!(shown.contains("Authorization") && shown.contains("TOKEN"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

fn repository() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_published_schema_is_the_one_in_the_code() {
    let path = repository().join("docs/shadowcat.schema.json");
    let published = std::fs::read_to_string(&path).unwrap();
    assert_eq!(published.trim_end(), schema(), "run `shadowcat schema > docs/shadowcat.schema.json`");
}

/// The keys of the file with those above them.
fn keys(schema: &serde_json::Value, at: &serde_json::Value, above: &str, found: &mut Vec<String>) {
    let reference = [at.pointer("/$ref"), at.pointer("/anyOf/0/$ref")].into_iter().flatten().next();
    let name = reference.and_then(|reference| reference.as_str()?.strip_prefix("#/$defs/"));
    let at = name.and_then(|name| schema.pointer(&format!("/$defs/{name}"))).unwrap_or(at);
    for (key, value) in at.pointer("/properties").and_then(|keys| keys.as_object()).into_iter().flatten() {
        let path = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
        keys(schema, value, &path, found);
        found.push(path);
    }
}

#[test]
fn every_key_is_described() {
    let guide = std::fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    let mut found = Vec::new();
    keys(&schema, &schema, "", &mut found);
    assert!(found.contains(&"upstream.env.set".to_owned()), "{found:?}");
    for path in found {
        let (section, key) = path.split_once('.').unwrap_or(("Top level", &path));
        let start = guide.find(&format!("### `{section}`")).or_else(|| guide.find(&format!("### {section}")));
        let text = &guide[start.unwrap_or(0)..];
        let end = text[3..].find("\n### ").map_or(text.len(), |end| end + 3);
        let has_row =
            [format!("| `{key}` |"), format!("| `{key}.")].iter().any(|row| text[..end].contains(row));
        assert!(has_row || guide.contains(&format!("### `{path}`")), "docs/configuration.md: {path}");
    }
}
