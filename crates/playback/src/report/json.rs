//! The report as JSON, for programs.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Finding, Judged, Latency, Report, Verdict};

pub(super) fn write(report: &Report) -> String {
    let report = json!({
        "same": !report.differs(),
        "tapes": report.tapes,
        "before": report.before,
        "after": report.after,
        "calls": report.calls.iter().map(call).collect::<Vec<_>>(),
        "remarks": report.remarks.iter().map(finding).collect::<Vec<_>>(),
        "latencies": report.latencies.iter().map(latency).collect::<Vec<_>>(),
        "notes": report.notes,
        "tape_ms": ms(report.length),
        "elapsed_ms": ms(report.elapsed),
    });
    format!("{report:#}\n")
}

fn call(call: &Judged) -> Value {
    let (verdict, findings, reason) = match &call.verdict {
        Verdict::Same => ("same", Vec::new(), None),
        Verdict::Differs(findings) => ("differs", findings.iter().map(finding).collect(), None),
        Verdict::PassedOver(reason) => ("passed_over", Vec::new(), Some(reason)),
    };
    json!({
        "tape": call.place.tape,
        "seq": call.place.seq,
        "session": call.session,
        "method": call.method,
        "name": call.name,
        "arguments": call.arguments,
        "took_ms": call.took.map(ms),
        "verdict": verdict,
        "reason": reason,
        "findings": findings,
    })
}

/// A member that is not there differs from one that is null, so it is left out.
fn finding(finding: &Finding) -> Value {
    let mut value = json!({"says": finding.says});
    let members = [
        ("path", finding.path.clone().map(Value::String)),
        ("before", finding.before.clone()),
        ("after", finding.after.clone()),
    ];
    for (name, member) in members {
        if let (Some(member), Some(object)) = (member, value.as_object_mut()) {
            object.insert(name.to_owned(), member);
        }
    }
    value
}

fn latency(latency: &Latency) -> Value {
    json!({
        "kind": latency.kind,
        "calls": latency.calls,
        "p50_ms": [ms(latency.p50.0), ms(latency.p50.1)],
        "p95_ms": [ms(latency.p95.0), ms(latency.p95.1)],
        "slower": latency.is_slower,
    })
}

/// With three digits, which is what a tape has.
pub(super) fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
