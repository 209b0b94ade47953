//! `shadowcat watch`: messages as they flow, in the terminal.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use shadowcat_filter::Filter;
use shadowcat_tape::Keys;
use shadowcat_watch::{Settings, Source, Tapes, show};

use crate::data_args::DataArgs;
use crate::failure::Failure;
use crate::process::Process;
use crate::tape::files::TapeFiles;
use crate::tape::key_args::KeyArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Tapes: files, names of those in the data directory, or one directory [default: that of the data directory]
    #[arg(value_name = "TAPE")]
    tapes: Vec<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    keys: KeyArgs,
    /// Show only messages that fit this expression; `shadowcat tape search --help` lists its operators
    #[arg(long, value_name = "EXPR")]
    filter: Option<Filter>,
}

impl Args {
    pub(crate) fn run(self, process: &Process) -> Result<(), Failure> {
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            let way_out = "`shadowcat tape show` prints what is on tapes anywhere";
            return Err(Failure::usage(format!(
                "watch: this needs a terminal to show and to read keys; {way_out}"
            )));
        }
        let source = self.source(process)?;
        // https://no-color.org
        let is_colored = process.variable("NO_COLOR").is_none();
        show(source, Settings { is_colored, filter: self.filter })
            .map_err(|cause| Failure::caused("the view has ended", cause))
    }

    fn source(&self, process: &Process) -> Result<Box<dyn Source>, Failure> {
        let keys = self.keys.keys(&self.data, process)?;
        match self.tapes.as_slice() {
            [] => directory(&self.data.tapes(None, process)?, keys),
            [only] if only.is_dir() => directory(only, keys),
            several => {
                let files = TapeFiles::of(several.to_vec()).paths(None, &self.data, process)?;
                Ok(Box::new(Tapes::files(files, keys)))
            }
        }
    }
}

fn directory(path: &Path, keys: Keys) -> Result<Box<dyn Source>, Failure> {
    let tapes = Tapes::directory(path.to_owned(), keys)
        .map_err(|cause| Failure::caused(format!("{}: the tapes cannot be listed", path.display()), cause))?;
    Ok(Box::new(tapes))
}
