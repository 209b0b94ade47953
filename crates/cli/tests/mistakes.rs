//! What a person reads who made a mistake: the place, the word, the way out, and code 2.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

/// What is told of this command line; `FILE` in it stands for a file with this text.
fn told(args: &[&str], environment: &[(&str, &str)], file: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shadowcat.yaml");
    std::fs::write(&path, file).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let path = path.to_str().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_shadowcat"));
    command.args(args.iter().map(|arg| if *arg == "FILE" { path } else { arg }));
    let output = command.env_clear().envs(environment.iter().copied()).output().unwrap();
    assert!(output.stdout.is_empty(), "{args:?}");
    let mut told = String::new();
    for (name, value) in environment {
        write!(told, "{name}={value} ").unwrap();
    }
    let code = output.status.code().unwrap();
    writeln!(told, "$ shadowcat {}\nends with {code}", args.join(" ")).unwrap();
    told + &String::from_utf8(output.stderr).unwrap().replace(path, "FILE") + "\n"
}

#[test]
fn a_mistake_is_told_with_its_place_and_the_nearest_right_word() {
    let check = ["check", "FILE"];
    let url = "upstream:\n  url: http://h/mcp\n";
    let all = [
        told(&check, &[], "upstrem:\n  url: http://h/mcp\n"),
        told(&check, &[], &format!("{url}timeouts:\n  requst: 30s\n")),
        told(&check, &[], &format!("{url}timeouts:\n  request: 30\n")),
        told(&check, &[], &format!("{url}sessions:\n  store: sqlit\n")),
        told(&check, &[], &format!("{url}listen: 0.0.0.0:8080\n")),
        told(&check, &[], "upstream:\n  url: ftp://h/mcp\n"),
        told(&check, &[], "upstream:\n  url: http://h/mcp\n  headers:\n    Authorization: Bearer ${TOKEN}\n"),
        told(&check, &[], "listen: 127.0.0.1:8080\n"),
        told(&check, &[("SHADOWCAT_LISTEN", "here")], url),
        told(&["reverse", "--config", "/nowhere/shadowcat.yaml"], &[], ""),
        told(&["reverse", "--config", "FILE", "--request-timeout", "5"], &[], url),
        told(&["reverse", "--lisen", "127.0.0.1:0"], &[], ""),
        told(&["reverse", "--log-level", "inf", "--upstream", "http://h/mcp"], &[], ""),
        told(&["forward"], &[], ""),
        told(&["forwrad", "http://h/mcp"], &[], ""),
        told(&["tape", "lst"], &[], ""),
        told(&["tape", "list"], &[], ""),
    ];
    insta::assert_snapshot!(all.concat());
}

#[test]
fn what_is_wrong_with_rules_is_told_by_line_all_at_once() {
    let check = ["rules", "check", "FILE"];
    let rules = "rules:\n  - name: a\n    when:\n      tool: /(/\n      params:\n        arguments.x: 1\n    do:\n      - log: '{{ reqest.x }}'\n  - name: a\n    when: {result: {$.x: 1}}\n    do: [{delay: {from: 2s, to: 1s}}]\n";
    let all = [
        told(&check, &[], rules),
        told(&check, &[], "rules:\n  - name: a\n    wen: {tool: x}\n    do: [drop: true]\n"),
        told(
            &check,
            &[],
            "rules:\n  - name: a\n    when:\n      params:\n        $.x: {maches: y}\n    do: [drop: true]\n",
        ),
        told(&check, &[], "rules:\n  - name: a\n    when: {on: anser}\n    do: [drop: true]\n"),
        told(&check, &[], "rules:\n  - name: a\n    when: {session: 12345678}\n    do: [drop: true]\n"),
        told(&check, &[], "rules:\n  - name: a\n    when: {every: 0}\n    do: [drop: true]\n"),
        told(&check, &[], "rules:\n  - name: a\n    do:\n      - drop: true\n        log: x\n"),
        told(&check, &[], "rules:\n  - name: a\n    do:\n      - blok: x\n"),
        told(&check, &[], "rules:\n  - do: [drop: true]\n"),
        told(&check, &[], "listen: 127.0.0.1:1\n"),
    ];
    insta::assert_snapshot!(all.concat());
}
