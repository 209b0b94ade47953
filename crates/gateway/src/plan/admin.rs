//! Where those who run the proxy reach it: the loopback, or further away for whoever says so and has a token in a file.

use std::net::SocketAddr;
use std::path::Path;

use shadowcat_admin::NOTICE_FILE;

use super::problems::Problems;
use super::{Admin, listen};
use crate::config::Loaded;

/// Any free port of this machine's own address.
const LISTEN: &str = "127.0.0.1:0";
/// What has to be said.
const SWITCH: &str = "i_accept_plain_http_from_other_machines";

/// `said` is the address and where it was said, if it was said outside the file.
pub(super) fn resolve(
    said: Option<(String, String)>,
    data: Option<&Path>,
    loaded: &Loaded,
    problems: &mut Problems,
) -> Option<Admin> {
    let written = loaded.file.admin.as_ref();
    let (text, place) = match (said, written) {
        (Some(said), _) => said,
        (None, Some(written)) => {
            let text = written.listen.clone().unwrap_or_else(|| LISTEN.to_owned());
            (text, loaded.place(if written.listen.is_some() { "admin.listen" } else { "admin" }))
        }
        (None, None) => return None,
    };
    let address = problems.take(&place, listen::parse(&text))?;
    let token_file = written.and_then(|written| written.token_file.clone());
    let accepts = written.is_some_and(|written| written.i_accept_plain_http_from_other_machines);
    let may_be_remote = accepts && token_file.is_some();
    if !shadowcat_auth::is_loopback(address.ip()) && !may_be_remote {
        problems.add(place, refusal(address));
        return None;
    }
    let notice = data.map(|data| data.join(NOTICE_FILE));
    if notice.is_none() && token_file.is_none() {
        let sentence =
            "nobody would know the token; give `--data DIR`, in which it is put down, or `admin.token_file`";
        problems.add(place, sentence);
        return None;
    }
    let allowed_hosts = written.map(|written| written.allowed_hosts.clone()).unwrap_or_default();
    listen::check_hosts(&allowed_hosts, &loaded.place("admin.allowed_hosts"), problems);
    Some(Admin { address, allowed_hosts, token_file, notice })
}

fn refusal(address: SocketAddr) -> String {
    format!(
        "{address} can be reached from other machines, and whoever has the token sees and changes what passes; listen on \
         127.0.0.1, or put `token_file: FILE` and `{SWITCH}: true` under `admin` in the configuration file"
    )
}
