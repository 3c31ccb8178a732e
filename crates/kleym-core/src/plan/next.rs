//! The decision itself: one situation, one step.

use std::sync::Arc;

use super::{FailedAt, Failure, Granting, LiveBinding, Remnant, Situation, Standing, Step, Turn, Wait};
use crate::fact::{Availability, Known, Trouble};
use crate::index::Verdict;
use crate::kind::Kind;
use crate::name::{ObjectName, output_name};
use crate::output::{FINALIZER, LiveOutput, Ownership, WantedOutput};
use crate::refusal::{Refusal, WriteFailure};
use crate::render::Identity;
use crate::resolve::Troubles;

/// The next step of a turn.
pub fn next(situation: &Situation<'_>, turn: &Turn) -> Step {
    let name = output_name(situation.settings.instance.as_str(), situation.key);
    let plan = Plan { situation, turn, name };
    match &situation.decision.verdict {
        Verdict::Gone => plan.sweep(),
        Verdict::Deleting => plan.leave(),
        Verdict::Waiting(kinds) => plan.keep(Standing::Undecided(kinds.clone())),
        Verdict::Refused(refusal) => plan.withdraw(refusal),
        Verdict::Wanted(identity) => plan.grant(identity),
    }
}

/// What stands at the output's name.
enum Found<'a> {
    Nothing,
    Foreign,
    /// Ours, or an orphan: the latter has another uid than the live binding's.
    Ours(&'a LiveOutput, Ownership),
}

struct Plan<'a> {
    situation: &'a Situation<'a>,
    turn: &'a Turn,
    name: ObjectName,
}

