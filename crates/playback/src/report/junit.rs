//! The report as JUnit's XML: a suite of the tape, a case for each call.

use std::fmt::Write as _;
use std::time::Duration;

use quick_xml::escape::escape;

use super::{Finding, Report, Verdict, text};

pub(super) fn write(report: &Report) -> String {
    let slower = report.slower().count();
    let tests = report.calls.len() + report.remarks.len() + slower;
    let failures = report.differing() + report.remarks.len() + slower;
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let name = attribute(&report.title());
    // Writing into a string does not fail.
    writeln!(
        xml,
        "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{}\" time=\"{}\">",
        report.passed_over(),
        seconds(report.elapsed)
    )
    .unwrap_or_default();
    for call in &report.calls {
        let title = format!("{}: {}", call.frame, call.title());
        let inside = match &call.verdict {
            Verdict::Same => None,
            Verdict::PassedOver(reason) => Some(format!("<skipped message=\"{}\"/>", attribute(reason))),
            Verdict::Differs(findings) => Some(failure(findings)),
        };
        case(&mut xml, &title, &call.method, call.took.unwrap_or_default(), inside);
    }
    for remark in &report.remarks {
        let inside = failure(std::slice::from_ref(remark));
        case(&mut xml, &remark.says, "server", Duration::ZERO, Some(inside));
    }
    for latency in report.slower() {
        let says = format!("{:.1} times slower by the middle of {} calls", latency.factor(), latency.calls);
        let inside = failure(&[Finding::plain(says)]);
        case(&mut xml, &format!("time of {}", latency.kind), "latency", latency.p50.1, Some(inside));
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

fn case(xml: &mut String, name: &str, class: &str, took: Duration, inside: Option<String>) {
    let (name, class, took) = (attribute(name), attribute(class), seconds(took));
    let begin = format!("    <testcase name=\"{name}\" classname=\"{class}\" time=\"{took}\"");
    xml.push_str(&begin);
    match inside {
        None => xml.push_str("/>\n"),
        Some(inside) => {
            xml.push_str(">\n      ");
            xml.push_str(&inside);
            xml.push_str("\n    </testcase>\n");
        }
    }
}

fn failure(findings: &[Finding]) -> String {
    let message: Vec<&str> = findings.iter().map(|finding| finding.says.as_str()).collect();
    let details = text::details(findings);
    format!("<failure message=\"{}\">{}</failure>", attribute(&message.join("; ")), escape(allowed(&details)))
}

/// Line ends in an attribute would be read as blanks.
fn attribute(text: &str) -> String {
    escape(allowed(&text.replace('\n', " "))).into_owned()
}

/// XML has no way at all to say most control characters.
fn allowed(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

fn seconds(time: Duration) -> String {
    format!("{:.6}", time.as_secs_f64())
}
