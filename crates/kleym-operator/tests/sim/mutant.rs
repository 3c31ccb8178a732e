//! Operators that break the protocol, for the proof that the simulation would notice: the real reconciler with another
//! protocol, lied to about what became of a call or about what is there, or with its requests changed on the way.

use std::collections::BTreeSet;

use kleym_core::fact::Availability;
use kleym_core::index::{Decision, Verdict};
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, ObjectName};
use kleym_core::output::{FINALIZER, LiveOutput, WantedOutput};
use kleym_core::plan::{
    Failure, Gate, LiveBinding, Remnant, Reply, Situation, Standing, Step, Turn, Wait, next,
};
use kleym_core::refusal::Refusal;
use kleym_core::render::Identity;
use kleym_operator::perform::{Action, Answer, Call};
use kleym_operator::reconciler::Protocol;
use serde_json::json;

use crate::feed::Report;
use crate::server::{Place, Server};
use crate::wire::{Request, Verb};

macro_rules! mutants {
    ($($name:ident,)*) => {
        /// A way to break the protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Mutant { $($name,)* }

        /// All of them.
        pub(crate) const ALL: &[Mutant] = &[$(Mutant::$name,)*];
    };
}

mutants! {
    // What is decided.
    CreatesWithoutFinalizer,
    NeverPutsTheFinalizerBack,
    ReleasesWithoutLook,
    ReleasesBeforeTheOutput,
    ReleasesWhatIsRefused,
    BelievesADelete,
    WritesBesideOthers,
    NeverMakesWay,
    WaitsWithWithdrawals,
    KeepsWhatIsRefused,
    WithdrawsWhatIsUndecided,
    NeverSweeps,
    AdoptsOrphans,
    DeletesForeignObjects,
    AdoptsForeignObjects,
    NeverNeutralises,
    NeutralisesButDoesNotDelete,
    ChangesTheClassInPlace,
    ChangesTheClassUnasked,
    IgnoresDrift,
    HasEndlessPatience,
    HasNoPatience,
    RepeatsWhatWasRejected,
    NeverCoolsDown,
    LeavesTheStatusOfWhatIsKept,
    TakesTroubleForAbsence,
    // What is seen.
    ForgetsWhatIsGone,
    KeepsGhosts,
    MissesRedefinitions,
    // What is sent.
    DeletesWhateverIsThere,
    OverwritesWhateverIsThere,
    PatchesInsteadOfReplacing,
    DropsForeignMetadata,
    ForgetsTheNamespace,
    ForgetsTheProof,
    // What is made of answers.
    TakesNotFoundForAbsence,
    TakesATimeOutForDone,
    TakesAConflictForDone,
    TakesARejectionForAbsence,
    NeverReports,
}

