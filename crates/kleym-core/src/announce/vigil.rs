//! What spire-controller-manager makes of the outputs: how many it reports on, and which of them it has left alone, or
//! without entries, for too long.
//!
//! Its counts are tied to no generation, so nothing is decided by them: they are told, and that is all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::announce::{Announcement, Mark, Object, Occasion, Weight, mark, note, stranger};
use crate::name::{BindingKey, ObjectName, Uid, output_name};
use crate::output::{LiveOutput, OutputStats};
use crate::settings::Settings;

/// How many seconds spire-controller-manager has for an output after its creation or last change.
pub const GRACE: i64 = 120;
/// The most that is told at once; the rest follows a second later. Thousands of outputs can fall due together.
const AT_ONCE: usize = 50;
/// The most foreign objects with our labels that are remembered, and so told.
const STRANGERS: usize = 1024;

/// What spire-controller-manager says of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpireStatus {
    /// It has counts, and nothing is wrong with them.
    Reported,
    /// It has said nothing.
    Absent,
    /// It selects pods, but sets no entry or fails to.
    Failing,
}

impl SpireStatus {
    /// All of them.
    pub const ALL: [SpireStatus; 3] = [SpireStatus::Reported, SpireStatus::Absent, SpireStatus::Failing];

    /// As a label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            SpireStatus::Reported => "reported",
            SpireStatus::Absent => "absent",
            SpireStatus::Failing => "failing",
        }
    }

    /// What these counts mean. An entry that is masked is another output's with the same identity: nothing is missing.
    pub fn of(stats: Option<&OutputStats>) -> Self {
        let Some(stats) = stats else { return SpireStatus::Absent };
        let no_entry = stats.entries_to_set <= 0 && stats.entries_masked <= 0;
        if stats.pods_selected > 0 && (no_entry || stats.entry_failures > 0) {
            SpireStatus::Failing
        } else {
            SpireStatus::Reported
        }
    }

    const fn occasion(self) -> Option<Occasion> {
        match self {
            SpireStatus::Reported => None,
            SpireStatus::Absent => Some(Occasion::NotPickedUp),
            SpireStatus::Failing => Some(Occasion::NotIssued),
        }
    }
}

/// How many outputs of living bindings there are, by what spire-controller-manager says of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([usize; 3]);

impl Counts {
    /// How many have this status.
    pub fn of(&self, status: SpireStatus) -> usize {
        self.0[status as usize]
    }

    fn add(&mut self, status: SpireStatus) {
        self.0[status as usize] += 1;
    }

    fn remove(&mut self, status: SpireStatus) {
        self.0[status as usize] = self.0[status as usize].saturating_sub(1);
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    uid: Uid,
    mark: Mark,
    status: SpireStatus,
    /// Since when it has been as it is.
    since: i64,
    /// What was told of it, by status.
    told: [bool; SpireStatus::ALL.len()],
}

impl Entry {
    fn due(&self) -> Option<i64> {
        let open = self.status.occasion().is_some() && !self.told[self.status as usize];
        open.then(|| self.since.saturating_add(GRACE))
    }
}

/// An output of a living binding.
#[derive(Debug, Clone)]
pub struct Watched<'a> {
    /// The binding.
    pub binding: &'a BindingKey,
    /// Its uid.
    pub uid: &'a Uid,
    /// Its output.
    pub output: Arc<LiveOutput>,
}

/// The outputs that are watched. Times are in seconds on a clock that never jumps; the time of day says only how old an
/// output is when it is seen first, and a time of day that cannot be right makes nobody wait for longer than [`GRACE`].
#[derive(Debug, Default)]
pub struct Vigil {
    outputs: BTreeMap<ObjectName, Entry>,
    due: BTreeSet<(i64, ObjectName)>,
    counts: Counts,
    strangers: BTreeMap<ObjectName, Uid>,
}

