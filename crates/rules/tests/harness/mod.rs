//! What must hold for any bytes. The fuzz target and the corpus test both call this.

use std::time::SystemTime;

use shadowcat_protocol::{Direction, Limits, Message};
use shadowcat_rules::written::Rule;
use shadowcat_rules::{Facts, Rules, Scene, World};

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"path":"/etc","n":1e400,"list":[1,{"k":"v"}]}}}"#;
/// A rule has so many actions at most that a seed could write.
const STEPS_MAX: usize = 10_000;

struct Still;

impl World for Still {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn random(&self) -> [u8; 16] {
        [1; 16]
    }
}

/// Any text is rules or told as wrong at a place among them; rules come to an end with any message, and leave one that
/// can be read.
pub fn rules(bytes: &[u8]) {
    let Ok(written) = serde_json::from_slice::<Vec<Rule>>(bytes) else { return };
    let rules = match Rules::compile(&written) {
        Ok(rules) => rules,
        Err(faults) => {
            assert!(!faults.is_empty() && faults.iter().all(|fault| fault.place.starts_with("rules")));
            return;
        }
    };
    let Ok(message) = Message::parse(CALL.into(), &Limits::default()) else { return };
    let facts = Facts::default();
    let scene = Scene { direction: Direction::ToServer, facts: &facts, asked: None, took: None };
    let mut judgement = rules.judge(message, scene);
    let mut steps = 0;
    while judgement.next(&Still).is_some() {
        steps += 1;
        assert!(steps < STEPS_MAX);
    }
    let after = judgement.into_message();
    assert!(serde_json::from_slice::<serde::de::IgnoredAny>(after.text()).is_ok());
}
