//! Compares the columns of a run with its first one, check by check, and shows the result as Markdown.

use std::collections::BTreeSet;

use super::suite::Verdicts;

/// One mode and revision: the verdicts directly, then through shadowcat in each way.
pub(super) struct Table {
    pub(super) title: String,
    pub(super) columns: Vec<(&'static str, Verdicts)>,
}

/// A difference that lies in the nature of things, and why.
struct ByNature {
    column: &'static str,
    scenario: &'static str,
    reason: &'static str,
}

/// Every difference that is no fault of the proxy.
const BY_NATURE: &[ByNature] = &[];

/// A check whose verdict is another one through shadowcat.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference<'t> {
    column: &'t str,
    scenario: &'t str,
    check: &'t str,
    direct: String,
    through: String,
}

impl Difference<'_> {
    fn reason(&self) -> Option<&'static str> {
        let excuse = BY_NATURE
            .iter()
            .find(|excuse| excuse.column == self.column && excuse.scenario == self.scenario)?;
        Some(excuse.reason)
    }
}

impl Table {
    fn differences(&self) -> Vec<Difference<'_>> {
        let Some(((_, direct), others)) = self.columns.split_first() else { return Vec::new() };
        let mut differences = Vec::new();
        for (column, through) in others {
            for (scenario, check) in checks(direct).union(&checks(through)) {
                let [direct, through] = [direct, through].map(|verdicts| verdict(verdicts, scenario, check));
                if direct != through {
                    differences.push(Difference { column, scenario, check, direct, through });
                }
            }
        }
        differences
    }

    /// The differences that nothing excuses.
    pub(super) fn unexplained(&self) -> Vec<Difference<'_>> {
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
                let differs =
                    differences.iter().any(|other| other.column == *title && other.scenario == scenario);
                format!("{}{}", score(verdicts, Some(scenario)), if differs { " ≠" } else { "" })
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
    let differences: Vec<_> =
        tables.iter().flat_map(|table| table.differences().into_iter().map(move |d| (table, d))).collect();
    if differences.is_empty() {
        page.push_str("None.\n");
    }
    for (table, Difference { column, scenario, check, direct, through, .. }) in &differences {
        let line = format!(
            "- {}, {column}: {scenario}: {check}: {direct} directly, {through} through shadowcat",
            table.title
        );
        page.push_str(&line);
        page.push('\n');
    }
    page
}

const INTRODUCTION: &str = "\
# Conformance

The official suite, npm `@modelcontextprotocol/conformance`, run directly and through shadowcat. A proxy must not change
the verdict on a single check. Server mode: the suite calls a server built on the official TypeScript SDK, directly over
Streamable HTTP, and through `shadowcat reverse` with that server behind it over Streamable HTTP, stdio and HTTP+SSE. Client
mode: a client built on the same SDK calls the suite's mock servers, directly over Streamable HTTP, and over stdio through
`shadowcat forward`; the `auth/` scenarios are left out, because their metadata binds a client to the mock server's own
address. A cell counts the checks that passed; `cargo xtask conformance` writes this page.
";

fn checks(verdicts: &Verdicts) -> BTreeSet<(&str, &str)> {
    let pairs =
        verdicts.iter().flat_map(|(scenario, checks)| checks.keys().map(move |check| (scenario, check)));
    pairs.map(|(scenario, check)| (scenario.as_str(), check.as_str())).collect()
}

fn verdict(verdicts: &Verdicts, scenario: &str, check: &str) -> String {
    verdicts
        .get(scenario)
        .and_then(|checks| checks.get(check))
        .map_or_else(|| "no verdict".to_owned(), |verdicts| verdicts.join(" "))
}

/// How many checks of a scenario, or of all of them, passed.
fn score(verdicts: &Verdicts, scenario: Option<&str>) -> String {
    let chosen = verdicts.iter().filter(|(name, _)| scenario.is_none_or(|scenario| scenario == *name));
    let all: Vec<&String> = chosen.flat_map(|(_, checks)| checks.values().flatten()).collect();
    let passed = all.iter().filter(|verdict| **verdict == "SUCCESS").count();
    format!("{passed} of {}", all.len())
}
