//! Options of TCP sockets, on both sides of the proxy.

use std::io;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;

/// Unanswered probes after which a connection counts as lost.
const KEEP_ALIVE_PROBES: u32 = 3;

/// Messages are small and waited for, and a peer that vanished must be noticed on a silent stream: after this long
/// without a word the system asks whether it is still there. A system that takes neither option still carries messages.
pub(crate) fn tune(stream: &TcpStream, keep_alive: Duration) {
    note(stream.set_nodelay(true).and_then(|()| {
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, keep_alive)?;
        sockopt::set_tcp_keepintvl(stream, keep_alive)?;
        Ok(sockopt::set_tcp_keepcnt(stream, KEEP_ALIVE_PROBES)?)
    }));
}

/// A peer that acknowledges nothing for this long is gone (RFC 5482): the system would try for a quarter of an hour.
pub(crate) fn give_up_after(stream: &TcpStream, silence: Duration) {
    let milliseconds = u32::try_from(silence.as_millis()).unwrap_or(u32::MAX);
    note(sockopt::set_tcp_user_timeout(stream, milliseconds).map_err(io::Error::from));
}

fn note(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "a socket option was not taken");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_peer_that_falls_silent_is_asked_and_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tune(&stream, Duration::from_secs(30));
        give_up_after(&stream, Duration::from_mins(1));
        assert!(stream.nodelay().unwrap());
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), Duration::from_secs(30));
        assert_eq!(sockopt::tcp_keepintvl(&stream).unwrap(), Duration::from_secs(30));
        assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), KEEP_ALIVE_PROBES);
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 60_000);
    }
}
