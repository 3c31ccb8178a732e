//! What was told of one binding, and what its turns add to it.

use std::sync::Arc;

use crate::announce::{Announcement, Mark, Object, Occasion, Weight, mark, note};
use crate::name::{BindingKey, ObjectName, Uid, output_name};
use crate::output::{LiveOutput, Ownership};
use crate::plan::{Failure, Remnant, Reply, Standing, Step, Wait};
use crate::refusal::{Reason, Refusal};
use crate::relation::{Conflict, MAX_PEERS};
use crate::render::Identity;
use crate::settings::Settings;
use crate::status::{REASON_RECONCILED, refused_message};

/// A grant that stood, as far as it was told or seen before a write.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stood {
    spiffe_id: Arc<str>,
    mark: Mark,
    uid: Uid,
}

impl Stood {
    fn of_live(live: &LiveOutput) -> Self {
        let spiffe_id = &*live.spec.spiffe_id;
        let selectors = live.spec.selectors.iter().map(|item| &**item);
        Self {
            spiffe_id: spiffe_id.into(),
            mark: mark([spiffe_id].into_iter().chain(selectors)),
            uid: live.uid.clone(),
        }
    }

    fn of_identity(identity: &Identity, uid: &Uid) -> Self {
        let spiffe_id = identity.spiffe_id.shared();
        let selectors = identity.selectors.texts();
        Self {
            spiffe_id: Arc::clone(spiffe_id),
            mark: mark([&**spiffe_id].into_iter().chain(selectors)),
            uid: uid.clone(),
        }
    }
}

/// What a live status says: as much of it as decides whether something must be told again after a restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Said {
    /// `Ready` is `Reconciled`.
    Ready,
    /// `Ready` has the reason of a refusal.
    Refused(Reason),
    /// Nothing, or anything else.
    #[default]
    SomethingElse,
}

impl Said {
    /// What a status says whose condition `Ready` has this reason.
    pub fn of(ready_reason: Option<&str>) -> Self {
        let refused = |said: &str| Reason::ALL.iter().find(|reason| reason.as_str() == said).copied();
        match ready_reason {
            Some(REASON_RECONCILED) => Said::Ready,
            Some(said) => refused(said).map_or(Said::SomethingElse, Said::Refused),
            None => Said::SomethingElse,
        }
    }
}

/// A refusal that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RefusalTold {
    reason: Reason,
    mark: Mark,
}

impl RefusalTold {
    /// A conflict is the same one as long as the same peer leads it: how many others there are changes with each of them.
    fn of(refusal: &Refusal, remnant: &Remnant) -> Self {
        let mark = match (refusal, remnant) {
            (_, Remnant::Granting(_)) => mark([&*refused_message(refusal, remnant)]),
            (Refusal::Conflict(conflict), _) => mark([conflict.foremost.name.as_str()]),
            _ => mark([&*refusal.message()]),
        };
        Self { reason: refusal.reason(), mark }
    }
}

/// What was told of one binding. Kept by whoever drives it, from its first turn until it is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Of which incarnation.
    uid: Option<Uid>,
    /// What the status said before the first turn; nothing that matters once a turn has come to a verdict.
    said: Option<Said>,
    /// What the output granted last.
    stood: Option<Stood>,
    refused: Option<RefusalTold>,
    /// The peers that were told of a contest which goes on.
    contested: Vec<ObjectName>,
    /// The foreign object that was told of.
    foreign: Option<Uid>,
}

/// How a turn ended.
#[derive(Clone, Copy)]
pub struct Settled<'a> {
    /// The operator's configuration.
    pub settings: &'a Settings,
    /// Which binding.
    pub key: &'a BindingKey,
    /// The live binding's uid; none when it is gone.
    pub uid: Option<&'a Uid>,
    /// Whether the binding is being deleted.
    pub deleting: bool,
    /// How it stands.
    pub standing: &'a Standing,
    /// What stands at its output name, as far as is known.
    pub output: Option<&'a LiveOutput>,
    /// Whether that was to be deleted, and could not be looked at since.
    pub in_doubt: bool,
    /// The uid of a living binding of the same namespace.
    pub peer: &'a dyn Fn(&ObjectName) -> Option<Uid>,
}

impl Told {
    /// Whether it is of this incarnation of its binding.
    pub fn is_about(&self, uid: &Uid) -> bool {
        self.uid.as_ref() == Some(uid)
    }

    /// Takes the beginning of a turn of a living binding, with what its status says. Only what the first turn of a
    /// process says counts, and only to keep silent: later ones find what this process wrote.
    pub fn begins(&mut self, uid: &Uid, said: Said) {
        self.turn_to(uid);
        self.said.get_or_insert(said);
    }

