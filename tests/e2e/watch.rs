//! I1: messages as they flow, in a real terminal.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::proxy::{Proxy, before_command, program};
use shadowcat_tests::terminal::Terminal;
use shadowcat_tests::wait::until;

use crate::harness::child;
use crate::tapes::recorded;

const NEWEST: &str = "2025-11-25";

async fn recording(directory: &Path) -> (Proxy, Client) {
    let proxy = recorded(before_command(&[child()]), directory).start().await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    (proxy, client)
}

fn watch(width: u16, height: u16, arguments: &str) -> Terminal {
    watch_with("", width, height, arguments)
}

fn watch_with(variables: &str, width: u16, height: u16, arguments: &str) -> Terminal {
    Terminal::start(width, height, &format!("{variables} {} watch {arguments}", program().display()))
}

/// A view of these tapes, once it is there.
async fn live(tapes: &Path) -> Terminal {
    let terminal = watch(80, 24, &tapes.display().to_string());
    terminal.shows(&["live"]).await;
    terminal
}

#[tokio::test]
async fn i1_messages_are_seen_filtered_and_opened_while_they_are_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let (_proxy, mut client) = recording(directory.path()).await;
    let terminal = watch(80, 24, &directory.path().display().to_string());
    terminal.shows(&["MESSAGE", "-> initialize", "<- initialize", "result", "live"]).await;

    client.request(&call("7", "echo", r#"{"text":"over here"}"#, "")).await;
    client.request(&call("8", "nothing_of_this_name", "{}", "")).await;
    terminal.shows(&["-> tools/call echo", "<- tools/call echo", "q quit"]).await;

    terminal.press(&["/"]);
    terminal.write("~t echo & ~methd x");
    terminal.press(&["Enter"]);
    terminal.shows(&["column 11: there is no operator `~methd`; did you mean `~m`"]).await;
    terminal.press(&["End", "C-u"]);
    terminal.write("~t echo");
    terminal.press(&["Enter"]);
    let screen = terminal.shows(&["filter: ~t echo", "2 of "]).await;
    assert!(!screen.contains("initialize"), "{screen}");

    terminal.press(&["Enter"]);
    let screen = terminal.shows(&["\"name\": \"echo\"", "<- result", "other"]).await;
    assert!(screen.contains("-> tools/call echo  #7"), "{screen}");
    terminal.press(&["End"]);
    terminal.shows(&["over here"]).await;

    terminal.press(&["Escape"]);
    // Together with the next key it would be another one.
    terminal.shows(&["STATUS", "filter: ~t echo"]).await;
    terminal.press(&["Tab"]);
    terminal.shows(&["SESSION", "CLIENT", "http 2025-11-25"]).await;
    terminal.press(&["?"]);
    terminal.shows(&["show what fits a filter"]).await;
    terminal.press(&["q"]);
    terminal.shows(&["code 0", "lines of text"]).await;
}

#[tokio::test]
async fn i1_the_terminal_is_given_back_by_whatever_ends_the_view() {
    let directory = tempfile::tempdir().unwrap();
    let (_proxy, _client) = recording(directory.path()).await;
    for end in ["TERM", "INT", "C-c"] {
        let terminal = live(directory.path()).await;
        let process = Pid::from_raw(terminal.program().await).unwrap();
        match end {
            "TERM" => kill_process(process, Signal::TERM).unwrap(),
            "INT" => kill_process(process, Signal::INT).unwrap(),
            key => terminal.press(&[key]),
        }
        let screen = terminal.shows(&["code 0", "lines of text"]).await;
        assert!(!screen.contains("MESSAGE"), "{end}: {screen}");
    }
}

#[tokio::test]
async fn i1_at_a_running_proxy_what_is_held_is_edited_answered_and_refused() {
    let proxy = before_command(&[child()]).argument("--admin").argument("127.0.0.1:0").start().await;
    let mut client = Client::http(proxy.address);
    client.handshake(NEWEST).await;
    let arguments = format!("--data {}", proxy.data().display());
    let terminal = watch_with("EDITOR='sed -i s/before/after/'", 80, 24, &arguments);
    terminal.shows(&["live", "b hold"]).await;
    terminal.press(&["b"]);
    terminal.write("~q & ~t echo");
    terminal.press(&["Enter"]);
    terminal.shows(&["is held from now on"]).await;

    client.send(&call("7", "echo", r#"{"text":"before"}"#, "")).await;
    terminal.shows(&["held h-1", "1 held", "e edit"]).await;
    terminal.press(&["e"]);
    terminal.shows(&["h-1: goes on as it was edited"]).await;
    let answer = client.response("7").await;
    assert!(answer.contains("after") && !answer.contains("before"), "{answer}");

    client.send(&call("8", "echo", "{}", "")).await;
    terminal.shows(&["held h-2"]).await;
    terminal.press(&["x"]);
    terminal.write("not today");
    terminal.press(&["Enter"]);
    terminal.shows(&["h-2: is refused"]).await;
    let answer = client.response("8").await;
    assert!(answer.contains("not today"), "{answer}");

    client.send(&call("9", "echo", r#"{"text":"as it is"}"#, "")).await;
    terminal.shows(&["held h-3"]).await;
    terminal.press(&["Tab", "Tab"]);
    terminal.shows(&["UNTIL", "breakpoint b-1", "holds what fits ~q & ~t echo"]).await;
    terminal.press(&["Enter"]);
    terminal.shows(&["h-3  tools/call echo", "\"as it is\""]).await;
    terminal.press(&["r"]);
    terminal.shows(&["h-3: goes on"]).await;
    client.response("9").await;
    terminal.press(&["q"]);
    terminal.shows(&["code 0", "lines of text"]).await;
}

#[tokio::test]
async fn i1_tapes_are_shown_where_no_proxy_runs_and_not_where_one_cannot_be_asked() {
    let data = tempfile::tempdir().unwrap();
    let (proxy, _client) = recording(&data.path().join("tapes")).await;
    let arguments = format!("--data {}", data.path().display());
    let notice = data.path().join("admin.json");
    let put_up = |process: u32| {
        let text = format!(r#"{{"url":"http://127.0.0.1:1","token":"0123456789abcdef","pid":{process}}}"#);
        std::fs::write(&notice, text).unwrap();
    };
    watch(80, 24, &arguments).shows(&["-> initialize", "live"]).await;
    drop(proxy);
    // No process has this number.
    put_up(i32::MAX.unsigned_abs());
    watch(80, 24, &arguments).shows(&["-> initialize"]).await;
    put_up(std::process::id());
    watch(200, 24, &arguments).shows(&["no proxy answers at http://127.0.0.1:1", "code 1"]).await;
    std::fs::write(&notice, "{}").unwrap();
    watch(200, 24, &arguments).shows(&["does not say where a proxy is", "code 1"]).await;
}

/// Begins to type a filter.
async fn begin_filter(terminal: &Terminal) {
    terminal.press(&["/"]);
    terminal.shows(&["Enter take it"]).await;
}

#[tokio::test]
async fn i1_a_long_filter_that_is_pasted_is_there_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (_proxy, _client) = recording(directory.path()).await;
    let terminal = live(directory.path()).await;
    begin_filter(&terminal).await;
    // A key at each of ten looks a second would be there after longer than any screen is waited for.
    let names = vec!["~t echo"; 250].join(" | ");
    terminal.write(&format!("{names} | ~t the_last_one"));
    terminal.shows(&["~t the_last_one"]).await;
    terminal.press(&["C-u"]);
    terminal.write("~m ping");
    terminal.press(&["Enter"]);
    terminal.shows(&["filter: ~m ping", "0 of "]).await;
}

#[tokio::test]
async fn i1_what_is_pasted_in_several_lines_is_one_line_of_text() {
    let directory = tempfile::tempdir().unwrap();
    let (_proxy, _client) = recording(directory.path()).await;
    let terminal = live(directory.path()).await;
    // Among its letters are keys that end the view.
    terminal.paste("quit\nq\n");
    terminal.shows(&["nowhere to paste"]).await;
    begin_filter(&terminal).await;
    let names = vec!["~t echo"; 300].join("\n| ");
    terminal.paste(&format!("{names}\n| ~m ping\n"));
    terminal.shows(&["| ~m ping", "Enter take it"]).await;
    terminal.press(&["C-u"]);
    terminal.paste("~m ping\n");
    terminal.press(&["Enter"]);
    terminal.shows(&["filter: ~m ping", "0 of "]).await;
    terminal.press(&["q"]);
    terminal.shows(&["code 0", "lines of text"]).await;
}

#[tokio::test]
async fn i1_a_view_whose_terminal_is_gone_ends() {
    let directory = tempfile::tempdir().unwrap();
    let (_proxy, _client) = recording(directory.path()).await;
    let terminal = live(directory.path()).await;
    let process = terminal.program().await;
    drop(terminal);
    let is_gone = || !Path::new(&format!("/proc/{process}")).exists();
    until("the end of the view", is_gone).await;
}

#[tokio::test]
async fn i1_without_a_terminal_the_way_out_is_told() {
    let mut command = Command::new(program());
    command.args(["watch", "any"]).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("terminal") && told.contains("shadowcat tape show"), "{told}");
}
