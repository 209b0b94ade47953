//! Runs programs in the foreground and says which.

use std::io::{self, BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};

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

/// Prints the command and runs it; prints each line of its output and its errors as it comes, and shows it to `seen`.
pub(crate) fn watch(mut command: Command, mut seen: impl FnMut(&str)) -> Result<ExitStatus, Failure> {
    println!("$ {}", line(&command));
    let program = name(&command);
    let failed = |cause| Failure::Start { program: program.clone(), cause };
    let (reader, writer) = io::pipe().map_err(failed)?;
    command.stdout(writer.try_clone().map_err(failed)?).stderr(writer);
    let mut child = command.spawn().map_err(failed)?;
    // It holds the writing end of the pipe, which would never come to its end.
    drop(command);
    for text in BufReader::new(reader).split(b'\n') {
        let text = text.map_err(failed)?;
        let text = String::from_utf8_lossy(&text);
        println!("{text}");
        seen(&text);
    }
    child.wait().map_err(failed)
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