impl<'a> Plan<'a> {
    fn found(&self) -> Found<'a> {
        let Some(live) = self.situation.output else { return Found::Nothing };
        let Some(binding) = self.situation.binding else { return Found::Foreign };
        match live.ownership_at_own_name(self.situation.key, &binding.uid) {
            Ownership::Foreign => Found::Foreign,
            whose => Found::Ours(live, whose),
        }
    }

    fn holds_finalizer(&self) -> bool {
        self.situation.binding.is_some_and(LiveBinding::holds_finalizer)
    }

    fn look(&self) -> Step {
        Step::LookAtOutput { name: self.name.clone() }
    }

    /// Whether a look could be answered: not while outputs have no definition, and then there is none to be found.
    fn can_look(&self) -> bool {
        self.situation.outputs.known != Known::Absent
    }

    /// The step that takes a live output away: where a foreign finalizer would keep it, make it select nothing; delete;
    /// look whether it is gone. `None` when all of it is done and the output is still going.
    ///
    /// Nothing holds a deletion up, not even that the output could not be made to select nothing. A delete that was
    /// acknowledged did not happen when a look then shows the output as it was: it is asked again, until the turn is over.
    fn remove(&self, live: &LiveOutput) -> Option<Step> {
        let name = self.name.clone();
        if !live.finalizers.is_empty() && !live.selects_nothing() && self.turn.still_selects.is_none() {
            return Some(Step::NeutraliseOutput { name });
        }
        let acknowledged = self.turn.deleted.as_ref() == Some(&live.uid) && !self.turn.looked;
        match (live.deleting || acknowledged, self.turn.looked) {
            (false, _) => Some(Step::DeleteOutput { name, uid: live.uid.clone() }),
            // What a foreign finalizer keeps is told gone by the watch, unless a list already lacked it.
            (true, false) if live.finalizers.is_empty() || !live.deleting || self.turn.in_doubt => {
                Some(self.look())
            }
            (true, _) => None,
        }
    }

    /// The same for an output at a living binding's name. An orphan's binding is looked at first: what was seen of it
    /// may be older than the output.
    fn remove_at_own_name(&self, live: &LiveOutput, whose: Ownership) -> Option<Step> {
        let step = self.remove(live)?;
        match whose {
            Ownership::Orphan => match self.is_orphan(live) {
                None => Some(Step::LookAtBinding { suspect: live.uid.clone() }),
                Some(true) => Some(step),
                Some(false) => None,
            },
            Ownership::Ours | Ownership::Foreign => Some(step),
        }
    }

    /// Whether a live look, made since this output was seen, showed that the binding it was written for lives no longer;
    /// `None` without such a look.
    fn is_orphan(&self, live: &LiveOutput) -> Option<bool> {
        let (suspect, living) = self.turn.looked_at_binding.as_ref()?;
        (*suspect == live.uid)
            .then(|| living.as_ref().is_none_or(|living| live.binding_uid() != Some(living.as_str())))
    }

    /// Whether an output at a living binding's name may be deleted as far as its owner goes: an orphan only after a live look.
    fn may_go(&self, live: &LiveOutput, whose: Ownership) -> bool {
        whose == Ownership::Ours || self.is_orphan(live) == Some(true)
    }

    /// The deletion of an output that was not as it was seen when it was to be made to select nothing, and that cannot be
    /// looked at, or changes all the time: that holds no deletion up either, since a delete is bound to its uid alone.
    fn delete_unseen(&self, live: &LiveOutput) -> Option<Step> {
        let unseen = self.turn.surprised && self.turn.failed_at == Some(FailedAt::Looking);
        // What is over in a moment is waited for: it may be another object, or as it should be, by now.
        let lasts = self.turn.failure.is_some_and(|failure| self.lasts(failure));
        let tried = self.turn.undeleted || self.turn.deleted.is_some();
        ((unseen || self.outrun()) && lasts && !tried && !live.deleting)
            .then(|| Step::DeleteOutput { name: self.name.clone(), uid: live.uid.clone() })
    }

    /// The same for an output at a living binding's name.
    fn delete_unseen_at_own_name(&self) -> Option<Step> {
        let Found::Ours(live, whose) = self.found() else { return None };
        self.delete_unseen(live).filter(|_| self.may_go(live, whose))
    }

    /// Whether the turn ended because somebody else changed the output before each of its writes.
    fn outrun(&self) -> bool {
        self.turn.failure == Some(Failure::Stale) && self.turn.failed_at.is_none()
    }

    /// An output of ours is never without our finalizer, not even one that is on its way out and kept by a foreign one.
    /// Where somebody takes it off again and again it is put back after a pause, and nothing else waits for that: what is
    /// left behind when the binding goes meanwhile is an orphan, and swept as such.
    fn hold(&self, live: &LiveOutput, whose: Ownership) -> Option<Step> {
        let ours = whose == Ownership::Ours && self.turn.deleted.as_ref() != Some(&live.uid);
        (ours && !self.holds_finalizer() && !self.situation.stripped).then_some(Step::AddFinalizer)
    }

    /// No such binding: what carries complete proof of having been this binding's is an orphan.
    fn sweep(&self) -> Step {
        let at_rest = Step::Settle(Standing::Leaving);
        let ours = self.situation.output.is_some_and(|live| {
            live.proven_binding(self.situation.settings).is_some_and(|(key, _)| key == *self.situation.key)
        });
        if self.turn.failure.is_some() {
            let orphan = self.situation.output.filter(|live| ours && self.is_orphan(live) == Some(true));
            return orphan.and_then(|live| self.delete_unseen(live)).unwrap_or(at_rest);
        }
        // What is nobody's stays, but what it may be instead is looked at.
        let doubt = self.turn.surprised || (self.turn.in_doubt && !ours);
        if doubt && self.can_look() {
            return self.look();
        }
        let Some(live) = self.situation.output else { return at_rest };
        let Some(step) = self.remove(live).filter(|_| ours) else { return at_rest };
        // Before bindings are known nothing is swept. What is known of them, even that their kind is absent, can be older than
        // the output: a live look tells.
        match self.is_orphan(live) {
            _ if self.situation.bindings.known == Known::Nothing => at_rest,
            Some(true) => step,
            None => Step::LookAtBinding { suspect: live.uid.clone() },
            Some(false) => at_rest,
        }
    }

    /// Deleting: output first; the finalizer leaves only on proof.
    fn leave(&self) -> Step {
        let at_rest = Step::Settle(Standing::Leaving);
        let Some(binding) = self.situation.binding else { return at_rest };
        if self.turn.failure.is_some() {
            return self.delete_unseen_at_own_name().unwrap_or_else(|| self.left());
        }
        if self.turn.released.as_ref() == Some(&binding.uid) {
            return Self::released(binding);
        }
        let holds = binding.holds_finalizer();
        let release = Step::RemoveFinalizer { uid: binding.uid.clone() };
        match self.situation.outputs {
            // Without a definition there is no output; but it may be back already, and an output with it.
            Availability { known: Known::Absent, trouble: None }
                if holds && (self.turn.in_doubt || !self.turn.looked) =>
            {
                return self.look();
            }
            Availability { known: Known::Absent, trouble: None } if holds => return release,
            Availability { known: Known::Absent, trouble: None } => return Self::released(binding),
            Availability { known: Known::Listed, .. } => {}
            Availability { trouble, .. } if holds => return Step::Settle(Self::unlisted(trouble)),
            _ => return at_rest,
        }
        if self.turn.surprised {
            return self.look();
        }
        match self.found() {
            Found::Ours(live, whose) => self.remove_at_own_name(live, whose).unwrap_or_else(|| self.left()),
            // Our finalizer is off already: there is nothing to prove any more, and what is seen may be told.
            Found::Nothing | Found::Foreign if !holds && !self.turn.in_doubt => {
                if self.situation.outputs.trouble.is_none() { Self::released(binding) } else { at_rest }
            }
            Found::Nothing | Found::Foreign if self.turn.looked => release,
            Found::Nothing | Found::Foreign => self.look(),
        }
    }

    /// Nothing can be told of any output before the first list of them.
    fn unlisted(trouble: Option<Trouble>) -> Standing {
        Standing::Undecided(Troubles::from([(Kind::Output, trouble.unwrap_or(Trouble::Starting))]))
    }

    /// A deleting binding whose output could not be taken away in this turn, or not yet.
    fn left(&self) -> Step {
        Step::Settle(match self.remnant() {
            Remnant::Nothing | Remnant::AsBefore { .. } => {
                self.unreleased().map_or(Standing::Leaving, Standing::Waiting)
            }
            Remnant::Kept(finalizers) => Standing::Waiting(Wait::Finalizers(finalizers)),
            Remnant::Granting(granting) => Standing::Waiting(Wait::Withdrawal(granting)),
            Remnant::Unproved { output, failure } => Standing::Waiting(Wait::Proof { output, failure }),
        })
    }

    /// What keeps a deleting binding although nothing of its output is known to stand. That somebody else was faster says
    /// nothing; all else is told as [`Plan::remnant`] tells it.
    fn unreleased(&self) -> Option<Wait> {
        let failure =
            self.turn.failure.filter(|failure| *failure != Failure::Stale && self.lasts(*failure))?;
        let failure = failure.as_write_failure();
        match self.turn.failed_at? {
            FailedAt::Releasing => Some(Wait::Release(failure)),
            FailedAt::Looking => Some(Wait::Proof { output: self.name.clone(), failure }),
            FailedAt::Holding => None,
        }
    }

    /// A deleting binding that is not ours to keep any more. The API server removes it, unless somebody else keeps it.
    fn released(binding: &LiveBinding) -> Step {
        let others = binding.finalizers.iter().filter(|finalizer| *finalizer != FINALIZER);
        let kept_by: Vec<Box<str>> = others.map(Into::into).collect();
        Step::Settle(if kept_by.is_empty() { Standing::Leaving } else { Standing::Released { kept_by } })
    }

    /// Undecided: what is there stays, and an output of ours keeps its finalizer. An orphan goes, whatever is undecided.
    fn keep(&self, standing: Standing) -> Step {
        let settled = Step::Settle(standing);
        if self.turn.failure.is_some() {
            return settled;
        }
        let listed = self.situation.outputs.known == Known::Listed;
        if listed && (self.turn.surprised || self.turn.in_doubt) {
            return self.look();
        }
        match self.found() {
            Found::Ours(live, Ownership::Orphan) => {
                self.remove_at_own_name(live, Ownership::Orphan).unwrap_or(settled)
            }
            Found::Ours(live, whose) => self.hold(live, whose).unwrap_or(settled),
            Found::Nothing | Found::Foreign => settled,
        }
    }

    /// Refused: the output goes, and nothing waits for anything.
    fn withdraw(&self, refusal: &Refusal) -> Step {
        let settled =
            || Step::Settle(Standing::Refused { refusal: refusal.clone(), remnant: self.remnant() });
        if self.turn.failure.is_some() {
            return self.delete_unseen_at_own_name().unwrap_or_else(settled);
        }
        if self.turn.surprised && self.can_look() {
            return self.look();
        }
        match self.found() {
            Found::Ours(live, whose) => self
                .remove_at_own_name(live, whose)
                .or_else(|| self.hold(live, whose))
                .unwrap_or_else(settled),
            Found::Nothing | Found::Foreign if self.turn.in_doubt && self.can_look() => self.look(),
            Found::Nothing | Found::Foreign => settled(),
        }
    }

    /// What is left of an output that is to be gone. That it cannot be taken away is told when that does not pass by
    /// itself, or has lasted, so that a status does not change to and fro with every hiccup.
    fn remnant(&self) -> Remnant {
        let Found::Ours(live, _) = self.found() else { return self.unseen() };
        let kept_by = if live.deleting { live.finalizers.to_vec() } else { Vec::new() };
        if live.selects_nothing() {
            return if kept_by.is_empty() { Remnant::Nothing } else { Remnant::Kept(kept_by) };
        }
        let (ended, neutralising) = (self.turn.failure, self.turn.still_selects);
        // What was deleted, or that a delete did not meet, may be gone: that is what the look was to tell.
        let to_be_seen = if neutralising.is_some() {
            self.turn.undeleted
        } else {
            self.turn.undeleted || live.deleting || self.turn.deleted.as_ref() == Some(&live.uid)
        };
        if to_be_seen && self.turn.failed_at == Some(FailedAt::Looking) {
            let told = ended.filter(|failure| *failure != Failure::Stale && self.lasts(*failure));
            return told.map_or(Remnant::Nothing, |failure| Remnant::Unproved {
                output: self.name.clone(),
                failure: failure.as_write_failure(),
            });
        }
        let failure = if live.deleting { neutralising.or(ended) } else { ended.or(neutralising) };
        // Of what was deleted nobody knows that it stands.
        let deleted = !live.deleting && self.turn.deleted.as_ref() == Some(&live.uid);
        match failure.filter(|failure| self.lasts(*failure)) {
            Some(failure) if !deleted => Remnant::Granting(Granting {
                output: self.name.clone(),
                spiffe_id: live.spec.spiffe_id.clone(),
                failure: failure.as_write_failure(),
                kept_by,
            }),
            _ => Remnant::Nothing,
        }
    }

    /// What may be left of an output that nothing was heard of, because outputs were never listed. A binding without our
    /// finalizer never had one. It costs no call: when they are listed every binding has a turn.
    fn unseen(&self) -> Remnant {
        let failure = match self.situation.outputs {
            _ if self.turn.looked || !self.holds_finalizer() => return Remnant::Nothing,
            Availability { known: Known::Nothing, trouble: Some(Trouble::NotServed) } => {
                WriteFailure::NotServed
            }
            Availability { known: Known::Nothing, trouble: Some(Trouble::Forbidden) } => {
                WriteFailure::Forbidden
            }
            Availability { known: Known::Nothing, trouble: Some(Trouble::Failing) } => {
                WriteFailure::Unavailable
            }
            // In a moment it is known, or what is wrong.
            _ => return Remnant::Nothing,
        };
        Remnant::Unproved { output: self.name.clone(), failure }
    }

    /// Whether a failure does not pass by itself as a rule, or has lasted.
    fn lasts(&self, failure: Failure) -> bool {
        !failure.is_momentary() || self.situation.out_of_patience
    }

    /// What stands against writing: a failure of this turn, or a rejection of an earlier one.
    fn write_failure(&self) -> Option<Failure> {
        self.turn.failure.or(self.situation.rejected)
    }

    fn grant(&self, identity: &Arc<Identity>) -> Step {
        let Some(binding) = self.situation.binding else { return Step::Settle(Standing::Leaving) };
        match self.situation.outputs {
            Availability { known: Known::Absent, trouble: None } => {
                return refused(Refusal::OutputCrdMissing);
            }
            Availability { known: Known::Nothing | Known::Absent, trouble } => {
                return self.keep(Self::unlisted(trouble));
            }
            Availability { known: Known::Listed, .. } => {}
        }
        if (self.turn.surprised || self.turn.in_doubt) && self.turn.failure.is_none() {
            return self.look();
        }
        let (live, whose) = match self.found() {
            Found::Ours(live, whose) => (live, whose),
            _ if self.write_failure().is_some() => return self.failed(Remnant::Nothing),
            Found::Foreign if self.turn.looked => {
                return refused(Refusal::OutputForeign { name: self.name.clone() });
            }
            Found::Foreign => return self.look(),
            Found::Nothing => return self.create(binding, identity),
        };
        // What must go goes, whatever was said of what is to come.
        let going = whose == Ownership::Orphan || live.deleting;
        if going && self.turn.failure.is_none() {
            return self
                .remove_at_own_name(live, whose)
                .or_else(|| self.hold(live, whose))
                .unwrap_or_else(|| self.waiting());
        }
        let wanted = self.wanted(binding, identity);
        let in_sync = !going && live.drift(&wanted).is_empty();
        if self.turn.failure.is_some() || (self.situation.rejected.is_some() && !in_sync) {
            // It was to go because of what it is, or of what it waits for, and stands, or may: nothing was said of what is to
            // be written.
            let unwritten = !self.turn.refused && self.situation.rejected.is_none();
            let unproved = self.turn.deleted.is_some()
                && (self.outrun() || self.turn.failed_at == Some(FailedAt::Looking));
            let of_another_class = live.spec.class_name != wanted.spec.class_name;
            let to_go = going
                || !in_sync && self.situation.gate.in_the_way()
                || self.situation.undone && live.grants_more_than(&wanted)
                || of_another_class && self.turn.tried && self.wait(identity).is_none();
            if unwritten
                && to_go
                && let Some(step) = self.delete_unseen_at_own_name()
            {
                return step;
            }
            // Nor was anything said of it by whoever changes what is to go before each try to take it away.
            let untaken = to_go && self.outrun();
            if unwritten
                && (self.turn.undeleted || unproved || untaken)
                && (to_go || of_another_class || self.situation.undone || self.wait(identity).is_some())
            {
                return self.waiting();
            }
            // Of what may be an orphan a look at its binding has to tell, however long that fails.
            return match self.may_go(live, whose) && self.must_go_at_once(live, &wanted) {
                true => self.delete_now(live),
                false if whose == Ownership::Ours => self.failed(self.as_before(live, &wanted)),
                false => self.failed(Remnant::Nothing),
            };
        }
        // What was deleted in this turn, and may stand although that was acknowledged, is neither written nor believed in.
        if self.turn.deleted.as_ref() == Some(&live.uid) {
            return self.remove(live).unwrap_or_else(|| self.waiting());
        }
        // What stands against a peer that comes first is deleted, not replaced, so that waits end.
        if !in_sync && self.situation.gate.in_the_way() {
            return self.remove(live).unwrap_or_else(|| self.waiting());
        }
        if let Some(step) = self.hold(live, whose) {
            return step;
        }
        if in_sync {
            let granted = Standing::Granted {
                identity: Arc::clone(identity),
                output: self.name.clone(),
                uid: live.uid.clone(),
            };
            return Step::Settle(granted);
        }
        // Two writers that undo each other at once would go on for ever, so the same is written again ever more rarely. What
        // grants too much is not left standing for that: whoever widens it faster than it can be put right would keep it
        // wide nearly all the time, in pauses and without. It is deleted at once; there is nothing to widen until the pause
        // is over, and then again for no longer than a delete takes. The price, no identity meanwhile, is the lesser evil,
        // and only paid where putting it right at once was undone many times in a row.
        if self.situation.undone {
            return if live.grants_more_than(&wanted) {
                self.remove(live).unwrap_or_else(|| self.waiting())
            } else {
                self.paused()
            };
        }
        if let Some(wait) = self.wait(identity) {
            let too_wide = self.situation.out_of_patience && live.grants_more_than(&wanted);
            return if too_wide { self.delete_now(live) } else { Step::Settle(Standing::Waiting(wait)) };
        }
        // spire-controller-manager keeps an output's old counts when it moves to a class that is not watched. What is
        // deleted must be possible to create again, so that is asked first.
        if live.spec.class_name != wanted.spec.class_name {
            return if self.turn.tried {
                self.remove(live).unwrap_or_else(|| self.waiting())
            } else {
                Step::TryOutput(Box::new(wanted))
            };
        }
        Step::ReplaceOutput(Box::new(wanted))
    }

    fn create(&self, binding: &LiveBinding, identity: &Arc<Identity>) -> Step {
        if self.situation.undone {
            return self.paused();
        }
        if self.situation.cooling {
            return Step::Settle(Standing::Waiting(Wait::Cooling));
        }
        if let Some(wait) = self.wait(identity) {
            return Step::Settle(Standing::Waiting(wait));
        }
        if !self.holds_finalizer() {
            return Step::AddFinalizer;
        }
        Step::CreateOutput(Box::new(self.wanted(binding, identity)))
    }

    /// What this identity has to wait for before it is written: other outputs, or that they are known.
    fn wait(&self, identity: &Arc<Identity>) -> Option<Wait> {
        if self.situation.unlisted {
            return Some(Wait::List);
        }
        let blockers = self.situation.gate.blockers(identity);
        (!blockers.is_empty()).then_some(Wait::Outputs(blockers))
    }

    /// Whether a replace that failed cannot be waited for: the live output grants more than is wanted, and the replace
    /// was rejected or has been failing for too long. That somebody else was faster is no failure, and that a look was
    /// rejected says nothing of the replace.
    fn must_go_at_once(&self, live: &LiveOutput, wanted: &WantedOutput) -> bool {
        let rejected =
            self.turn.refused || (self.turn.failure.is_none() && self.situation.rejected.is_some());
        let hopeless = self.write_failure().is_some_and(|failure| match failure {
            Failure::Stale => false,
            _ => rejected || self.situation.out_of_patience,
        });
        hopeless && live.grants_more_than(wanted)
    }

    /// Revocation does not wait: spire-controller-manager's webhook does not see deletes. Tried once a turn; what fails is
    /// tried again by the next one, after its back-off.
    fn delete_now(&self, live: &LiveOutput) -> Step {
        let tried = self.turn.undeleted || self.turn.deleted.as_ref() == Some(&live.uid);
        if live.deleting || tried {
            return if self.write_failure().is_some() {
                self.failed(Remnant::Nothing)
            } else {
                self.waiting()
            };
        }
        Step::DeleteOutput { name: self.name.clone(), uid: live.uid.clone() }
    }

    /// What could not be written, and what grants as before because of that.
    fn failed(&self, as_before: Remnant) -> Step {
        // That it could not be deleted either is told of what still grants, and is not why it is to go.
        let written = self.turn.unwritten.or(self.situation.rejected).filter(|_| self.turn.undeleted);
        let Some(failure) = written.or_else(|| self.write_failure()) else {
            return Step::Settle(Standing::Leaving);
        };
        let failure = failure.as_write_failure();
        let refusal = match self.turn.failed_at {
            Some(FailedAt::Holding) => Refusal::FinalizerWrite { failure },
            _ => Refusal::OutputWrite { name: self.name.clone(), failure },
        };
        // What could not be replaced and is kept, grants no more than is wanted, or may stand for a moment. What is stored
        // otherwise than it was written is no former identity.
        let remnant = match failure {
            _ if self.turn.undeleted || self.turn.deleted.is_some() => self.remnant(),
            WriteFailure::Altered => Remnant::Nothing,
            _ => as_before,
        };
        Step::Settle(Standing::Refused { refusal, remnant })
    }

    /// An output that stays as it is. Of one that grants too much nothing is said: somebody may have made it so, and in a
    /// moment it is gone.
    fn as_before(&self, live: &LiveOutput, wanted: &WantedOutput) -> Remnant {
        let stands = !live.deleting && !live.selects_nothing();
        let deleted = self.turn.surprised || self.turn.deleted.as_ref() == Some(&live.uid);
        if stands && !deleted && !live.grants_more_than(wanted) {
            Remnant::AsBefore { output: self.name.clone(), spiffe_id: live.spec.spiffe_id.clone() }
        } else {
            Remnant::Nothing
        }
    }

    /// What is written again after a pause.
    fn paused(&self) -> Step {
        Step::Settle(Standing::Waiting(Wait::Undone(self.name.clone())))
    }

    /// What is to be granted again when its former output is gone.
    fn waiting(&self) -> Step {
        Step::Settle(Standing::Waiting(match self.remnant() {
            Remnant::Nothing | Remnant::AsBefore { .. } => Wait::Absence,
            Remnant::Unproved { output, failure } => Wait::Proof { output, failure },
            Remnant::Kept(finalizers) => Wait::Finalizers(finalizers),
            Remnant::Granting(granting) => Wait::Withdrawal(granting),
        }))
    }

    fn wanted(&self, binding: &LiveBinding, identity: &Identity) -> WantedOutput {
        WantedOutput::of(self.situation.settings, self.situation.key, Some(&binding.uid), identity)
    }
}

fn refused(refusal: Refusal) -> Step {
    Step::Settle(Standing::Refused { refusal, remnant: Remnant::Nothing })
}
