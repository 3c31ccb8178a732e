//! Where the items of a selector set come from: of two that exclude each other, which to take out.

use super::place::selector_field;
use crate::fact::Binding;
use crate::index::Index;
use crate::name::ObjectName;
use crate::selector::SetError;
use crate::text::Quoted;

/// Where an item comes from.
enum Origin {
    /// The pool of this name selects by it.
    Pool(ObjectName),
    /// `spec.containerDiscriminator` says it.
    Discriminator,
    /// A template says it.
    Template,
}

impl Origin {
    fn of(index: &Index, binding: &Binding, item: &str) -> Self {
        if let Some(Ok(resolved)) = index.resolved(&binding.key) {
            let mut labels = resolved.pool.labels.iter();
            let selects = labels
                .any(|(key, value)| item == format!("k8s:pod-label:{}:{}", key.as_str(), value.as_str()));
            if selects {
                return Origin::Pool(resolved.pool.name.clone());
            }
        }
        let discriminator = binding.spec.as_ref().ok().and_then(|spec| spec.discriminator.as_ref());
        match discriminator.map(|named| format!("{}:{}", named.kind.selector_key(), named.value)) {
            Some(own) if own == item => Origin::Discriminator,
            _ => Origin::Template,
        }
    }
}

/// Of two items that cannot stand together, which is the pool's own or the discriminator's, and what to do with the other.
pub(super) fn which_to_remove(index: &Index, binding: &Binding, error: &SetError) -> Option<String> {
    let (SetError::TwoValues(first, second) | SetError::CaseTwins(first, second)) = error else {
        return None;
    };
    let of = |item: &str| Origin::of(index, binding, item);
    let at = |item: &str| format!("{} in `{}`", Quoted(item), selector_field(binding, item));
    Some(match (of(first), of(second)) {
        (Origin::Pool(pool), Origin::Pool(_)) => {
            format!("correct one of the two labels in `spec.selector` of InferencePool `{pool}`")
        }
        (Origin::Pool(pool), _) => of_pool(&pool, first, &at(second)),
        (_, Origin::Pool(pool)) => of_pool(&pool, second, &at(first)),
        (Origin::Discriminator, _) => of_discriminator(first, &at(second)),
        (_, Origin::Discriminator) => of_discriminator(second, &at(first)),
        (Origin::Template, Origin::Template) => format!("remove {} or {}", at(first), at(second)),
    })
}

fn of_pool(pool: &ObjectName, own: &str, other: &str) -> String {
    format!("InferencePool `{pool}` selects {} itself, so remove {other}", Quoted(own))
}

fn of_discriminator(own: &str, other: &str) -> String {
    format!(
        "{} is what `spec.containerDiscriminator` says: remove {other}, or correct the discriminator",
        Quoted(own)
    )
}