impl Vigil {
    /// Takes an output of a living binding as it stands; `wall` is the time of day, in seconds since 1970. One that is going
    /// is watched no longer.
    pub fn saw(&mut self, output: &LiveOutput, now: i64, wall: i64) {
        if output.deleting || output.selects_nothing() {
            self.gone(&output.name);
            return;
        }
        let status = SpireStatus::of(output.stats.as_ref());
        let grants = [&*output.spec.spiffe_id, output.spec.class_name.as_deref().unwrap_or_default()];
        let mark = mark(grants.into_iter().chain(output.spec.selectors.iter().map(|item| &**item)));
        let fresh = |since| Entry { uid: output.uid.clone(), mark, status, since, told: Default::default() };
        let age = output.created.map_or(0, |created| wall.saturating_sub(created).clamp(0, GRACE));
        let entry = match self.take(&output.name) {
            Some(known) if known.uid != output.uid => fresh(now.saturating_sub(age)),
            None => fresh(now.saturating_sub(age)),
            Some(known) if known.mark != mark => fresh(now),
            Some(mut known) => {
                // It went well, and no longer does: that is a change too.
                if known.status == SpireStatus::Reported && status != known.status {
                    known.since = now;
                }
                known.status = status;
                known
            }
        };
        self.put(output.name.clone(), entry);
    }

    /// Takes a ClusterSPIFFEID that is no living binding's; answers what is to be told of it, once.
    pub fn saw_stranger(&mut self, settings: &Settings, output: &LiveOutput) -> Option<Announcement> {
        self.take(&output.name);
        let known = self.strangers.get(&output.name) == Some(&output.uid);
        let announcement = stranger(settings, output)?;
        if known || self.strangers.len() >= STRANGERS {
            return None;
        }
        self.strangers.insert(output.name.clone(), output.uid.clone());
        Some(announcement)
    }

    /// Forgets an output that is gone, or is no longer a living binding's.
    pub fn gone(&mut self, output: &ObjectName) {
        self.take(output);
        self.strangers.remove(output);
    }

    /// How many outputs of living bindings there are.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// When [`Vigil::due`] has something to tell.
    pub fn next_due(&self) -> Option<i64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// What is due to be told by now. `find` gives an output of a living binding as it stands.
    pub fn due<'a>(
        &mut self,
        settings: &Settings,
        now: i64,
        find: impl Fn(&ObjectName) -> Option<Watched<'a>>,
    ) -> Vec<Announcement> {
        let mut announcements = Vec::new();
        while let Some((at, name)) = self.due.first().cloned() {
            if at > now {
                break;
            }
            if announcements.len() >= AT_ONCE {
                self.postpone(now.saturating_add(1), now);
                break;
            }
            let Some(mut entry) = self.take(&name) else {
                self.due.remove(&(at, name));
                continue;
            };
            entry.told[entry.status as usize] = true;
            announcements.extend(find(&name).and_then(|found| announcement(settings, &entry, &found)));
            self.put(name, entry);
        }
        announcements
    }

    /// Everything that was due before is due then.
    fn postpone(&mut self, then: i64, now: i64) {
        while let Some((at, name)) = self.due.pop_first() {
            if at > now {
                self.due.insert((at, name));
                return;
            }
            if let Some(entry) = self.outputs.get_mut(&name) {
                entry.since = then.saturating_sub(GRACE);
                self.due.insert((then, name));
            }
        }
    }

    fn put(&mut self, name: ObjectName, entry: Entry) {
        self.counts.add(entry.status);
        if let Some(due) = entry.due() {
            self.due.insert((due, name.clone()));
        }
        self.outputs.insert(name, entry);
    }

    fn take(&mut self, name: &ObjectName) -> Option<Entry> {
        let entry = self.outputs.remove(name)?;
        self.counts.remove(entry.status);
        if let Some(due) = entry.due() {
            self.due.remove(&(due, name.clone()));
        }
        Some(entry)
    }
}

fn announcement(settings: &Settings, entry: &Entry, found: &Watched<'_>) -> Option<Announcement> {
    let live = &*found.output;
    if live.uid != entry.uid || live.name != output_name(settings.instance.as_str(), found.binding) {
        return None;
    }
    let occasion = entry.status.occasion()?;
    let note = match &live.stats {
        Some(stats) => note::not_issued(&live.name, &live.spec.spiffe_id, stats),
        None => note::not_picked_up(&live.name, &live.spec.spiffe_id, live.spec.class_name.as_deref()),
    };
    Some(Announcement {
        regarding: Object::Binding(found.binding.clone(), found.uid.clone()),
        related: Some(Object::Output(live.name.clone(), live.uid.clone())),
        occasion,
        weight: Weight::Warning,
        note,
    })
}
