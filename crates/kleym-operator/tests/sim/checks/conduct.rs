//! What must hold of the calls of one operator taken together: every delete has a reason, nothing that was rejected is
//! repeated unless something changed, a drift is repaired by one replace, and what was withdrawn is not granted again at
//! once.

use std::collections::BTreeMap;
use std::time::Duration;

use kleym_core::index::Verdict;
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, Uid};
use kleym_core::output::{LiveOutput, Ownership, WantedOutput};
use kleym_core::plan::{Failure, Reply, Step};
use kleym_core::queue::FIRST_DELAY;
use kleym_operator::perform::{Action, Answer, Call};
use serde_json::Value;

use super::rules::{Claim, overlap_in_passing};
use super::{Verified, must};
use crate::deed::Config;
use crate::feed::Report;
use crate::seen::Seen;
use crate::wire::{Request, Verb};

/// How long after a change of a definition a rejection says nothing of the new one.
const REDEFINED_FOR: Duration = Duration::from_secs(10);

type Incarnation = (BindingKey, Option<Uid>);

/// What an operator has done so far.
#[derive(Debug, Default)]
pub(crate) struct Conduct {
    /// Writes that were rejected since something was heard last.
    rejected: Vec<(BindingKey, Verb, Value)>,
    redefined: Option<Duration>,
    /// Outputs that were replaced, as far as anything else was heard since.
    replaced: Vec<(BindingKey, WantedOutput)>,
    /// Bindings whose output could be created in another class, as was asked.
    tried: Vec<BindingKey>,
    /// When the outputs of refused bindings were last withdrawn.
    withdrawn: BTreeMap<Incarnation, Duration>,
}

impl Conduct {
    /// Notes what a watch told.
    pub(crate) fn hears_of(&mut self, report: &Report, now: Duration) {
        self.rejected.clear();
        self.replaced.clear();
        if matches!(report, Report::Redefined(Kind::Output) | Report::Absent(Kind::Output)) {
            self.redefined = Some(now);
        }
    }

    /// Notes an answer.
    pub(crate) fn hears(&mut self, seen: &Seen, call: &Call, answer: &Answer, now: Duration) {
        let key = &call.key;
        self.replaced.retain(|(other, _)| other != key);
        if let (Action::Step(Step::ReplaceOutput(wanted)), Reply::Done) = (&call.action, &answer.reply)
            && is_news(seen, answer)
        {
            self.replaced.push((key.clone(), WantedOutput::clone(wanted)));
        }
        match (&call.action, &answer.reply) {
            (Action::Step(Step::TryOutput(_)), Reply::Done | Reply::Failed(Failure::Stale)) => {
                self.tried.push(key.clone());
            }
            (Action::Step(Step::DeleteOutput { .. }), Reply::Done)
                if matches!(seen.verdict(key), Verdict::Refused(_)) =>
            {
                self.withdrawn.insert(incarnation(call), now);
            }
            (Action::Step(step), Reply::Failed(failure)) if !failure.passes() => {
                let young = self.redefined.is_some_and(|at| now.saturating_sub(at) < REDEFINED_FOR);
                if matches!(step, Step::CreateOutput(_) | Step::ReplaceOutput(_) | Step::TryOutput(_))
                    && !young
                {
                    let request = Request::of(call);
                    self.rejected.push((key.clone(), request.verb, request.body));
                }
            }
            _ => {}
        }
    }

    /// Checks a call before it is sent.
    pub(crate) fn sends(
        &mut self,
        seen: &Seen,
        config: &Config,
        call: &Call,
        request: &Request,
        now: Duration,
    ) -> Verified {
        let key = &call.key;
        let repeated = |(other, verb, body): &(BindingKey, Verb, Value)| {
            other == key && *verb == request.verb && *body == request.body
        };
        must(!self.rejected.iter().any(repeated), "L3", || {
            format!("what was rejected is asked again: {}", request.describe())
        })?;
        match &call.action {
            Action::Step(Step::CreateOutput(_)) => {
                self.tried.retain(|tried| tried != key);
                let since = self.withdrawn.remove(&incarnation(call)).map(|at| now.saturating_sub(at));
                must(since.is_none_or(|since| since >= FIRST_DELAY), "order", || {
                    format!("{key} is granted again {since:?} after it was withdrawn")
                })
            }
            Action::Step(Step::ReplaceOutput(wanted)) => {
                let again =
                    |(other, replaced): &(BindingKey, WantedOutput)| other == key && *replaced == **wanted;
                must(!self.replaced.iter().any(again), "L3", || {
                    format!("what was replaced a moment ago is replaced again: {}", request.describe())
                })
            }
            Action::Step(Step::DeleteOutput { .. }) => self.deletes(seen, config, call),
            _ => Ok(()),
        }
    }

    /// A live output of a living binding is deleted for a reason.
    fn deletes(&mut self, seen: &Seen, config: &Config, call: &Call) -> Verified {
        let key = &call.key;
        let tried = self.tried.contains(key);
        let (Some(binding), Some(live)) = (&call.binding, call.output.as_deref()) else { return Ok(()) };
        if live.ownership_at_own_name(key, &binding.uid) != Ownership::Ours {
            return Ok(());
        }
        let identity = match seen.verdict(key) {
            Verdict::Gone | Verdict::Deleting | Verdict::Refused(_) => return Ok(()),
            Verdict::Waiting(_) => {
                return must(false, "order", || format!("{key} is undecided and loses its output"));
            }
            Verdict::Wanted(identity) => identity,
        };
        let wanted = WantedOutput::of(&config.settings(), key, Some(&binding.uid), &identity);
        let class = live.spec.class_name != wanted.spec.class_name && tried;
        let reason = class || live.grants_more_than(&wanted) || in_the_way(seen, key, live);
        must(reason, "order", || {
            format!(
                "{key} is to have {} and loses it, without a reason: {:?}",
                identity.spiffe_id,
                live.drift(&wanted)
            )
        })
    }
}

/// Whether nothing newer than what an answer shows was told before it came.
fn is_news(seen: &Seen, answer: &Answer) -> bool {
    answer.objects.iter().all(|(_, object)| {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let version: u64 = text("resourceVersion").parse().unwrap();
        !seen.has_seen(text("uid"), version + 1)
    })
}

fn incarnation(call: &Call) -> Incarnation {
    (call.key.clone(), call.binding.as_ref().map(|binding| binding.uid.clone()))
}

/// Whether an output may stand against what a peer that comes first is to have.
fn in_the_way(seen: &Seen, key: &BindingKey, live: &LiveOutput) -> bool {
    let texts: Vec<String> = live.spec.selectors.iter().map(|item| item.to_string()).collect();
    let own = Claim { id: &live.spec.spiffe_id, items: &texts, of: None };
    seen.older(key).any(|(peer, identity)| {
        let texts: Vec<String> = identity.selectors.texts().map(str::to_owned).collect();
        let theirs = Claim { id: identity.spiffe_id.as_str(), items: &texts, of: Some(&identity) };
        peer != *key && overlap_in_passing(own, theirs)
    })
}
