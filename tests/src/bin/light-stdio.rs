//! The smallest server on standard input and output, for tests that start it by the thousand: no runtime, no threads.
//!
//! `light-stdio [FILE]`: each start adds a line with the process id to the file. Every request is answered; one with the
//! argument `bytes` only behind a line of so many bytes.

use std::io::{BufRead as _, Write};

use shadowcat_tests::server::{member, path};

static CHUNK: [u8; 64 * 1024] = [b'x'; 64 * 1024];

fn main() -> std::io::Result<()> {
    if let Some(file) = std::env::args_os().nth(1) {
        let mut starts = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
        starts.write_all(format!("{}\n", std::process::id()).as_bytes())?;
    }
    let mut stdout = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let Some(id) = member(&line, "id").filter(|_| member(&line, "method").is_some()) else { continue };
        if let Some(bytes) = path(&line, &["params", "arguments", "bytes"]) {
            long_line(&mut stdout, bytes.parse().unwrap_or(0))?;
        }
        let result = match path(&line, &["params", "protocolVersion"]) {
            Some(version) => format!(
                r#"{{"protocolVersion":{version},"capabilities":{{}},"serverInfo":{{"name":"light","version":"1"}}}}"#
            ),
            None => format!(
                r#"{{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{{}},"content":[],"pid":{}}}"#,
                std::process::id()
            ),
        };
        writeln!(stdout, r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)?;
        stdout.flush()?;
    }
    Ok(())
}

fn long_line(out: &mut impl Write, bytes: usize) -> std::io::Result<()> {
    for _ in 0..bytes / CHUNK.len() {
        out.write_all(&CHUNK)?;
    }
    out.write_all(b"\n")
}