impl Mutant {
    /// The protocol that it follows.
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Mutant::CreatesWithoutFinalizer => |s, t| with_finalizer(s, t, true),
            Mutant::NeverPutsTheFinalizerBack => |s, t| with_finalizer(s, t, s.output.is_some()),
            Mutant::ReleasesWithoutLook => |s, t| match (next(s, t), s.binding, s.output) {
                (Step::LookAtOutput { .. }, Some(binding), None) if is_leaving(s) => release(binding),
                (step, _, _) => step,
            },
            Mutant::ReleasesBeforeTheOutput => |s, t| match (next(s, t), s.binding) {
                (Step::DeleteOutput { .. }, Some(binding)) if is_leaving(s) => release(binding),
                (step, _) => step,
            },
            Mutant::ReleasesWhatIsRefused => |s, t| match (next(s, t), s.binding) {
                (Step::Settle(Standing::Refused { .. }), Some(binding)) if binding.holds_finalizer() => {
                    release(binding)
                }
                (step, _) => step,
            },
            Mutant::BelievesADelete => |s, t| match (next(s, t), s.binding, s.output) {
                (Step::LookAtOutput { .. }, Some(binding), Some(_)) if is_leaving(s) => release(binding),
                (step, _, _) => step,
            },
            Mutant::WritesBesideOthers => |s, t| {
                let in_the_way = s.gate.in_the_way();
                next(&Situation { gate: &Half { blockers: BTreeSet::new(), in_the_way }, ..*s }, t)
            },
            Mutant::NeverMakesWay => |s, t| {
                let blockers = match &s.decision.verdict {
                    Verdict::Wanted(identity) => s.gate.blockers(identity),
                    _ => BTreeSet::new(),
                };
                next(&Situation { gate: &Half { blockers, in_the_way: false }, ..*s }, t)
            },
            Mutant::WaitsWithWithdrawals => |s, t| match (next(s, t), s.output) {
                (Step::DeleteOutput { .. }, Some(live)) if is_refused(s) && t.failure().is_none() => {
                    Step::ReplaceOutput(Box::new(as_it_is(live)))
                }
                (step, _) => step,
            },
            Mutant::KeepsWhatIsRefused => |s, t| match (next(s, t), &s.decision.verdict) {
                (Step::DeleteOutput { .. }, Verdict::Refused(refusal)) => {
                    Step::Settle(Standing::Refused { refusal: refusal.clone(), remnant: Remnant::Nothing })
                }
                (step, _) => step,
            },
            Mutant::WithdrawsWhatIsUndecided => |s, t| match &s.decision.verdict {
                Verdict::Waiting(_) => {
                    let verdict = Verdict::Refused(Refusal::MissingDiscriminator);
                    next(&Situation { decision: &decided(s, verdict), ..*s }, t)
                }
                _ => next(s, t),
            },
            Mutant::NeverSweeps => |s, t| match s.binding {
                None => Step::Settle(Standing::Leaving),
                Some(_) => next(s, t),
            },
            Mutant::AdoptsOrphans => |s, t| match (next(s, t), &s.decision.verdict, s.binding) {
                (Step::LookAtBinding { .. }, Verdict::Wanted(identity), Some(binding)) => {
                    Step::ReplaceOutput(Box::new(wanted(s, binding, identity)))
                }
                (step, _, _) => step,
            },
            Mutant::DeletesForeignObjects => |s, t| match (next(s, t), s.output) {
                (
                    Step::Settle(Standing::Refused { refusal: Refusal::OutputForeign { .. }, .. }),
                    Some(live),
                ) => Step::DeleteOutput { name: live.name.clone(), uid: live.uid.clone() },
                (step, _) => step,
            },
            Mutant::AdoptsForeignObjects => |s, t| match (next(s, t), &s.decision.verdict, s.binding) {
                (
                    Step::Settle(Standing::Refused { refusal: Refusal::OutputForeign { .. }, .. }),
                    Verdict::Wanted(identity),
                    Some(binding),
                ) => Step::ReplaceOutput(Box::new(wanted(s, binding, identity))),
                (step, _, _) => step,
            },
            Mutant::NeverNeutralises => |s, t| match (next(s, t), s.output) {
                (Step::NeutraliseOutput { .. }, Some(live)) if live.deleting => {
                    Step::Settle(Standing::Waiting(Wait::Finalizers(live.finalizers.to_vec())))
                }
                (Step::NeutraliseOutput { name }, Some(live)) => {
                    Step::DeleteOutput { name, uid: live.uid.clone() }
                }
                (step, _) => step,
            },
            Mutant::NeutralisesButDoesNotDelete => |s, t| match (next(s, t), s.output) {
                (Step::DeleteOutput { .. }, Some(live)) if live.selects_nothing() => {
                    Step::Settle(Standing::Waiting(Wait::Finalizers(live.finalizers.to_vec())))
                }
                (step, _) => step,
            },
            Mutant::LeavesTheStatusOfWhatIsKept => |s, t| match next(s, t) {
                Step::Settle(Standing::Released { .. }) => Step::Settle(Standing::Leaving),
                step => step,
            },
            Mutant::ChangesTheClassInPlace => |s, t| match next(s, t) {
                Step::TryOutput(wanted) => Step::ReplaceOutput(wanted),
                step => step,
            },
            Mutant::ChangesTheClassUnasked => |s, t| match (next(s, t), s.output) {
                (Step::TryOutput(_), Some(live)) => {
                    Step::DeleteOutput { name: live.name.clone(), uid: live.uid.clone() }
                }
                (step, _) => step,
            },
            Mutant::IgnoresDrift => |s, t| match (next(s, t), &s.decision.verdict, s.output) {
                (Step::ReplaceOutput(wanted), Verdict::Wanted(identity), Some(live))
                    if live.spec.spiffe_id == wanted.spec.spiffe_id =>
                {
                    let identity = std::sync::Arc::clone(identity);
                    let (output, uid) = (live.name.clone(), live.uid.clone());
                    Step::Settle(Standing::Granted { identity, output, uid })
                }
                (step, _, _) => step,
            },
            Mutant::HasEndlessPatience => |s, t| next(&Situation { out_of_patience: false, ..*s }, t),
            Mutant::HasNoPatience => |s, t| match (next(s, t), s.output) {
                (Step::ReplaceOutput(_), Some(live)) => {
                    Step::DeleteOutput { name: live.name.clone(), uid: live.uid.clone() }
                }
                (step, _) => step,
            },
            Mutant::RepeatsWhatWasRejected => |s, t| next(&Situation { rejected: None, ..*s }, t),
            Mutant::NeverCoolsDown => |s, t| next(&Situation { cooling: false, ..*s }, t),
            Mutant::TakesTroubleForAbsence => |s, t| {
                let outputs = match s.outputs.trouble {
                    Some(_) => Availability::ABSENT,
                    None => s.outputs,
                };
                next(&Situation { outputs, ..*s }, t)
            },
            _ => next,
        }
    }

    /// What the operator is made to see.
    pub(crate) fn sees(mutant: Option<Self>, report: Report) -> Option<Report> {
        match (mutant, report) {
            (Some(Mutant::ForgetsWhatIsGone), Report::Gone(Kind::Output, _)) => None,
            (Some(Mutant::KeepsGhosts), Report::Gone(Kind::Binding, _)) => None,
            (Some(Mutant::MissesRedefinitions), Report::Redefined(_)) => None,
            (_, report) => Some(report),
        }
    }

    /// The answer to a call that is not even sent; with the bindings whose output was rejected when it was last written.
    pub(crate) fn answers(
        mutant: Option<Self>,
        call: &Call,
        rejected: &BTreeSet<BindingKey>,
    ) -> Option<Answer> {
        match (mutant, &call.action) {
            (Some(Mutant::TakesARejectionForAbsence), Action::Step(Step::LookAtOutput { .. }))
                if call.output.is_none() && rejected.contains(&call.key) =>
            {
                Some(Answer { reply: Reply::ProvedAbsent, objects: Vec::new() })
            }
            (Some(Mutant::NeverReports), Action::WriteStatus(_)) => {
                Some(Answer { reply: Reply::Done, objects: Vec::new() })
            }
            _ => None,
        }
    }

    /// The request as it arrives.
    pub(crate) fn sends(mutant: Option<Self>, request: &Request, server: &Server) -> Request {
        let mut sent = request.clone();
        let live = || server.get(&Place::new(request.kind, &request.namespace, &request.name));
        let is_output = request.kind == Kind::Output;
        match (mutant, request.verb) {
            (Some(Mutant::DeletesWhateverIsThere), Verb::Delete) => {
                sent.body["preconditions"] = json!({});
            }
            (Some(Mutant::OverwritesWhateverIsThere), Verb::Replace) if is_output => {
                if let Some(live) = live() {
                    sent.body["metadata"]["resourceVersion"] = json!(live.version.to_string());
                    sent.body["metadata"]["uid"] = json!(live.uid);
                }
            }
            (Some(Mutant::PatchesInsteadOfReplacing), Verb::Replace) if is_output => {
                if let Some(live) = live() {
                    let mut spec = live.value["spec"].clone();
                    for (field, value) in request.body["spec"].as_object().unwrap() {
                        spec[field] = value.clone();
                    }
                    sent.body["spec"] = spec;
                }
            }
            (Some(Mutant::DropsForeignMetadata), Verb::Replace) if is_output => {
                let ours =
                    |key: &str| key.starts_with("kleym.sonda.red/") || key.starts_with("spire.spiffe.io/");
                if let Some(labels) = sent.body["metadata"]["labels"].as_object_mut() {
                    labels.retain(|key, _| ours(key));
                }
            }
            (Some(Mutant::ForgetsTheNamespace), Verb::Create) => {
                sent.body["spec"].as_object_mut().unwrap().remove("namespaceSelector");
            }
            (Some(Mutant::ForgetsTheProof), Verb::Create) => {
                sent.body["metadata"].as_object_mut().unwrap().remove("annotations");
            }
            _ => {}
        }
        sent
    }

    /// What the operator makes of an answer.
    pub(crate) fn hears(mutant: Option<Self>, call: &Call, answer: Answer) -> Answer {
        let done = |answer: Answer| Answer { reply: Reply::Done, ..answer };
        let is_look =
            matches!(call.action, Action::Step(Step::LookAtOutput { .. } | Step::LookAtBinding { .. }));
        let is_delete = matches!(call.action, Action::Step(Step::DeleteOutput { .. }));
        match (mutant, &answer.reply) {
            (Some(Mutant::TakesNotFoundForAbsence), Reply::Failed(Failure::Absent))
                if is_look || is_delete =>
            {
                Answer { reply: if is_look { Reply::ProvedAbsent } else { Reply::Done }, objects: Vec::new() }
            }
            (Some(Mutant::TakesATimeOutForDone), Reply::Failed(Failure::Transient)) if is_look => {
                Answer { reply: Reply::ProvedAbsent, objects: Vec::new() }
            }
            (Some(Mutant::TakesATimeOutForDone), Reply::Failed(Failure::Transient)) => done(answer),
            (Some(Mutant::TakesAConflictForDone), Reply::Failed(Failure::Stale)) => done(answer),
            _ => answer,
        }
    }
}