    /// Takes the reply to a step that writes the binding's output: `before` is what stood at its name. Answers what is to
    /// be told of it at once.
    pub fn wrote(
        &mut self,
        settings: &Settings,
        key: &BindingKey,
        uid: Option<&Uid>,
        step: &Step,
        reply: &Reply,
        before: Option<&LiveOutput>,
    ) -> Option<Announcement> {
        // Only these write over something that stood.
        let live = match step {
            Step::ReplaceOutput(_) | Step::NeutraliseOutput { .. } | Step::DeleteOutput { .. } => before?,
            _ => return None,
        };
        match uid.map(|uid| (uid, live.ownership_at_own_name(key, uid))) {
            Some((uid, Ownership::Ours)) => {
                self.turn_to(uid);
                // Of what the write did not find, nobody knows that it stood.
                let stood = *reply != Reply::Failed(Failure::Absent) && !live.selects_nothing();
                if self.stood.is_none() && stood {
                    self.stood = Some(Stood::of_live(live));
                }
                None
            }
            Some((_, Ownership::Foreign)) => None,
            Some((_, Ownership::Orphan)) | None => {
                let deleted = matches!((step, reply), (Step::DeleteOutput { .. }, Reply::Done));
                deleted.then(|| orphan_removed(settings, key, live))
            }
        }
    }

    /// Takes the end of a turn; answers what is to be told.
    pub fn settle(&mut self, now: &Settled<'_>) -> Vec<Announcement> {
        let Some(uid) = now.uid.or(self.uid.as_ref()).cloned() else { return Vec::new() };
        self.turn_to(&uid);
        if matches!(now.standing, Standing::Undecided(_)) {
            return Vec::new();
        }
        let said = self.said.replace(Said::SomethingElse).unwrap_or_default();
        let mut teller = Teller {
            now,
            binding: Object::Binding(now.key.clone(), uid.clone()),
            output: output_name(now.settings.instance.as_str(), now.key),
            told: Vec::new(),
        };
        let whose = now.output.map(|live| live.ownership_at_own_name(now.key, &uid));
        let met_foreign = self.foreign(&mut teller, whose, said);
        let ours = now.output.filter(|live| whose == Some(Ownership::Ours) && !live.selects_nothing());
        let lost = if ours.is_none() { self.stood.clone() } else { None };
        match now.standing {
            Standing::Undecided(_) => {}
            Standing::Granted { identity, uid, .. } => {
                self.granted(&mut teller, identity, uid, said);
                self.refused = None;
            }
            Standing::Refused { refusal, remnant } => {
                let refused = RefusalTold::of(refusal, remnant);
                let known = self.refused.replace(refused) == Some(refused);
                match lost {
                    Some(lost) => {
                        let note =
                            note::withdrawn_by_refusal(&teller.output, &lost.spiffe_id, refusal, remnant);
                        self.withdrawn(&mut teller, &lost, Weight::Warning, note);
                    }
                    None if known || said == Said::Refused(refused.reason) => {}
                    None if met_foreign && refused.reason == Reason::ManagedOutputConflict => {}
                    None => {
                        let stands = ours.filter(|_| !now.in_doubt).map(|live| &*live.spec.spiffe_id);
                        let note = note::refused(refusal, remnant, &teller.output, stands);
                        let related = ours.map(|live| &live.uid);
                        teller.tell(Occasion::IdentityRefused, Weight::Warning, note, related);
                    }
                }
            }
            Standing::Leaving | Standing::Released { .. } | Standing::Waiting(Wait::Release(_)) => {
                self.refused = None;
                if let Some(lost) = lost {
                    let note = note::withdrawn_by_deletion(&teller.output, &lost.spiffe_id);
                    self.withdrawn(&mut teller, &lost, Weight::Normal, note);
                }
            }
            Standing::Waiting(wait) => {
                self.refused = None;
                // Where its own former output is all it waits for, a change is under way and is told when it is done.
                let lasts =
                    matches!(wait, Wait::Outputs(_) | Wait::Finalizers(_) | Wait::Undone(_) | Wait::List);
                if let Some(lost) = lost.filter(|_| lasts) {
                    let mut note = note::withdrawn_for_a_while(&teller.output, &lost.spiffe_id, wait);
                    let mut weight = Weight::Warning;
                    if now.deleting {
                        (note, weight) = (note::as_it_is_deleted(&note), Weight::Normal);
                    }
                    self.withdrawn(&mut teller, &lost, weight, note);
                }
            }
        }
        self.conflict(&mut teller, said);
        teller.told
    }

    /// Another incarnation of the binding begins with nothing told.
    fn turn_to(&mut self, uid: &Uid) {
        if self.uid.as_ref() != Some(uid) {
            *self = Self { uid: Some(uid.clone()), ..Self::default() };
        }
    }

