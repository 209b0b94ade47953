//! What every message passes on its way: the interceptors, outermost first, each with the reason for its place.

use std::sync::Arc;

use shadowcat_bridge::Readable;
use shadowcat_interceptors::{
    CallMetrics, Calls, Contained, Deadline, Lot, Mirror, Pause, Rules, Trace, deadline,
};
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Chain, Interceptor};
use shadowcat_protocol::{Era, method};
use shadowcat_tape::{Audience, Recorder};
use tokio_util::sync::CancellationToken;

use crate::external::Externals;
use crate::plan::{Plan, UpstreamTarget};
use crate::rule_files::RuleFiles;
use crate::upstream::Bridges;

/// The parts of which a path is made.
pub(crate) struct Path<'a> {
    /// Who makes spans, if they are wanted.
    pub(crate) trace: Option<Arc<Trace>>,
    pub(crate) calls: CallMetrics,
    /// Who is told of what passes here.
    pub(crate) audience: Option<&'a Audience>,
    pub(crate) force: &'a CancellationToken,
    pub(crate) rules: Option<&'a RuleFiles>,
    pub(crate) externals: Option<&'a Externals>,
    /// Those of the embedding program.
    pub(crate) own: Vec<Arc<dyn Interceptor>>,
    /// Where messages wait that are held.
    pub(crate) lot: &'a Lot,
    /// What becomes of held notifications is among these.
    pub(crate) tasks: &'a Tasks,
    pub(crate) bridges: Option<&'a Bridges>,
}

impl Path<'_> {
    pub(crate) fn chain(self, plan: &Plan) -> Chain {
        // Otherwise nothing is held, and there is nobody who could set a breakpoint.
        let pause = &plan.pause;
        let holds = !pause.breakpoints.is_empty() || !pause.settings.approvals.is_empty();
        let may_hold = holds || plan.admin.is_some();
        let is_judged = self.rules.is_some() || holds || self.externals.is_some() || !self.own.is_empty();
        let (in_front, behind) = self.recorders(is_judged, may_hold);
        let mut steps: Vec<Arc<dyn Interceptor>> = Vec::new();
        // Outermost, so that the log and the tape have the trace that the server is told of, and rules may still take it out.
        steps.extend(self.trace.map(|trace| trace as Arc<dyn Interceptor>));
        // In front of the rest, so that it sees what any other step refuses, and times what any other step takes.
        steps.push(Arc::new(Calls::new(self.calls)));
        // Outside the deadline, so that an exchange that was ended is on the tape as such; and outside all that decides over
        // messages, so that the tape has what clients said and were told. What a server begins passes here first, in its own
        // words.
        steps.extend(in_front.map(|recorder| Arc::new(recorder) as Arc<dyn Interceptor>));
        let limits = deadline::Settings { idle: plan.timeouts.request, total: plan.timeouts.request_max };
        steps.push(Arc::new(Deadline::new(limits, self.force.clone())));
        if sees_no_headers(&plan.upstream.target) {
            // Only before children and tapes: a server on HTTP sees the headers and checks them itself. Outside the rules,
            // because the client mirrors what it wrote, and knows of the tools what rules have made of them.
            steps.push(Arc::new(Mirror::default()));
        }
        if let Some(rules) = self.rules {
            // Inside the deadline, which so bounds what a rule holds or swallows.
            let (lot, tasks) = (self.lot.clone(), self.tasks.clone());
            steps.push(Arc::new(Rules::new(rules.book(), Arc::clone(&plan.upstream.name), lot, tasks)));
        }
        if may_hold {
            // Inside the rules: what a person sees is what would leave.
            let (lot, tasks) = (self.lot.clone(), self.tasks.clone());
            let pause = Pause::new(lot, Arc::clone(&plan.upstream.name), tasks);
            // The recorder in front has looked already whether anything could be changed.
            let is_recorded = self.audience.is_some() && !is_judged;
            steps.push(Arc::new(if is_recorded { pause.recorded() } else { pause }));
        }
        if let Some(externals) = self.externals {
            // Inside the rules, which so spare others a question, and whose changes they see.
            steps.push(externals.step());
        }
        // Behind what operators have said, so that what a program adds meets only what is let pass; and before the bridge, so that a
        // message is what its client wrote.
        steps.extend(self.own.into_iter().map(|own| Arc::new(Contained::new(own)) as Arc<dyn Interceptor>));
        if let Some(bridges) = self.bridges {
            // Inside the rules, which so see what the client is told, as the tape does.
            steps.push(Arc::new(Readable::new(Arc::clone(&bridges.figures))));
        }
        // Innermost: what was made of it on its way, and what it was made of.
        steps.extend(behind.map(|recorder| Arc::new(recorder) as Arc<dyn Interceptor>));
        Chain::new(steps)
    }

    /// Who records messages in front of all that decides over them, and who does behind it.
    fn recorders(&self, is_judged: bool, may_hold: bool) -> (Option<Recorder>, Option<Recorder>) {
        let Some(audience) = self.audience else { return (None, None) };
        let (edge, wire) = (audience.recorder("edge"), audience.recorder("wire").to_client_at("edge"));
        if is_judged {
            return (Some(edge.to_client_at("wire")), Some(wire));
        }
        if !may_hold {
            return (Some(edge), None);
        }
        // An admin API alone is no reason to have each message on the tape twice.
        let lot = self.lot.clone();
        (Some(edge.to_client_at("wire").in_front(move || lot.is_watched())), Some(wire.behind()))
    }
}

/// Whether the mirrored arguments of a message have to be checked for the server. A player can only be asked for what a
/// mirrored argument is if the list of tools is on its tapes.
fn sees_no_headers(target: &UpstreamTarget) -> bool {
    match target {
        UpstreamTarget::Stdio(_) => true,
        UpstreamTarget::Http(_) | UpstreamTarget::Sse(_) => false,
        UpstreamTarget::Tape(playing) => {
            let eras = [Era::Legacy, Era::Modern].into_iter().filter(|era| playing.player.speaks(*era));
            eras.into_iter().all(|era| playing.player.knows(era, method::TOOLS_LIST))
        }
    }
}
