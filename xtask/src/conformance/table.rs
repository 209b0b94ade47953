//! Compares the columns of a run with its first one, check by check, and shows the result as Markdown.

use std::collections::BTreeSet;

use super::nature;
use super::suite::Verdicts;

/// One mode and revision: the verdicts directly, then through shadowcat in each way.
pub(super) struct Table {
    pub(super) title: String,
    pub(super) columns: Vec<(&'static str, Verdicts)>,
}

/// What a check without a verdict is shown as: it was not made, or only noted something.
pub(super) const NO_VERDICT: &str = "no verdict";

/// The verdict on a check, directly and through shadowcat.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Comparison<'t> {
    column: &'t str,
    scenario: &'t str,
    check: &'t str,
    direct: String,
    through: String,
}

impl Comparison<'_> {
    fn reason(&self) -> Option<String> {
        let across = ["legacy ", "modern "].iter().any(|era| self.column.starts_with(era));
        if across && self.through == "SUCCESS" {
            // Between the eras the suite judges the proxy itself, and may find more than at the server it replaces.
            return Some("the bridge does what the server of the direct run does not".to_owned());
        }
        nature::reason(self.column, self.scenario, self.check, &self.through)
    }

    fn line(&self, title: &str) -> String {
        let Self { column, scenario, check, direct, through } = self;
        let reason = self.reason().unwrap_or_else(|| "**unexplained**".to_owned());
        format!(
            "- {title}, {column}: {scenario}: {check}: {direct} directly, {through} through shadowcat: {reason}\n"
        )
    }
}

impl Table {
    /// Every check of every column but the first, beside the same check of the first one.
    fn comparisons(&self) -> Vec<Comparison<'_>> {
        let Some(((_, direct), others)) = self.columns.split_first() else { return Vec::new() };
        let mut comparisons = Vec::new();
        for (column, through) in others {
            for (scenario, check) in checks(direct).union(&checks(through)) {
                let [direct, through] = [direct, through].map(|verdicts| verdict(verdicts, scenario, check));
                comparisons.push(Comparison { column, scenario, check, direct, through });
            }
        }
        comparisons
    }

    fn differences(&self) -> Vec<Comparison<'_>> {
        let mut comparisons = self.comparisons();
        comparisons.retain(|comparison| comparison.direct != comparison.through);
        comparisons
    }

    /// How many checks were compared.
    pub(super) fn compared(&self) -> usize {
        self.comparisons().len()
    }

    /// The differences that nothing excuses.
    pub(super) fn unexplained(&self) -> Vec<Comparison<'_>> {
        self.differences().into_iter().filter(|difference| difference.reason().is_none()).collect()
    }

    fn write(&self, page: &mut String) {
        let mut row = |first: &str, cells: Vec<String>| {
            page.push_str("| ");
            page.push_str(first);
            for cell in cells {
                page.push_str(" | ");
                page.push_str(&cell);
            }
            page.push_str(" |\n");
        };
        row("scenario", self.columns.iter().map(|(title, _)| (*title).to_owned()).collect());
        row("---", vec!["---".to_owned(); self.columns.len()]);
        let differences = self.differences();
        let scenarios: BTreeSet<&String> =
            self.columns.iter().flat_map(|(_, verdicts)| verdicts.keys()).collect();
        for scenario in scenarios {
            let cells = self.columns.iter().map(|(title, verdicts)| {
                let here =
                    differences.iter().filter(|other| other.column == *title && other.scenario == scenario);
                let mark = mark(&here.collect::<Vec<_>>());
                format!("{}{mark}", score(verdicts, Some(scenario)))
            });
            row(scenario, cells.collect());
        }
        row("**all**", self.columns.iter().map(|(_, verdicts)| score(verdicts, None)).collect());
    }
}

/// The whole page: what is compared, the tables, the differences.
pub(super) fn page(tables: &[Table]) -> String {
    let mut page = String::from(INTRODUCTION);
    for table in tables {
        page.push_str("\n## ");
        page.push_str(&table.title);
        page.push_str("\n\n");
        table.write(&mut page);
    }
    page.push_str("\n## Checks that differ\n\n");
    let before = page.len();
    for table in tables {
        for difference in table.differences() {
            page.push_str(&difference.line(&table.title));
        }
    }
    if page.len() == before {
        page.push_str("None.\n");
    }
    page
}

const INTRODUCTION: &str = "\
# Conformance

The official suite, npm `@modelcontextprotocol/conformance`, run directly and through shadowcat. A proxy must not
change the verdict on a single check. A table has the requirements of one revision; a column is a way to meet them, and
each is compared with the first one.

