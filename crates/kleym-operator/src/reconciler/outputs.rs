//! Live outputs as they come and go: whose they are, what they grant, and who waits for them.

use std::collections::BTreeSet;

use kleym_core::announce::Watched;
use kleym_core::fact::Change;
use kleym_core::index::Dirty;
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, ObjectName, Uid, output_name};
use kleym_core::output::{KeptOutput, LiveOutput, Ownership};
use kleym_core::plan::Failure;

use super::Reconciler;
use super::doubt::Tick;
use crate::feed::Item;

impl Reconciler {
    /// Takes an output that was seen; answers who must have a turn.
    pub(super) fn saw_output(&mut self, mut kept: KeptOutput) -> Dirty {
        if self.book.knows_better(&kept) {
            return Dirty::new();
        }
        let name = kept.name().clone();
        let output = kept.live(self.index.settings());
        let holder = self.holder(&output);
        if let (Some(holder), Some(grant)) = (&holder, kept.grant_mut()) {
            self.index.share(holder, grant);
        }
        let before = self.book.output(&name).and_then(|known| self.holder(&known));
        let living = holder.as_ref().and_then(|key| Some((key, self.book.binding(key)?)));
        let ours = living.is_some_and(|(key, known)| {
            output.ownership_at_own_name(key, &known.live.uid) == Ownership::Ours
        });
        if ours {
            self.vigil.saw(&output, self.moment.seconds(), self.moment.wall.as_second());
        } else if self.started {
            let told = self.vigil.saw_stranger(self.index.settings(), &output);
            self.announcements.extend(told);
        }
        self.metrics.outputs(self.vigil.counts());
        let mut dirty = Dirty::new();
        if !self.book.saw_output(kept) {
            return dirty;
        }
        // Whose it was until now is told too: what lost its proof grants nothing to the one that is gone.
        if let Some(before) = before.filter(|before| Some(before) != holder.as_ref()) {
            self.note_grant(&before, &name, &mut dirty);
            dirty.insert(before);
        }
        if let Some(holder) = holder {
            // It is not gone, if that was told: the absence of its definition can be older than it.
            if let Some(running) = self.running.get_mut(&holder) {
                running.gone.retain(|gone| *gone != output.uid);
            }
            self.note_grant(&holder, &name, &mut dirty);
            dirty.insert(holder);
        }
        self.forget_rejections(&dirty);
        dirty
    }

    /// Forgets an output that is gone; answers who must have a turn.
    pub(super) fn output_gone(&mut self, name: &ObjectName, uid: Option<&Uid>) -> Dirty {
        let mut dirty = Dirty::new();
        let Some(gone) = self.book.output_gone(name, uid) else { return dirty };
        self.vigil.gone(name);
        self.metrics.outputs(self.vigil.counts());
        if let Some(holder) = self.holder(&gone) {
            if let Some(running) = self.running.get_mut(&holder) {
                running.note_gone(gone.uid.clone());
            }
            // What could not be replaced may be possible to create; what was too wide would be again.
            if let Some(memory) = self.memory.get_mut(&holder) {
                memory.rejected.take_if(|failure| *failure != Failure::Widened);
                memory.neutralised();
            }
            self.note_grant(&holder, name, &mut dirty);
            dirty.insert(holder);
        }
        dirty
    }

    /// The same of an output that a look found gone: what the watch has not told of it yet is old.
    pub(super) fn output_departs(&mut self, name: &ObjectName, uid: &Uid) -> Dirty {
        if self.book.output(name).is_some_and(|known| known.uid == *uid) {
            self.book.departs(name, uid);
        }
        self.output_gone(name, Some(uid))
    }

    /// Takes a finished list of outputs; answers who must have a turn.
    pub(super) fn outputs_listed(&mut self, items: Vec<Item>) -> Dirty {
        let before = self.index.availability(Kind::Output);
        let mut dirty = self.apply(Change::Listed(Kind::Output, Vec::new()));
        let mut listed = BTreeSet::new();
        for item in items {
            let Item::Output(output) = item else { continue };
            listed.insert(output.name().clone());
            dirty.extend(self.saw_output(output));
        }
        for name in self.book.outputs_but(&listed) {
            dirty.extend(self.output_not_listed(&name));
        }
        self.book.departures_are_told_but(&listed);
        dirty.extend(self.answers_on_their_way(&listed));
        // Every binding stands on how well outputs are known.
        if before != self.index.availability(Kind::Output) {
            dirty.extend(self.book.keys());
            // A doubt that could not be looked at while outputs had no definition; its binding may be gone by now.
            dirty.extend(self.doubts.keys().cloned());
        }
        dirty
    }

    /// The bindings whose output is not listed while a call that may show it is on its way: what the answer shows can be
    /// gone since, and no watch that begins with this list would tell.
    fn answers_on_their_way(&mut self, listed: &BTreeSet<ObjectName>) -> Dirty {
        let instance = self.index.settings().instance.as_str();
        let missing = |key: &BindingKey| !listed.contains(&output_name(instance, key));
        let asking = self.running.iter().filter(|(_, running)| running.shows).map(|(key, _)| key);
        let doubtful: Dirty = asking.filter(|key| missing(key)).cloned().collect();
        for key in &doubtful {
            self.doubts.arises(key);
        }
        doubtful
    }

