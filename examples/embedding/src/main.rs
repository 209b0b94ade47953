//! A proxy within a program, with an interceptor of its own: `cargo run -p shadowcat-embedding -- http://127.0.0.1:9000/mcp`.

#![expect(clippy::print_stderr, reason = "it is how this program says where it is")]

use std::error::Error;

use shadowcat_embedding::NoShell;
use shadowcat_gateway::Proxy;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let upstream = std::env::args().nth(1).ok_or("name the server: embedding http://127.0.0.1:9000/mcp")?;

    let proxy = Proxy::before_url(upstream).listen("127.0.0.1:0").interceptor(NoShell).start().await?;
    if let Some(address) = proxy.address() {
        eprintln!("clients come in at http://{address}/mcp");
    }
    tokio::signal::ctrl_c().await?;

    let ended = proxy.stop().await;
    eprintln!("ended{}", if ended.in_order { " in order" } else { ", and some calls with it" });
    Ok(())
}