Server mode: the suite is the client, and speaks the revision of the table. `direct` is a server of that era only, over
Streamable HTTP: for 2025-11-25 one on the official TypeScript SDK 1.x, which knows nothing of 2026-07-28, for 2026-07-28 one on
SDK 2.x that refuses everything before it. The other columns go through `shadowcat reverse`: to the same server behind Streamable
HTTP, stdio and HTTP+SSE, to one of `both eras`, and across the eras: `modern` and `legacy` are those two servers again, each before
a client of the other era. The legacy one asks its client on the stream of the call; in the column `standing`, on the standing stream.
`from tape` is the suite recorded once before the first server, and then run against `shadowcat mock` of that tape alone.

Client mode: the suite's mock server speaks the revision of the table. A client on the same SDK calls it directly over
Streamable HTTP, and over stdio through `shadowcat forward`; `modern` and `legacy` are that client speaking the other
era. The `auth/` scenarios are left out, because their metadata binds a client to the mock server's own address.

A cell counts the checks that passed. ≠ marks what differs by nature; the reasons are at the end, for what lies between
the eras with the sentence of the specification that makes it so. Anything else that differs is marked FAIL, and fails
the command. What passes in no column the suite has skipped: `tasks-status-notifications` is not written yet, by its own word
(\u{201c}pending subscriptions/listen rewrite\u{201d}), and the rest is about what that client need not do. `cargo xtask conformance` writes
this page.
";

/// What a cell with these differences is marked with.
fn mark(differences: &[&Comparison<'_>]) -> &'static str {
    match differences {
        [] => "",
        all if all.iter().all(|difference| difference.reason().is_some()) => " ≠",
        _ => " **FAIL**",
    }
}

fn checks(verdicts: &Verdicts) -> BTreeSet<(&str, &str)> {
    let pairs =
        verdicts.iter().flat_map(|(scenario, checks)| checks.keys().map(move |check| (scenario, check)));
    pairs.map(|(scenario, check)| (scenario.as_str(), check.as_str())).collect()
}

fn verdict(verdicts: &Verdicts, scenario: &str, check: &str) -> String {
    verdicts
        .get(scenario)
        .and_then(|checks| checks.get(check))
        .map_or_else(|| NO_VERDICT.to_owned(), |verdicts| verdicts.join(" "))
}

/// How many checks of a scenario, or of all of them, passed.
fn score(verdicts: &Verdicts, scenario: Option<&str>) -> String {
    let chosen = verdicts.iter().filter(|(name, _)| scenario.is_none_or(|scenario| scenario == *name));
    let all: Vec<&String> = chosen.flat_map(|(_, checks)| checks.values().flatten()).collect();
    let passed = all.iter().filter(|verdict| **verdict == "SUCCESS").count();
    format!("{passed} of {}", all.len())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const POLLING: &str = "server-sse-polling";
    const RESUME: &str = "server-sse-disconnect-resume ServerDisconnectResume";

    fn verdicts(scenario: &str, check: &str, verdict: &str) -> Verdicts {
        let checks = BTreeMap::from([(check.to_owned(), vec![verdict.to_owned()])]);
        BTreeMap::from([(scenario.to_owned(), checks)])
    }

    fn table(direct: Verdicts, column: &'static str, through: Verdicts) -> Table {
        Table { title: "T".to_owned(), columns: vec![("direct", direct), (column, through)] }
    }

    #[test]
    fn equal_verdicts_are_no_difference_even_when_both_fail() {
        let failed = || verdicts("a", "b", "FAILURE");
        let table = table(failed(), "via http", failed());
        assert!(table.differences().is_empty());
        assert_eq!(table.compared(), 1);
    }

    #[test]
    fn another_verdict_is_a_difference_in_either_direction() {
        let [good, bad] = ["SUCCESS", "FAILURE"].map(|verdict| move || verdicts("a", "b", verdict));
        assert_eq!(table(good(), "via http", bad()).unexplained().len(), 1);
        assert_eq!(table(bad(), "via http", good()).unexplained().len(), 1);
    }

    #[test]
    fn a_check_that_one_side_did_not_make_is_a_difference() {
        let made = verdicts("a", "b", "SUCCESS");
        let page = page(&[table(made, "via http", Verdicts::new())]);
        assert!(
            page.contains("a: b: SUCCESS directly, no verdict through shadowcat: **unexplained**"),
            "{page}"
        );
        assert!(page.contains("| a | 1 of 1 | 0 of 0 **FAIL** |"), "{page}");
    }

    #[test]
    fn a_difference_by_nature_is_shown_and_does_not_fail() {
        let table = table(verdicts(POLLING, RESUME, "SUCCESS"), "via stdio", Verdicts::new());
        assert_eq!(table.differences().len(), 1);
        assert!(table.unexplained().is_empty());
    }

    #[test]
    fn an_excuse_holds_for_its_own_column_and_verdict_only() {
        let direct = || verdicts(POLLING, RESUME, "SUCCESS");
        assert_eq!(table(direct(), "via http", Verdicts::new()).unexplained().len(), 1);
        assert_eq!(table(direct(), "via stdio", verdicts(POLLING, RESUME, "FAILURE")).unexplained().len(), 1);
    }
}