    /// An output that a list does not hold is gone, or was created after the list was made: a live look must tell.
    fn output_not_listed(&mut self, name: &ObjectName) -> Dirty {
        match self.book.output(name).and_then(|output| self.holder(&output)) {
            Some(holder) => {
                self.doubts.arises(&holder);
                Dirty::from([holder])
            }
            None => self.output_gone(name, None),
        }
    }

    /// Forgets every output: their definition is proved absent.
    pub(super) fn outputs_absent(&mut self) -> Dirty {
        let mut dirty: Dirty = self.book.keys().collect();
        self.book.departures_are_told_but(&BTreeSet::new());
        let running = &self.running;
        self.doubts.end_all_but(|key| running.contains_key(key));
        for name in self.book.outputs_but(&BTreeSet::new()) {
            dirty.extend(self.output_gone(&name, None));
        }
        dirty
    }

    /// Notes what stands at a binding's output name; wakes whoever waits for it when that changed.
    pub(super) fn refresh_grant(&mut self, key: &BindingKey, dirty: &mut Dirty) {
        let name = output_name(self.index.settings().instance.as_str(), key);
        self.note_grant(key, &name, dirty);
    }

    /// Ends a doubt about a binding's output; wakes whoever waits for that.
    pub(super) fn end_doubt(&mut self, key: &BindingKey, sent: Tick, dirty: &mut Dirty) {
        if self.doubts.ends(key, sent) {
            let name = output_name(self.index.settings().instance.as_str(), key);
            dirty.extend(self.waiters.remove(&name).unwrap_or_default());
        }
    }

    /// The binding that an output was written for: the living one whose name it has, or the one that it carries complete
    /// proof of, in the namespaces that are served.
    fn holder(&self, output: &LiveOutput) -> Option<BindingKey> {
        let proven = || output.proven_binding(self.index.settings()).map(|(key, _)| key);
        let serves =
            |key: &BindingKey| self.namespaces.is_empty() || self.namespaces.contains(&key.namespace);
        self.book.owner_of(&output.name).cloned().or_else(proven).filter(serves)
    }

    /// Whose outputs stand without a living binding: whether they are orphans has to be looked at again whenever it may be known
    /// better which bindings there are.
    pub(super) fn strays(&self) -> Dirty {
        let names = self.book.outputs_but(&BTreeSet::new()).into_iter();
        let stray = names.filter(|name| self.book.owner_of(name).is_none());
        stray.filter_map(|name| self.holder(&*self.book.output(&name)?)).collect()
    }

    fn note_grant(&mut self, key: &BindingKey, name: &ObjectName, dirty: &mut Dirty) {
        let ours = |live: &LiveOutput| match self.book.binding(key) {
            Some(known) => live.ownership_at_own_name(key, &known.live.uid) != Ownership::Foreign,
            None => live.proven_binding(self.index.settings()).is_some_and(|(proven, _)| proven == *key),
        };
        let settings = self.index.settings();
        let kept = self.book.kept_output(name).filter(|kept| ours(&kept.live(settings)));
        let (name, grant) = match kept {
            Some(kept) => (kept.name().clone(), kept.grant()),
            None => (name.clone(), None),
        };
        if self.index.set_grant(key, &name, grant) {
            dirty.extend(self.waiters.remove(&name).unwrap_or_default());
        }
    }

    /// Looks at every output again: whose it is can only be told once bindings are known.
    pub(super) fn begin_vigil(&mut self) {
        for name in self.book.outputs_but(&BTreeSet::new()) {
            let Some(output) = self.book.output(&name) else { continue };
            let living =
                self.holder(&output).and_then(|key| Some((self.book.binding(&key)?.live.uid.clone(), key)));
            match living {
                Some((uid, key)) if output.ownership_at_own_name(&key, &uid) == Ownership::Ours => {
                    self.vigil.saw(&output, self.moment.seconds(), self.moment.wall.as_second());
                }
                _ => {
                    let told = self.vigil.saw_stranger(self.index.settings(), &output);
                    self.announcements.extend(told);
                }
            }
        }
        self.metrics.outputs(self.vigil.counts());
    }

    /// Tells of outputs that spire-controller-manager has left alone for too long.
    pub(super) fn keep_vigil(&mut self) {
        let now = self.moment.seconds();
        if self.vigil.next_due().is_none_or(|due| due > now) {
            return;
        }
        let settings = self.index.settings().clone();
        let (book, vigil) = (&self.book, &mut self.vigil);
        let due = vigil.due(&settings, now, |name| {
            let binding = book.owner_of(name)?;
            Some(Watched { binding, uid: &book.binding(binding)?.live.uid, output: book.output(name)? })
        });
        self.announcements.extend(due);
    }
}
