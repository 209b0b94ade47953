//! Runs programs in the foreground and says which.

use std::process::{Command, Stdio};

use crate::failure::Failure;

/// Prints the command, runs it, and fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    println!("$ {}", line(command));
    let status = command.status().map_err(|cause| Failure::Start { program: name(command), cause })?;
    if status.success() { Ok(()) } else { Err(Failure::Ended { program: line(command), status }) }
}

/// Prints the command, runs it, and gives back what it wrote to standard output.
pub(crate) fn read(command: &mut Command) -> Result<String, Failure> {
    println!("$ {}", line(command));
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|cause| Failure::Start { program: name(command), cause })?;
    if !output.status.success() {
        return Err(Failure::Ended { program: line(command), status: output.status });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a command starts and succeeds; what it prints is nobody's business.
pub(crate) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn line(command: &Command) -> String {
    let mut line = name(command);
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}
