//! What holds of all filters.

use proptest::prelude::*;
use shadowcat_filter::{Filter, OPERATORS};

/// Something that may stand behind an operator, right or wrong.
fn argument() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z/*?.-]{1,8}",
        "\"[a-z\\\\ /*'(&|~]{0,8}\"",
        "'[a-z\\\\ /*\"]{0,8}'",
        "/[a-z.*\\\\ /]{1,8}/i?",
        "(<|<=|>|>=) ?[0-9]{1,9}(us|ms|s|m|h|days|B|kB|KiB|MB)",
        "(<|>)20[0-9]{2}-1[0-2]-[0-2][0-9](T1[0-9]:[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,6})?)?Z?)?",
        "server|client",
        Just(String::new()),
    ]
}

fn term() -> impl Strategy<Value = String> {
    (prop::sample::select(OPERATORS.iter().map(|operator| operator.name).collect::<Vec<_>>()), argument())
        .prop_map(|(name, argument)| format!("~{name} {argument}"))
        .prop_filter("a term that is right", |text| text.parse::<Filter>().is_ok())
}

fn expression() -> impl Strategy<Value = String> {
    term().prop_recursive(5, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inside| format!("!({inside})")),
            inner.clone().prop_map(|inside| format!("( {inside})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("{one}&{other}")),
            (inner.clone(), inner).prop_map(|(one, other)| format!("({one}) | {other}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 65_536, ..ProptestConfig::default() })]

    #[test]
    fn a_filter_that_is_printed_parses_to_the_same(text in expression()) {
        let Ok(filter) = text.parse::<Filter>() else { return Ok(()) };
        let printed = filter.to_string();
        let read: Filter = printed.parse().map_err(|error| TestCaseError::fail(format!("{printed}: {error}")))?;
        prop_assert_eq!(&read, &filter);
        prop_assert_eq!(read.to_string(), printed);
    }

    #[test]
    fn any_text_is_a_filter_or_an_error_within_it(text in "[~!()&|\"'/a-z<>=0-9* \\\\ä]{0,24}") {
        if let Err(error) = text.parse::<Filter>() {
            prop_assert!(error.column >= 1 && error.column <= text.chars().count() + 1);
            prop_assert!(!error.sentence.is_empty());
        }
    }
}
