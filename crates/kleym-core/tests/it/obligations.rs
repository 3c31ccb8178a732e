//! What every identity must obey, checked a second time and in another way than the engine does: templates, selector
//! items, selector sets and SPIFFE IDs, from sections 5 and 6 of the contract.

use std::collections::BTreeMap;

use kleym_core::fact::Mode;

use crate::naive::Plain;
use crate::world::{GRANTS, TRUST_DOMAIN};

/// The rule that is broken.
pub(crate) type Broken = &'static str;

/// Fills a template's placeholders; none when it is malformed or a placeholder has no value.
pub(crate) fn fill(source: &str, values: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let mut text = String::new();
    // Where the literal under way begins: what was substituted before it is never trimmed.
    let mut literal_at = 0;
    let mut trimming = false;
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("}}") {
            return None;
        }
        if !rest.starts_with("{{") {
            if !(trimming && blank(c)) {
                trimming = false;
                text.push(c);
            }
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let end = rest[2..].find("}}")?;
        let mut action = &rest[2..2 + end];
        rest = &rest[2 + end + 2..];
        if action.starts_with('-') && action[1..].starts_with(blank) {
            while text.len() > literal_at && text.ends_with(blank) {
                text.pop();
            }
            action = &action[1..];
        }
        trimming = false;
        if action.len() > 1 && action.ends_with('-') && action[..action.len() - 1].ends_with(blank) {
            trimming = true;
            action = &action[..action.len() - 1];
        }
        text.push_str(&values(action.trim_matches(blank))?);
        literal_at = text.len();
    }
    Some(text)
}

const K8S: [&str; 19] = [
    "ns",
    "sa",
    "node-name",
    "pod-name",
    "container-name",
    "container-image",
    "pod-image",
    "pod-init-image",
    "pod-image-count",
    "pod-init-image-count",
    "image-signature",
    "image-signature-value",
    "image-signature-subject",
    "image-signature-issuer",
    "image-signature-log-id",
    "image-signature-log-index",
    "image-signature-integrated-time",
    "image-signature-signed-entry-timestamp",
    "image-attestations",
];
const K8S_NESTED: [&str; 4] = ["pod-label", "ns-label", "pod-owner", "pod-owner-uid"];
const UNIX: [&str; 8] =
    ["uid", "user", "gid", "group", "supplementary_gid", "supplementary_group", "path", "sha256"];
/// Slots that hold one value per workload, labels aside.
const SINGLE: [&str; 7] =
    ["ns", "sa", "container-name", "node-name", "pod-name", "pod-image-count", "pod-init-image-count"];

/// One selector item by itself.
pub(crate) fn item(text: &str) -> Result<(), Broken> {
    if text.len() > 255 {
        return Err("length");
    }
    if text.chars().any(|c| !('\u{21}'..='\u{7e}').contains(&c) || c == '{' || c == '}') {
        return Err("characters");
    }
    let (kind, rest) = text.split_once(':').ok_or("shape")?;
    let (key, value) = rest.split_once(':').ok_or("shape")?;
    match kind {
        "unix" if UNIX.contains(&key) && !value.is_empty() => {}
        "k8s" if K8S.contains(&key) && !value.is_empty() => {
            if (key == "sa" && !subdomain(value)) || (key == "ns" && !dns_label(value)) {
                return Err("name");
            }
        }
        "k8s" if K8S_NESTED.contains(&key) => {
            let (inner, value) = value.split_once(':').ok_or("shape")?;
            let labels = key.ends_with("label");
            if labels && !(label_key(inner) && label_part(value)) || inner.is_empty() || value.is_empty() {
                return Err("nested");
            }
        }
        _ => return Err("key"),
    }
    let starts = |kind: &str, keys: &[&str]| {
        keys.iter().any(|key| rest.contains(&format!("{kind}{key}:")))
            || rest.contains(&format!("{kind}pod-uid:"))
    };
    let all: Vec<&str> = K8S.into_iter().chain(K8S_NESTED).chain(UNIX).collect();
    if starts("k8s", &all) || starts("unix", &all) { Err("embedded") } else { Ok(()) }
}

