//! The binary from outside: what it prints, and the codes it ends with.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A variable that an example takes its token from.
const TOKEN: (&str, &str) = ("BUILD_TOKEN", "0b1e5f6a3c9d4788a1f2e3d4c5b6a798");

fn shadowcat(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shadowcat"));
    command.args(args).env_clear().env(TOKEN.0, TOKEN.1).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file in a directory of its own that nobody else can write, as commands in it require.
fn written(content: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shadowcat.yaml");
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

#[test]
fn every_example_is_right() {
    let mut checked = 0;
    for entry in std::fs::read_dir(repository().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let (_dir, copy) = written(&std::fs::read_to_string(&path).unwrap());
        let output = shadowcat(&["check", &copy]);
        assert!(output.status.success(), "{}: {}", path.display(), text(&output.stderr));
        checked += 1;
    }
    assert!(checked > 0);
}

#[test]
fn a_wrong_file_ends_with_code_2_and_its_place() {
    let (_dir, path) = written("upstream:\n  ulr: http://h/\n");
    let output = shadowcat(&["check", &path]);
    assert_eq!(output.status.code(), Some(2));
    let expected = format!("shadowcat: {path}:2:3: upstream: unknown key `ulr`; did you mean `url`?\n");
    assert_eq!(text(&output.stderr), expected);
    assert!(output.stdout.is_empty());
}

#[test]
fn all_problems_of_a_plan_are_told() {
    let output =
        shadowcat(&["reverse", "--listen", "0.0.0.0:0", "--upstream", "nonsense", "--request-timeout", "5"]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    for flag in ["--listen", "--upstream", "--request-timeout"] {
        assert!(told.contains(&format!("shadowcat: {flag}: ")), "{told}");
    }
}

#[test]
fn a_wrong_word_ends_with_code_2_and_the_nearest_right_one() {
    let output = shadowcat(&["revrse"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("'reverse'"), "{}", text(&output.stderr));
}

#[test]
fn a_missing_store_ends_with_code_1() {
    let dir = tempfile::tempdir().unwrap();
    let output = shadowcat(&["sessions", "list", "--data", dir.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn help_and_results_go_to_standard_output() {
    for args in [
        &["--help"][..],
        &["--version"],
        &["schema"],
        &["man"],
        &["completions", "bash"],
        &["reverse", "--help"],
    ] {
        let output = shadowcat(args);
        assert!(output.status.success() && output.stderr.is_empty() && !output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn rules_over_a_tape_do_what_their_guide_shows() {
    let guide = std::fs::read_to_string(repository().join("docs/rules.md")).unwrap();
    let block = |begin: &str, number: usize| -> String {
        let rest = guide.split(begin).nth(number).unwrap();
        rest.split("```").next().unwrap().to_owned()
    };
    let (_dir, path) = written(&block("```yaml\n", 1));
    let tape = repository().join("examples/testing/memory.tape.jsonl");
    let tape = tape.to_str().unwrap();
    let output = shadowcat(&["rules", "test", &path, "--tape", tape]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(guide.contains(&text(&output.stdout)), "{}", text(&output.stdout));

    let output = shadowcat(&["rules", "test", &path, "--tape", tape, "-o", "json"]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found.pointer("/messages"), Some(&11.into()));
    let blocked = found.pointer("/fired/2").unwrap();
    assert_eq!(
        (&blocked["rule"], &blocked["does"], &blocked["seq"]),
        (&"read-only".into(), &"block".into(), &8.into())
    );
    assert_eq!(blocked["reason"], "create_entities would change the graph");

    let output = shadowcat(&["rules", "check", &path]);
    assert!(
        text(&output.stdout).contains("right; 2 rules, looked at in this order: read-only, short-answers")
    );
}
