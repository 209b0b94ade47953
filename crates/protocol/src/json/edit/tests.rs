use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn set(json: &str) -> Change {
    Change::Set(json.to_owned())
}

fn insert(json: &str) -> Change {
    Change::Insert(json.to_owned())
}

fn rename(name: &str) -> Change {
    Change::Rename(name.to_owned())
}

fn edited(text: &str, changes: &[(&[&str], Change)]) -> Result<String, NoPlace> {
    let mut edits = Edits::default();
    for (place, change) in changes {
        edits.add(place, change.clone());
    }
    edits.apply(text)
}

#[test]
fn every_byte_outside_of_the_places_stays() {
    const TEXT: &str = "{ \"n\" : 12345678901234567890123, \"a\":[ 1.0 ,2e3 ], \"o\" : {\"x\":\"\\u00e9\"} }";
    let table: &[(&[&str], Change, &str)] = &[
        (&["n"], set("7"), "{ \"n\" : 7, \"a\":[ 1.0 ,2e3 ], \"o\" : {\"x\":\"\\u00e9\"} }"),
        (
            &["a", "1"],
            set("null"),
            "{ \"n\" : 12345678901234567890123, \"a\":[ 1.0 ,null ], \"o\" : {\"x\":\"\\u00e9\"} }",
        ),
        (
            &["a", "0"],
            Change::Remove,
            "{ \"n\" : 12345678901234567890123, \"a\":[ 2e3 ], \"o\" : {\"x\":\"\\u00e9\"} }",
        ),
        (
            &["a", "-"],
            set("3"),
            "{ \"n\" : 12345678901234567890123, \"a\":[ 1.0 ,2e3,3 ], \"o\" : {\"x\":\"\\u00e9\"} }",
        ),
        (
            &["a", "1"],
            insert("3"),
            "{ \"n\" : 12345678901234567890123, \"a\":[ 1.0 ,3,2e3 ], \"o\" : {\"x\":\"\\u00e9\"} }",
        ),
        (&["n"], Change::Remove, "{ \"a\":[ 1.0 ,2e3 ], \"o\" : {\"x\":\"\\u00e9\"} }"),
        (&["o"], Change::Remove, "{ \"n\" : 12345678901234567890123, \"a\":[ 1.0 ,2e3 ] }"),
        (&["o", "x"], Change::Remove, "{ \"n\" : 12345678901234567890123, \"a\":[ 1.0 ,2e3 ], \"o\" : {} }"),
        (
            &["o", "x"],
            rename("y\""),
            "{ \"n\" : 12345678901234567890123, \"a\":[ 1.0 ,2e3 ], \"o\" : {\"y\\\"\":\"\\u00e9\"} }",
        ),
        (
            &["o", "y", "z"],
            set("1"),
            "{ \"n\" : 12345678901234567890123, \"a\":[ 1.0 ,2e3 ], \"o\" : {\"x\":\"\\u00e9\",\"y\":{\"z\":1}} }",
        ),
        (&["nothing"], Change::Remove, TEXT),
        (&["nothing"], rename("x"), TEXT),
        (&["n", "inside"], Change::Remove, TEXT),
    ];
    for (place, change, right) in table {
        assert_eq!(edited(TEXT, &[(*place, change.clone())]).as_deref(), Ok(*right), "{place:?} {change:?}");
    }
}

