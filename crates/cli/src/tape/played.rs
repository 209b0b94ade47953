//! Tapes read to be played.

use std::path::PathBuf;

use shadowcat_playback::Tapes;
use shadowcat_tape::Keys;

use super::files;
use crate::failure::Failure;

/// What is on the tapes, in the order they are named in.
pub(crate) fn load(paths: &[PathBuf], keys: &Keys) -> Result<Tapes, Failure> {
    let mut tapes = Tapes::default();
    for path in paths {
        let reader = shadowcat_tape::open(path, keys)
            .map_err(|cause| Failure::caused(format!("{}: cannot be opened", path.display()), cause))?;
        tapes
            .read(&files::name(path), reader)
            .map_err(|cause| Failure::caused(format!("{}: cannot be played", path.display()), cause))?;
    }
    Ok(tapes)
}