/// Somebody else's view of the others.
struct Half {
    blockers: BTreeSet<ObjectName>,
    in_the_way: bool,
}

impl Gate for Half {
    fn blockers(&self, _: &Identity) -> BTreeSet<ObjectName> {
        self.blockers.clone()
    }

    fn in_the_way(&self) -> bool {
        self.in_the_way
    }
}

/// The next step of a binding that seems to hold our finalizer.
fn with_finalizer(situation: &Situation<'_>, turn: &Turn, pretend: bool) -> Step {
    let Some(binding) = situation.binding.filter(|binding| pretend && !binding.holds_finalizer()) else {
        return next(situation, turn);
    };
    let holding = LiveBinding { finalizers: [FINALIZER].into_iter().collect(), ..binding.clone() };
    next(&Situation { binding: Some(&holding), ..*situation }, turn)
}

fn is_leaving(situation: &Situation<'_>) -> bool {
    situation.decision.verdict == Verdict::Deleting
        && situation.binding.is_some_and(LiveBinding::holds_finalizer)
}

fn is_refused(situation: &Situation<'_>) -> bool {
    matches!(situation.decision.verdict, Verdict::Refused(_))
}

fn release(binding: &LiveBinding) -> Step {
    Step::RemoveFinalizer { uid: binding.uid.clone() }
}

fn wanted(situation: &Situation<'_>, binding: &LiveBinding, identity: &Identity) -> WantedOutput {
    WantedOutput::of(situation.settings, situation.key, Some(&binding.uid), identity)
}

fn as_it_is(live: &LiveOutput) -> WantedOutput {
    WantedOutput { spec: live.spec.clone(), ..live.neutralised() }
}

fn decided(situation: &Situation<'_>, verdict: Verdict) -> Decision {
    Decision { verdict, held: situation.decision.held.clone() }
}
