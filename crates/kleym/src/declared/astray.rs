//! What was nearly written as one of the kinds that Kleym reads: a slip in a kind or group, a version that there is none of.
//! No API server would take such an object, and who wrote it believes that it counts.

use kleym_core::kind::Kind;
use kleym_core::text::Quoted;

/// Something that is nearly one of Kleym's objects.
pub(super) struct Astray {
    /// What is wrong.
    pub(super) what: String,
    /// In which field.
    pub(super) field: &'static str,
    /// What should stand there.
    pub(super) write: String,
}

/// As many letters may be wrong in a name for it to be taken for a slip.
const SLIPS: usize = 2;

/// The one name that was probably meant: as near as a slip, and none of the others is as near.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    // In a short name two slips leave too little of it.
    let slips = if name.len() < 6 { 1 } else { SLIPS };
    let mut near: Vec<(usize, &str)> = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&known.to_ascii_lowercase(), &name), *known))
        .filter(|(distance, _)| *distance <= slips)
        .collect();
    near.sort_unstable();
    match near.as_slice() {
        [(_, only)] => Some(only),
        [(first, meant), (second, _), ..] if first < second => Some(meant),
        _ => None,
    }
}

/// Whether a name is that of a kind, or of its list, but for a slip.
fn near(kind: Kind, name: &str) -> bool {
    let (own, name) = (kind.kind().to_ascii_lowercase(), name.to_ascii_lowercase());
    strsim::damerau_levenshtein(&own, name.strip_suffix("list").unwrap_or(&name)) <= SLIPS
}

/// Whether a name is that of a kind, or of its list.
fn right(kind: Kind, name: &str) -> bool {
    name.strip_prefix(kind.kind()).is_some_and(|rest| rest.is_empty() || rest == "List")
}

/// Whether an object was meant to be one that Kleym reads, and has a kind, group or version that there is none of.
pub(super) fn astray(api_version: Option<&str>, kind_name: Option<&str>) -> Option<Astray> {
    let group = api_version.map(|text| text.split_once('/').map_or("", |(group, _)| group));
    match (api_version.zip(group), kind_name) {
        (Some((api_version, group)), Some(name)) if Kind::ALL.iter().any(|kind| kind.group() == group) => {
            in_group(api_version, group, name)
        }
        (Some((api_version, group)), Some(name)) => elsewhere(api_version, group, name),
        (None, Some(name)) => {
            let kind = Kind::ALL.into_iter().find(|kind| near(*kind, name))?;
            let what = format!("{} has no `apiVersion`", Quoted(name));
            Some(Astray { what, field: "apiVersion", write: kind.api_version() })
        }
        (Some((api_version, group)), None) => {
            let inputs = || Kind::ALL.into_iter().filter(|kind| *kind != Kind::Output);
            let kind = inputs().find(|kind| kind.group() == group)?;
            let what = format!("an object of {} has no `kind`", Quoted(api_version));
            Some(Astray { what, field: "kind", write: kind.kind().to_owned() })
        }
        (None, None) => None,
    }
}

/// An object of a group that Kleym knows.
fn in_group(api_version: &str, group: &str, name: &str) -> Option<Astray> {
    let of_group = || Kind::ALL.into_iter().filter(|kind| kind.group() == group);
    let own = group == Kind::Binding.group();
    if of_group().any(|kind| right(kind, name)) {
        // Other groups have had other versions; this one never had.
        return (own && api_version != Kind::Binding.api_version()).then(|| Astray {
            what: format!("there is no {}", Quoted(api_version)),
            field: "apiVersion",
            write: Kind::Binding.api_version(),
        });
    }
    let meant = of_group().find(|kind| near(*kind, name));
    let meant = meant.or(own.then_some(Kind::Binding))?;
    let what = format!("{} is no kind of `{group}`", Quoted(name));
    Some(Astray { what, field: "kind", write: meant.kind().to_owned() })
}

/// An object of a group that Kleym does not know: of one that is nearly so called, or a binding.
fn elsewhere(api_version: &str, group: &str, name: &str) -> Option<Astray> {
    let what = format!("{} is no kind of {}", Quoted(name), Quoted(api_version));
    let apart = |kind: &Kind| strsim::damerau_levenshtein(kind.group(), &group.to_ascii_lowercase());
    let meant = Kind::ALL.into_iter().filter(|kind| near(*kind, name) && apart(kind) <= SLIPS);
    if let Some(kind) = meant.min_by_key(apart) {
        return Some(Astray { what, field: "apiVersion", write: kind.api_version() });
    }
    let (field, write) = match right(Kind::Binding, name) {
        true => ("apiVersion", Kind::Binding.api_version()),
        false => ("kind", Kind::Binding.kind().to_owned()),
    };
    near(Kind::Binding, name).then_some(Astray { what, field, write })
}
