//! Recording: where tapes go, what is on them, and what becomes of them.

use std::io;
use std::path::{Path, PathBuf};

use shadowcat_filter::Filter;
use shadowcat_tape::{BadKey, BadSecret, Keep, Key, Rotate, Sample, Scope, Secrets};

use super::PlanErrors;
use super::overrides::Said;
use super::problems::Problems;
use super::resolve::TAPES_DIR;
use super::{Record, TapeKey};
use crate::config::{self, ByteSize, Loaded, Span, Variables, expand};
use crate::files;

pub(super) fn resolve(
    said: Option<Said<PathBuf>>,
    data: Option<&Path>,
    loaded: &Loaded,
    variables: &Variables,
    problems: &mut Problems,
) -> Option<Record> {
    let nothing = config::Record::default();
    let written = loaded.file.record.as_ref();
    if said.is_none() && written.is_none() {
        return None;
    }
    let written = written.unwrap_or(&nothing);
    let dir = said.map(|said| said.value).or_else(|| written.dir.clone());
    let dir = dir.or_else(|| data.map(|data| data.join(TAPES_DIR)));
    if dir.is_none() {
        let place = loaded.place("record");
        problems.add(place, "needs a directory; give `record.dir`, `--record DIR` or `--data DIR`");
    }
    Some(Record {
        dir: dir.unwrap_or_default(),
        redact: written.redact.unwrap_or(true),
        secrets: secrets(written, loaded, problems),
        scope: Scope {
            only: written
                .only
                .as_ref()
                .and_then(|only| problems.take(loaded.place("record.only"), only.parse::<Filter>())),
            sample: written.sample.as_ref().and_then(|sample| self::sample(sample, loaded, problems)),
        },
        rotate: Rotate { bytes: written.rotate.bytes.map(bytes), every: written.rotate.every.map(Span::get) },
        keep: keep(written, loaded, problems),
        key: written.encrypt.as_ref().and_then(|encrypt| key(encrypt, loaded, variables, problems)),
    })
}

fn secrets(written: &config::Record, loaded: &Loaded, problems: &mut Problems) -> Secrets {
    type Add = fn(&mut Secrets, &str) -> Result<(), BadSecret>;
    let config::Secrets { names, paths, patterns } = &written.secrets;
    let kinds: [(&str, &[String], Add); 3] = [
        ("names", names, Secrets::add_name),
        ("paths", paths, Secrets::add_path),
        ("patterns", patterns, Secrets::add_pattern),
    ];
    let mut secrets = Secrets::default();
    for (kind, written, add) in kinds {
        for (number, secret) in written.iter().enumerate() {
            let place = loaded.place(&format!("record.secrets.{kind}[{number}]"));
            problems.take(place, add(&mut secrets, secret));
        }
    }
    if written.redact == Some(false) && !secrets.is_empty() {
        let place = loaded.place("record.secrets");
        problems.add(place, "nothing is blanked with `record.redact: false`; leave out one of the two");
    }
    secrets
}

fn sample(written: &config::Sample, loaded: &Loaded, problems: &mut Problems) -> Option<Sample> {
    let sample = Sample::new(written.share, written.always.errors, written.always.slower_than.map(Span::get));
    if sample.is_none() {
        problems.add(loaded.place("record.sample.share"), "expected a number from 0 (none) to 1 (all)");
    }
    sample
}

fn keep(written: &config::Record, loaded: &Loaded, problems: &mut Problems) -> Keep {
    if written.keep.tapes == Some(0) {
        problems.add(loaded.place("record.keep.tapes"), "expected 1 or more");
    }
    Keep {
        age: written.keep.age.map(Span::get),
        bytes: written.keep.bytes.map(bytes),
        tapes: written.keep.tapes,
        compress: written.compress,
    }
}

/// The key that a file says tapes are encrypted with.
///
/// # Errors
/// When it says it wrongly.
pub fn tape_key(loaded: &Loaded, variables: &Variables) -> Result<Option<TapeKey>, PlanErrors> {
    let mut problems = Problems::default();
    let written = loaded.file.record.as_ref().and_then(|record| record.encrypt.as_ref());
    let found = written.map(|written| key(written, loaded, variables, &mut problems));
    problems.or(Some(found.flatten()))
}

/// The key that a file names.
pub(super) fn key(
    written: &config::Encrypt,
    loaded: &Loaded,
    variables: &Variables,
    problems: &mut Problems,
) -> Option<TapeKey> {
    match (&written.key_file, &written.key) {
        (Some(file), None) => Some(TapeKey::File(file.clone())),
        (None, Some(text)) => {
            let place = loaded.place("record.encrypt.key");
            let text = problems.take(place.clone(), expand(text.reveal(), variables))?;
            problems.take(place, Key::parse(&text)).map(TapeKey::Given)
        }
        _ => {
            problems.add(loaded.place("record.encrypt"), "needs one of `key_file` and `key`");
            None
        }
    }
}

fn bytes(size: ByteSize) -> u64 {
    size.bytes() as u64
}

