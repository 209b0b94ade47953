//! `shadowcat watch`: messages as they flow, in the terminal.

mod proxy;

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use shadowcat_filter::Filter;
use shadowcat_tape::Keys;
use shadowcat_watch::{Settings, Source, Tapes, show};

use crate::admin_client::AdminArgs;
use crate::failure::Failure;
use crate::pause::edit::edited;
use crate::process::Process;
use crate::tape::files::TapeFiles;
use crate::tape::key_args::KeyArgs;
use proxy::Proxy;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Tapes: files, names of those in the data directory, or one directory [default: the running proxy of the data
    /// directory, else its tapes]
    #[arg(value_name = "TAPE")]
    tapes: Vec<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
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
        let settings = Settings { is_colored, filter: self.filter };
        let editor =
            |text: &str| edited("message", text, process).map_err(|failure| failure.sentence().to_owned());
        show(source, settings, &editor).map_err(|cause| Failure::caused("the view has ended", cause))
    }

    fn source(&self, process: &Process) -> Result<Box<dyn Source>, Failure> {
        let data = self.admin.data();
        let keys = || self.keys.keys(data, process);
        match self.tapes.as_slice() {
            [] if self.admin.is_there(process)? => self.proxy(process),
            // What ran there is to be seen.
            [] => match data.tapes_or_usual(process)? {
                tapes if tapes.is_dir() => directory(&tapes, keys()?),
                _ => self.proxy(process),
            },
            [only] if only.is_dir() => directory(only, keys()?),
            several => {
                let files = TapeFiles::of(several.to_vec()).paths(None, data, process)?;
                Ok(Box::new(Tapes::files(files, keys()?)))
            }
        }
    }

    fn proxy(&self, process: &Process) -> Result<Box<dyn Source>, Failure> {
        Ok(Box::new(Proxy::find(&self.admin, process)?))
    }
}

fn directory(path: &Path, keys: Keys) -> Result<Box<dyn Source>, Failure> {
    let tapes = Tapes::directory(path.to_owned(), keys)
        .map_err(|cause| Failure::caused(format!("{}: the tapes cannot be listed", path.display()), cause))?;
    Ok(Box::new(tapes))
}
