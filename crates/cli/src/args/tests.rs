//! What people read: the help of every command. And that each command is in the guide.

use clap::{CommandFactory as _, Parser as _};

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn help_is_what_people_expect() {
    let mut program = Cli::command().term_width(100);
    program.build();
    insta::assert_snapshot!("shadowcat", program.render_help());
    for command in program.get_subcommands_mut() {
        let name = command.get_name().to_owned();
        insta::assert_snapshot!(name, command.render_long_help());
    }
}

#[test]
fn every_command_is_in_the_guide() {
    let guide =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/commands.md")).unwrap();
    for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        assert!(guide.contains(&format!("## `shadowcat {name}")), "docs/commands.md: {name}");
        for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(guide.contains(&format!("--{flag}")), "docs/commands.md: {name} --{flag}");
        }
    }
}

#[test]
fn one_upstream_can_be_named() {
    for right in [
        "reverse -- x --flag",
        "reverse --upstream http://h/",
        "forward http://h/",
        "forward -- x -y",
        "demo",
    ] {
        assert!(Cli::try_parse_from(["shadowcat"].into_iter().chain(right.split(' '))).is_ok(), "{right}");
    }
    for wrong in [
        "",
        "reverse x",
        "reverse --upstream http://h/ -- x",
        "forward http://h/ -- x",
        "--workers 0",
        "revers",
    ] {
        let error = Cli::try_parse_from(["shadowcat"].into_iter().chain(wrong.split(' '))).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{wrong}");
    }
}