/// Why a key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("the key file {path} cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no key in it.
    #[error("the key file {path} holds no key")]
    Bad {
        /// The file.
        path: PathBuf,
        /// What would be one.
        source: BadKey,
    },
}

impl TapeKey {
    /// Reads the file, if it is in one.
    ///
    /// # Errors
    /// When there is no key in it.
    pub fn read(&self) -> Result<Key, KeyError> {
        match self {
            Self::Given(key) => Ok(key.clone()),
            Self::File(path) => {
                let (text, _) = files::read_once(path, files::SECRET_BYTES_MAX)
                    .map_err(|source| KeyError::File { path: path.clone(), source })?;
                Key::parse(&text).map_err(|source| KeyError::Bad { path: path.clone(), source })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs;
    use std::time::Duration;

    use super::*;

    fn resolved(text: &str) -> Result<Record, Vec<String>> {
        let loaded = Loaded::parse("sc.yaml", text).unwrap();
        let key = (OsString::from("TAPE_KEY"), OsString::from("ab".repeat(32)));
        let mut problems = Problems::default();
        let record = resolve(None, None, &loaded, &[key].into_iter().collect(), &mut problems);
        problems.or(record).map_err(|errors| errors.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_key_arrives_in_the_plan() {
        let text = "record:\n  dir: d\n  only: ~m tools/* & !~t ping\n  \
                    secrets: {names: [ssn], paths: [$.params.card], patterns: ['A-[0-9]+']}\n  sample: {share: 0.1, always: {errors: true, slower_than: 2s}}\n  \
                    rotate: {bytes: 64MiB, every: 1h}\n  keep: {age: 30days, bytes: 10GiB, tapes: 9}\n  \
                    compress: true\n  encrypt: {key: '${TAPE_KEY}'}\n";
        let record = resolved(text).unwrap();
        let hour = Duration::from_hours(1);
        assert_eq!(record.rotate, Rotate { bytes: Some(64 << 20), every: Some(hour) });
        let keep = Keep { age: Some(hour * 24 * 30), bytes: Some(10 << 30), tapes: Some(9), compress: true };
        assert_eq!(record.keep, keep);
        assert_eq!(record.scope.sample, Sample::new(0.1, true, Some(Duration::from_secs(2))));
        let mut secrets = Secrets::default();
        secrets.add_name("ssn").unwrap();
        secrets.add_path("$.params.card").unwrap();
        secrets.add_pattern("A-[0-9]+").unwrap();
        assert_eq!(record.secrets, secrets);
        assert_eq!(record.scope.only.unwrap().to_string(), "~m tools/* & !~t ping");
        assert_eq!(record.key, Some(TapeKey::Given(Key::parse(&"ab".repeat(32)).unwrap())));
        let plain = resolved("record: {dir: d}\n").unwrap();
        assert_eq!((plain.keep, plain.rotate, plain.scope, plain.key), Default::default());
        assert!(plain.redact);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_the_way_out() {
        for (written, told) in [
            ("sample: {share: 2}", "record.sample.share: expected a number from 0 (none) to 1 (all)"),
            ("only: ~tool x", "record.only: column 1: there is no operator `~tool`; did you mean `~t`"),
            (
                "secrets: {patterns: [x, (]}",
                "record.secrets.patterns[1]: `(` is no pattern of a secret: error: unclosed",
            ),
            ("secrets: {paths: [card]}", "record.secrets.paths[0]: `card` is no path to a secret"),
            ("secrets: {names: ['-']}", "record.secrets.names[0]: `-` is no name; write it like"),
            ("redact: false\n  secrets: {names: [ssn]}", "record.secrets: nothing is blanked with"),
            ("keep: {tapes: 0}", "record.keep.tapes: expected 1 or more"),
            ("encrypt: {}", "record.encrypt: needs one of `key_file` and `key`"),
            ("encrypt: {key: abc}", "expected a key of 32 bytes as 64 hex digits or as base64; `openssl"),
            ("encrypt: {key: '${NO_KEY}'}", "the variable NO_KEY is not set"),
        ] {
            let problems = resolved(&format!("record:\n  dir: d\n  {written}\n")).unwrap_err();
            assert!(problems.len() == 1 && problems[0].contains(told), "{written}: {problems:?}");
        }
    }

    #[test]
    fn a_key_file_without_a_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tape.key");
        let told = |source: &KeyError| format!("{source}: {}", std::error::Error::source(source).unwrap());
        let fault = TapeKey::File(path.clone()).read().unwrap_err();
        assert!(told(&fault).contains("tape.key cannot be read: No such file"), "{}", told(&fault));
        fs::write(&path, "hunter2").unwrap();
        let fault = told(&TapeKey::File(path.clone()).read().unwrap_err());
        assert!(fault.contains("expected a key of 32 bytes") && !fault.contains("hunter2"), "{fault}");
        fs::write(&path, "ab".repeat(32)).unwrap();
        assert!(TapeKey::File(path).read().is_ok());
    }
}