    /// A foreign object at the output's name, told once; answers whether it was told now.
    fn foreign(&mut self, teller: &mut Teller<'_>, whose: Option<Ownership>, said: Said) -> bool {
        let Some(live) = teller.now.output.filter(|_| whose == Some(Ownership::Foreign)) else {
            self.foreign = None;
            return false;
        };
        if self.foreign.replace(live.uid.clone()).as_ref() == Some(&live.uid) {
            return false;
        }
        // What was ours and lost its proof is not withdrawn: it still grants.
        let stripped = self.stood.take_if(|stood| stood.uid == live.uid).is_some();
        if said == Said::Refused(Reason::ManagedOutputConflict) && !stripped {
            return false;
        }
        let note = if stripped {
            note::stripped(&teller.output, &live.spec.spiffe_id)
        } else {
            note::foreign(&teller.output)
        };
        teller.tell(Occasion::ForeignObjectMet, Weight::Warning, note, Some(&live.uid));
        true
    }

    fn granted(&mut self, teller: &mut Teller<'_>, identity: &Identity, uid: &Uid, said: Said) {
        let stands = Stood::of_identity(identity, uid);
        let before = self.stood.replace(stands.clone());
        match before {
            Some(before) if before.mark != stands.mark || before.uid != stands.uid => {
                let again = before.mark == stands.mark;
                let note = note::changed(&teller.output, &before.spiffe_id, identity, again);
                teller.tell(Occasion::IdentityChanged, Weight::Normal, note, Some(uid));
            }
            Some(_) if self.refused.is_none() => {}
            None if said == Said::Ready => {}
            _ => {
                let note = note::granted(&teller.output, identity);
                teller.tell(Occasion::IdentityGranted, Weight::Normal, note, Some(uid));
            }
        }
    }

    fn withdrawn(&mut self, teller: &mut Teller<'_>, lost: &Stood, weight: Weight, note: String) {
        self.stood = None;
        teller.tell(Occasion::IdentityWithdrawn, weight, note, Some(&lost.uid));
    }

    /// The binding that comes first is told when a conflict with it begins and when it ends.
    fn conflict(&mut self, teller: &mut Teller<'_>, said: Said) {
        let conflict: Option<&Conflict> = match teller.now.standing {
            Standing::Refused { refusal: Refusal::Conflict(conflict), .. } => Some(conflict),
            _ => None,
        };
        let younger = &teller.now.key.name;
        let goes_on = |peer: &ObjectName| conflict.is_some_and(|conflict| still_leads(conflict, peer));
        for peer in self.contested.extract_if(.., |peer| !goes_on(peer)) {
            teller.tell_peer(&peer, Occasion::ConflictEnded, Weight::Normal, note::conflict_ended(younger));
        }
        let Some(conflict) = conflict else { return };
        let foremost = &conflict.foremost.name;
        if self.contested.contains(foremost) {
            return;
        }
        if said != Said::Refused(conflict.cause().reason()) {
            let note = note::contested(younger, conflict);
            teller.tell_peer(foremost, Occasion::IdentityContested, Weight::Warning, note);
        }
        // Where there are very many, it is not known of each whether it still stands in the way.
        if self.contested.len() == MAX_PEERS {
            self.contested.remove(0);
        }
        self.contested.push(foremost.clone());
    }
}

/// Whether a peer may be among those that come first and claim the same: of very many not all are listed.
fn still_leads(conflict: &Conflict, peer: &ObjectName) -> bool {
    conflict.foremost.name == *peer
        || conflict.count > conflict.peers.len()
        || conflict.peers.iter().any(|listed| listed.name == *peer)
}

/// What one turn has to tell.
struct Teller<'a> {
    now: &'a Settled<'a>,
    binding: Object,
    output: ObjectName,
    told: Vec<Announcement>,
}

impl Teller<'_> {
    fn tell(&mut self, occasion: Occasion, weight: Weight, note: String, output: Option<&Uid>) {
        let related = output.map(|uid| Object::Output(self.output.clone(), uid.clone()));
        let regarding = self.binding.clone();
        self.told.push(Announcement { regarding, related, occasion, weight, note });
    }

    /// Tells another binding of the namespace, if it lives.
    fn tell_peer(&mut self, peer: &ObjectName, occasion: Occasion, weight: Weight, note: String) {
        let Some(uid) = (self.now.peer)(peer) else { return };
        let key = BindingKey::new(self.now.key.namespace.clone(), peer.clone());
        let regarding = Object::Binding(key, uid);
        self.told.push(Announcement { regarding, related: None, occasion, weight, note });
    }
}

fn orphan_removed(settings: &Settings, key: &BindingKey, live: &LiveOutput) -> Announcement {
    let binding = live.proven_binding(settings).map_or_else(|| key.clone(), |(binding, _)| binding);
    Announcement {
        regarding: Object::Output(live.name.clone(), live.uid.clone()),
        related: None,
        occasion: Occasion::OrphanRemoved,
        weight: Weight::Warning,
        note: note::orphan(&live.name, &binding.to_string(), &live.spec.spiffe_id, &live.finalizers),
    }
}
