//! What a person writes, and what it means.

use shadowcat_gateway::Target;
use shadowcat_playback::replay::Go;

use super::*;

#[test]
fn a_server_is_a_url_or_a_command_in_quotes() {
    let words = |words: &[&str]| Target::Command(words.iter().map(Into::into).collect());
    assert_eq!(differ::upstream("http://h/mcp").unwrap(), Target::Url("http://h/mcp".to_owned()));
    assert_eq!(differ::upstream("sse+https://h/sse").unwrap(), Target::Url("sse+https://h/sse".to_owned()));
    assert_eq!(differ::upstream("x 'a b' --c=http://h").unwrap(), words(&["x", "a b", "--c=http://h"]));
    assert!(differ::upstream("x 'a").unwrap_err().told().contains("not closed"));
}

#[tokio::test]
async fn the_terminal_says_what_becomes_of_a_step() {
    let mut all = false;
    for (line, go) in [("\n", Go::Say), ("s\n", Go::Skip), ("q\n", Go::Stop), ("", Go::Stop)] {
        assert_eq!(stepper::ask(&mut line.as_bytes(), &mut all).await, go, "{line:?}");
    }
    assert!(!all);
    assert_eq!(stepper::ask(&mut "a\n".as_bytes(), &mut all).await, Go::Say);
    assert!(all);
}