/// A sorted selector set; answers its service account.
pub(crate) fn set(
    items: &[String],
    namespace: &str,
    pool: &BTreeMap<String, String>,
) -> Result<String, Broken> {
    for text in items {
        item(text)?;
    }
    if !items.windows(2).all(|pair| pair[0] < pair[1]) {
        return Err("order");
    }
    let of = |head: &str| -> Vec<&str> { items.iter().filter_map(|item| item.strip_prefix(head)).collect() };
    if of("k8s:ns:") != [namespace] {
        return Err("namespace");
    }
    let [account] = of("k8s:sa:")[..] else { return Err("service account") };
    for (place, one) in items.iter().enumerate() {
        for other in &items[place + 1..] {
            if one.to_lowercase() == other.to_lowercase() {
                return Err("case twins");
            }
            if let (Some(slot), Some(theirs)) = (single_slot(one), single_slot(other))
                && slot == theirs
            {
                return Err("two values");
            }
        }
    }
    for (key, value) in pool {
        if !items.contains(&format!("k8s:pod-label:{key}:{value}")) {
            return Err("pool label missing");
        }
    }
    Ok(account.to_owned())
}

/// The slot of an item that holds one value per workload.
fn single_slot(item: &str) -> Option<&str> {
    let rest = item.strip_prefix("k8s:")?;
    let (key, value) = rest.split_once(':')?;
    if SINGLE.contains(&key) {
        return Some(key);
    }
    (key == "pod-label" || key == "ns-label").then(|| &rest[..key.len() + 1 + value.find(':').unwrap_or(0)])
}

/// A SPIFFE ID that a binding may have.
pub(crate) fn spiffe_id(
    id: &str,
    namespace: &str,
    account: &str,
    subject: &(&'static str, String),
    pool: &str,
) -> Result<(), Broken> {
    if id.len() > 255 {
        return Err("length");
    }
    let rest = id.strip_prefix("spiffe://").ok_or("scheme")?;
    let (domain, path) = rest.split_once('/').ok_or("no path")?;
    if domain != TRUST_DOMAIN {
        return Err("trust domain");
    }
    let segments: Vec<&str> = path.split('/').collect();
    for segment in &segments {
        let word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if segment.is_empty() || *segment == "." || *segment == ".." || !segment.chars().all(word) {
            return Err("segment");
        }
    }
    let lower: Vec<String> = segments.iter().map(|segment| segment.to_lowercase()).collect();
    if lower[0] != "ns" {
        let granted = GRANTS.iter().filter(|(to, _)| *to == namespace).any(|(_, prefix)| {
            let prefix: Vec<String> = prefix[1..].split('/').map(str::to_lowercase).collect();
            lower.len() > prefix.len() && lower.starts_with(&prefix)
        });
        return if granted { Ok(()) } else { Err("not granted") };
    }
    if segments.len() < 3 || segments[0] != "ns" || segments[1] != namespace {
        return Err("outside the namespace");
    }
    let about = segments.get(3).copied();
    match (lower[2].as_str(), segments[2], about) {
        ("sa", "sa", Some(x)) if x == account => Ok(()),
        ("objective", "objective", Some(x)) if *subject == ("objective", x.to_owned()) => Ok(()),
        ("pool", "pool", Some(x)) if x == pool && (segments.len() > 4 || subject.0 == "pool") => Ok(()),
        ("sa" | "objective" | "pool", _, _) => Err("head"),
        _ => Ok(()),
    }
}

/// Everything an identity must obey, whatever made it.
pub(crate) fn identity(identity: &Plain, namespace: &str) -> Result<(), Broken> {
    let account = set(&identity.items, namespace, &identity.pool.1)?;
    spiffe_id(&identity.id, namespace, &account, &identity.subject, &identity.pool.0)?;
    let subject = if identity.mode == Mode::PerObjective { "objective" } else { "pool" };
    if identity.subject.0 != subject {
        return Err("subject");
    }
    let contained = identity
        .items
        .iter()
        .any(|item| item.starts_with("k8s:container-name:") || item.starts_with("k8s:container-image:"));
    if identity.mode == Mode::PerObjective && !contained {
        return Err("no container");
    }
    if identity.pool.1.is_empty() {
        return Err("no labels");
    }
    // A Go template engine copies a text without `{{` as it is; there is not even one brace.
    let braces = identity.items.iter().chain([&identity.id]).any(|text| text.contains(['{', '}']));
    if braces { Err("braces") } else { Ok(()) }
}

pub(crate) fn dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len()) && dns_part(text)
}

pub(crate) fn subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(dns_part)
}

fn dns_part(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

pub(crate) fn label_key(text: &str) -> bool {
    match text.rsplit_once('/') {
        Some((prefix, name)) => subdomain(prefix) && label_part(name),
        None => label_part(text),
    }
}

pub(crate) fn label_part(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63 && text.chars().all(inner) && edge(text.chars().next()) && edge(text.chars().last())
}
