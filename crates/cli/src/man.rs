//! `shadowcat man`: the manual pages.

use clap::{Command, CommandFactory as _};

use crate::args::Cli;
use crate::failure::Failure;
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The command the page is about; the whole program unless one is named
    command: Option<String>,
}

impl Args {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let page = page(self.command.as_deref())?;
        output::print(&String::from_utf8_lossy(&page))
    }
}

fn page(name: Option<&str>) -> Result<Vec<u8>, Failure> {
    let mut program = Cli::command();
    program.build();
    let command = match name {
        None => program,
        Some(name) => {
            let found = program.find_subcommand(name).filter(|found| !found.is_hide_set());
            let found = found.ok_or_else(|| unknown(name, &program))?;
            found.clone()
        }
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|cause| Failure::caused("cannot write the page", cause))?;
    Ok(page)
}

fn unknown(name: &str, program: &Command) -> Failure {
    let known: Vec<_> =
        program.get_subcommands().filter(|known| !known.is_hide_set()).map(Command::get_name).collect();
    Failure::usage(format!("man: there is no command {name}; there are {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        for name in [None, Some("reverse"), Some("tape")] {
            assert!(String::from_utf8(page(name).unwrap()).unwrap().contains(".SH NAME"), "{name:?}");
        }
        assert!(page(Some("guard")).is_err());
    }
}