#[test]
fn several_changes_are_made_together() {
    let text = r#"{"a":1,"b":2,"c":3}"#;
    let all: &[(&[&str], Change)] =
        &[(&["a"], Change::Remove), (&["b"], Change::Remove), (&["c"], Change::Remove)];
    assert_eq!(edited(text, all).unwrap(), "{}");
    let with_another = [all, &[(&["d"] as &[&str], set("4"))]].concat();
    assert_eq!(edited(text, &with_another).unwrap(), r#"{"d":4}"#);
    let swap: &[(&[&str], Change)] = &[(&["c"], Change::Remove), (&["d"], set("4")), (&["e"], set("5"))];
    assert_eq!(edited(text, swap).unwrap(), r#"{"a":1,"b":2,"d":4,"e":5}"#);
    assert_eq!(
        edited("{}", &[(&["a", "b"], set("1")), (&["a", "c"], set("2"))]).unwrap(),
        r#"{"a":{"b":1,"c":2}}"#
    );
    assert_eq!(edited("[1]", &[(&["0"], Change::Remove), (&["1"], set("2"))]).unwrap(), "[2]");
}

#[test]
fn all_members_of_a_repeated_name_are_changed() {
    let text = r#"{"a":1,"b":0,"\u0061":2}"#;
    assert_eq!(edited(text, &[(&["a"], Change::Remove)]).unwrap(), r#"{"b":0}"#);
    assert_eq!(edited(text, &[(&["a"], set("3"))]).unwrap(), r#"{"a":3,"b":0,"\u0061":3}"#);
    assert_eq!(value_at(text, &["a"]), Some("2"));
}

#[test]
fn a_renamed_member_takes_the_place_of_one_that_has_the_name() {
    let to_b: (&[&str], Change) = (&["a"], rename("b"));
    assert_eq!(edited(r#"{"b":1,"a":2}"#, std::slice::from_ref(&to_b)).unwrap(), r#"{"b":2}"#);
    assert_eq!(edited(r#"{"b":1}"#, &[to_b]).unwrap(), r#"{"b":1}"#);
    assert_eq!(edited(r#"{"a":1}"#, &[(&["a"], rename("a"))]).unwrap(), r#"{"a":1}"#);
}

#[test]
fn what_has_no_place_is_told_with_it() {
    let told = |text: &str, place: &[&str], change: Change| {
        edited(text, &[(place, change)]).unwrap_err().to_string()
    };
    assert_eq!(told(r#"{"a":"text"}"#, &["a", "b"], set("1")), "at \"/a\": neither an object nor a list");
    assert_eq!(told(r#"{"a/b":[1]}"#, &["a/b", "7"], set("1")), "at \"/a~1b/7\": no place of this list");
    assert_eq!(told("[1]", &["x"], set("1")), "at \"/x\": no place of this list");
    assert_eq!(told("[1]", &["0"], rename("a")), "at \"/0\": an element has no name");
    assert_eq!(told("{", &["a"], set("1")), "at \"\": this is no JSON");
    assert_eq!(told("{}", &[], Change::Remove), "at \"\": the whole can only be set");
    assert_eq!(edited(" 7 ", &[(&[], set("[]"))]).unwrap(), " [] ");
}

#[test]
fn values_are_found_by_keys_and_indexes() {
    let text = r#" {"a":[{"b":1e400}, 2]} "#;
    assert_eq!(value_at(text, &["a", "0", "b"]), Some("1e400"));
    for nowhere in [["a", "2"], ["a", "00"], ["a", "-"], ["b", "0"]] {
        assert_eq!(value_at(text, &nowhere), None, "{nowhere:?}");
    }
    let whole: [&str; 0] = [];
    assert_eq!(value_at(text, &whole), Some(text.trim()));
}

/// The same change, of the value.
fn change_value(value: &mut Value, place: &[String], change: &Change) -> bool {
    let Some((token, rest)) = place.split_first() else { return false };
    let new = |json: &String| serde_json::from_str::<Value>(json).unwrap();
    match (value, rest.is_empty(), change) {
        (Value::Object(members), false, _) if members.contains_key(token) => {
            change_value(&mut members[token], rest, change)
        }
        (Value::Array(elements), false, _) if index(token).is_some_and(|at| at < elements.len()) => {
            change_value(&mut elements[index(token).unwrap()], rest, change)
        }
        (Value::Object(members), true, Change::Set(json) | Change::Insert(json)) => {
            members.insert(token.clone(), new(json));
            true
        }
        (Value::Object(members), true, Change::Remove) => {
            members.remove(token);
            true
        }
        (Value::Object(members), true, Change::Rename(name)) => {
            if let Some(value) = members.remove(token) {
                members.insert(name.clone(), value);
            }
            true
        }
        (Value::Array(elements), true, change) => {
            let Some(at) = index(token).filter(|at| *at < elements.len()) else { return false };
            match change {
                Change::Set(json) => elements[at] = new(json),
                Change::Insert(json) => elements.insert(at, new(json)),
                Change::Remove => drop(elements.remove(at)),
                Change::Rename(_) => return false,
            }
            true
        }
        _ => false,
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), "\\PC{0,4}".prop_map(Value::from)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[ab\"é]{1,2}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        value().prop_map(|value| Change::Set(value.to_string())),
        value().prop_map(|value| Change::Insert(value.to_string())),
        Just(Change::Remove),
        "[ab\"é]{1,2}".prop_map(Change::Rename),
    ]
}

fn place() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop_oneof!["[ab\"é]{1,2}", "[0-3]"], 1..4)
}

proptest! {
    #[test]
    fn a_changed_text_is_the_text_of_the_changed_value(value in value(), place in place(), change in change(), wide in any::<bool>()) {
        let mut changed = value.clone();
        if change_value(&mut changed, &place, &change) {
            let text = if wide { format!("{value:#}") } else { value.to_string() };
            let edited = Edits::one(&place, change).apply(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&edited).unwrap(), changed);
        }
    }

    #[test]
    fn changes_together_are_those_one_after_the_other(value in value(), keys in prop::collection::btree_map("[ab\"é]{1,2}", prop_oneof![Just(Change::Remove), Just(set("7"))], 0..5)) {
        let mut changed = json!({"x": value.clone(), "a": 1, "b": [], "é": {}});
        let text = changed.to_string();
        let mut edits = Edits::default();
        for (key, change) in &keys {
            change_value(&mut changed, std::slice::from_ref(key), change);
            edits.add(&[key], change.clone());
        }
        prop_assert_eq!(serde_json::from_str::<Value>(&edits.apply(&text).unwrap()).unwrap(), changed);
    }

    #[test]
    fn what_is_not_changed_keeps_its_bytes(value in value(), digits in "[1-9][0-9]{20,40}") {
        let text = format!("{{ \"big\" : {digits} , \"v\":{value:#},\"z\"\t:-0.0e-7}}");
        let edited = Edits::one(&["new"], set("1")).apply(&text).unwrap();
        prop_assert_eq!(edited, format!("{},\"new\":1}}", text.strip_suffix('}').unwrap()));
        let edited = Edits::one(&["v"], Change::Remove).apply(&text).unwrap();
        prop_assert_eq!(edited, format!("{{ \"big\" : {digits},\"z\"\t:-0.0e-7}}"));
    }

    #[test]
    fn text_that_is_no_json_does_no_harm(text in "[\\[\\]{}:,\"\\\\a1 é\n]*", place in place(), change in change()) {
        Edits::one(&place, change).apply(&text).ok();
    }
}
