//! Operations on an API server, drawn from a seed. An operation names no uid and no version: each side puts in what it
//! was told by its own server, so that one history can be played on both, and shortened.

use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};

use crate::random::Random;
use crate::server::Place;
use crate::wire::Verb;

/// The namespace that stays.
pub(super) const HOME: &str = "home";
/// The namespace that is deleted and made again.
pub(super) const PASSING: &str = "passing";
/// A namespace that is never there.
const NOWHERE: &str = "nowhere";
/// A kind that no API server of the tests serves: nobody ships it.
pub(super) const UNSERVED: Kind = Kind::Objective(ObjectiveGroup::Inference);
/// The kind whose definition is deleted and made again.
pub(super) const FLEETING: Kind = Kind::Pool(PoolGroup::InferenceX);
/// The kinds that operations are about.
pub(super) const KINDS: [Kind; 5] = [
    Kind::Binding,
    Kind::Output,
    Kind::Pool(PoolGroup::Inference),
    Kind::Objective(ObjectiveGroup::LlmD),
    FLEETING,
];
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// What a write is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// What was last seen of the object.
    Right,
    /// What was seen before that; of a uid, that of another object.
    Wrong,
    /// Nothing.
    Nothing,
}

/// What an object is to be like: one of a few values of each part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// The object as it was last seen, sent back; otherwise it is made anew.
    pub(super) same: bool,
    pub(super) spec: u64,
    pub(super) labels: u64,
    pub(super) finalizers: u64,
    pub(super) status: u64,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// A write of an object, its status or its finalizers.
    Write(Verb, Place, Shape, Bound, Bound),
    /// A delete, with its preconditions on version and uid.
    Delete(Place, Bound, Bound),
    /// A read of one object: `Get` or `List`.
    Read(Verb, Place),
    /// The first page of a list, with so many objects at most.
    Page(Kind, Option<&'static str>, u64),
    /// The page after the last one.
    Next,
    /// What happened to a kind since a version that was seen so many versions ago.
    Watch(Kind, Option<&'static str>, u64),
    /// The namespace that passes is deleted.
    EndNamespace,
    /// It is made again, if it is gone.
    BeginNamespace,
    /// The definition of the fleeting kind is deleted.
    Undefine,
    /// It is made again, if it is gone.
    Define,
}

impl Operation {
    /// Whether it writes an object of this kind.
    pub(super) fn is_about(&self, kind: Kind) -> bool {
        match self {
            Operation::Write(_, place, ..) | Operation::Delete(place, ..) => place.kind == kind,
            _ => false,
        }
    }
}

/// The operations of a seed.
pub(super) fn draw(seed: u64, count: usize) -> Vec<Operation> {
    let mut random = Random::new(seed).fork(7);
    // A definition goes slowly on a real API server.
    let defines = seed % 12 == 1;
    (0..count).map(|_| one(&mut random, defines)).collect()
}

fn one(random: &mut Random, defines: bool) -> Operation {
    let rare = |on: bool| if on { 3 } else { 0 };
    match random.weighted(&[
        (24, 0),
        (3, 1),
        (22, 2),
        (9, 3),
        (12, 4),
        (14, 5),
        (5, 6),
        (5, 7),
        (4, 8),
        (4, 9),
        (5, 10),
        (1, 11),
        (2, 12),
        (rare(defines), 13),
        (rare(defines), 14),
    ]) {
        0 => write(random, Verb::Create),
        1 => write(random, Verb::TryCreate),
        2 => write(random, Verb::Replace),
        3 => write(random, Verb::ReplaceStatus),
        4 => write(random, Verb::PatchFinalizers),
        5 => Operation::Delete(place(random), optional(random), optional(random)),
        6 => Operation::Read(Verb::Get, place(random)),
        7 => Operation::Read(Verb::List, place(random)),
        8 => Operation::Page(*random.pick(&KINDS), namespace_or_all(random), random.within(1, 4)),
        9 => Operation::Next,
        10 => Operation::Watch(*random.pick(&KINDS), namespace_or_all(random), random.below(30)),
        11 => Operation::EndNamespace,
        12 => Operation::BeginNamespace,
        13 => Operation::Undefine,
        _ => Operation::Define,
    }
}

fn write(random: &mut Random, verb: Verb) -> Operation {
    let shape = Shape {
        same: random.once_in(4),
        spec: random.below(3),
        labels: random.below(3),
        finalizers: *random.weighted(&[(5, 0), (2, 1), (3, 2), (1, 3)]),
        status: random.below(4),
    };
    let place = place(random);
    if matches!(verb, Verb::Create | Verb::TryCreate) {
        return Operation::Write(verb, place, shape, Bound::Nothing, Bound::Nothing);
    }
    let version = *random.weighted(&[(7, Bound::Right), (2, Bound::Wrong), (1, Bound::Nothing)]);
    let uid = *random.weighted(&[(6, Bound::Right), (1, Bound::Wrong), (3, Bound::Nothing)]);
    Operation::Write(verb, place, shape, version, uid)
}

fn optional(random: &mut Random) -> Bound {
    *random.weighted(&[(3, Bound::Right), (1, Bound::Wrong), (4, Bound::Nothing)])
}

fn place(random: &mut Random) -> Place {
    let kind = match random.below(20) {
        0 => UNSERVED,
        1..=6 => Kind::Binding,
        7..=12 => Kind::Output,
        _ => *random.pick(&KINDS),
    };
    let namespace = *random.weighted(&[(10, HOME), (5, PASSING), (1, NOWHERE)]);
    Place::new(kind, namespace, random.word(&NAMES))
}

fn namespace_or_all(random: &mut Random) -> Option<&'static str> {
    *random.weighted(&[(2, None), (2, Some(HOME)), (1, Some(PASSING)), (1, Some(NOWHERE))])
}
