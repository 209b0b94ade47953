//! Files of an operator that are read whole: no larger than it is said, and such as wait for nobody where that would hold up
//! more than whoever starts the proxy.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::path::Path;

/// The largest file with a key or a secret in it.
pub(crate) const SECRET_BYTES_MAX: usize = 64 * 1024;

/// The text of a file that is read once, at the start, and whose it is. It may be a pipe.
///
/// # Errors
/// Those of the system; when it has more bytes; when it is no UTF-8.
pub fn read_once(path: &Path, bytes_max: usize) -> io::Result<(String, Metadata)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut text = String::new();
    file.take((bytes_max as u64).saturating_add(1)).read_to_string(&mut text)?;
    if text.len() > bytes_max {
        let sentence = format!("longer than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, sentence));
    }
    Ok((text, metadata))
}

/// The text of a file that is read again and again while the proxy runs.
pub(crate) fn read_again(path: &Path, bytes_max: usize) -> io::Result<String> {
    // Whoever opens a pipe waits until somebody writes into it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(read_once(path, bytes_max)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_size_and_no_further() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_again(&path, 5).unwrap(), "12345");
        assert_eq!(read_again(&path, 4).unwrap_err().to_string(), "longer than 4 bytes");
        fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_again(&path, 5).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let endless = Path::new("/dev/zero");
        assert_eq!(read_once(endless, 10).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_again(endless, 10).unwrap_err().to_string(), "it is no regular file");
    }
}
