//! How long files and functions are, tests aside.

use std::fmt::Write as _;
use std::path::Path;

use super::Source;

/// A file past this has a second subject.
const FILE_LINES_MAX: usize = 500;

/// How many of the longest to show.
const SHOWN: usize = 8;

/// Reports each file that is too long.
pub(super) fn faults(sources: &[Source]) -> Vec<String> {
    let too_long = sources.iter().filter(|source| length(source) > FILE_LINES_MAX);
    too_long
        .map(|source| format!("{} has {} lines without tests", source.path.display(), length(source)))
        .collect()
}

/// The longest files and functions, for the next person with an hour to spare.
pub(super) fn largest(sources: &[Source]) -> String {
    let mut files: Vec<(usize, String)> =
        sources.iter().map(|source| (length(source), source.path.display().to_string())).collect();
    let mut functions: Vec<(usize, String)> = sources
        .iter()
        .flat_map(|source| {
            let named = move |(lines, name)| (lines, format!("{} {name}", source.path.display()));
            functions(code(source)).into_iter().map(named)
        })
        .collect();
    let mut text = String::new();
    for (title, list) in [("files", &mut files), ("functions", &mut functions)] {
        list.sort_unstable_by(|one, other| other.cmp(one));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "longest {title}:");
        for (lines, name) in list.iter().take(SHOWN) {
            let _ = writeln!(text, "{lines:>6}  {name}");
        }
    }
    text
}

fn length(source: &Source) -> usize {
    code(source).lines().count()
}

/// A file without its tests: none of it if it is a test file, else what stands before its test module.
fn code(source: &Source) -> &str {
    if is_test(&source.path) {
        return "";
    }
    source.text.split("#[cfg(test)]\nmod ").next().unwrap_or_default()
}

fn is_test(path: &Path) -> bool {
    path.file_stem().is_some_and(|name| name.to_string_lossy().ends_with("tests"))
        || path.components().any(|part| part.as_os_str() == "tests")
}

/// The length and name of each function with a body: rustfmt puts the closing brace under the line that begins it.
fn functions(code: &str) -> Vec<(usize, &str)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let body = line.trim_start();
        let Some(name) = function_name(body) else { continue };
        let indent = line.len() - body.len();
        let mut below = lines.iter().enumerate().skip(start + 1);
        let end = below.find_map(|(end, line)| Some((end, closing(line.get(indent..)?)?)));
        if let Some((end, '}')) = end {
            found.push((end - start + 1, name));
        }
    }
    found
}

/// What ends the function that begins in the column of this text: its brace, or the semicolon of a bare signature.
fn closing(text: &str) -> Option<char> {
    text.chars().next_back().filter(|last| text.starts_with(['}', ')']) && matches!(last, '}' | ';'))
}

fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let only_words = before.split_whitespace().all(|word| {
        matches!(word, "pub" | "pub(crate)" | "pub(super)" | "async" | "const" | "unsafe" | "extern")
    });
    (only_words && !line.ends_with(';') && !line.ends_with('}'))
        .then(|| after.split(['(', '<']).next())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.to_owned() }
    }

    #[test]
    fn a_function_is_as_long_as_from_its_first_line_to_its_brace() {
        let code =
            "impl X {\n    pub(crate) fn a(\n        &self,\n    ) {\n        if x {\n        }\n    }\n}\n";
        assert_eq!(functions(code), [(6, "a")]);
    }

    #[test]
    fn a_function_without_a_body_has_no_length() {
        let code = "trait X {\n    fn a(\n        &self,\n    ) -> u8;\n\n    fn b(&self) {\n        x();\n    }\n}\n";
        assert_eq!(functions(code), [(3, "b")]);
    }

    #[test]
    fn tests_do_not_count() {
        let text = "//! A.\n\n#[cfg(test)]\nmod tests {\n    fn a() {}\n}\n";
        assert_eq!(length(&source("crates/x/src/a.rs", text)), 2);
        assert_eq!(length(&source("crates/x/src/tests.rs", text)), 0);
        assert_eq!(length(&source("crates/x/src/a_tests.rs", text)), 0);
    }

    #[test]
    fn a_long_file_is_a_fault() {
        let long = source("crates/x/src/a.rs", &"\n".repeat(FILE_LINES_MAX + 1));
        assert_eq!(faults(&[long]).len(), 1);
    }
}
