//! The server of the tests as a child process on standard input and output; see `shadowcat_tests::server`.

use std::process::ExitCode;

use shadowcat_tests::server::{StdioScript, run};

#[tokio::main]
async fn main() -> ExitCode {
    let script = StdioScript::parse(std::env::args().skip(1));
    ExitCode::from(run(script).await)
}
