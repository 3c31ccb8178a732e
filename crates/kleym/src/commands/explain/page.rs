//! The page of a finding in short: cause, check and fix, as the site has them, for who has no network at hand.

use std::io::{self, Write};

use kleym_core::report::Code;

macro_rules! pages {
    ($($code:ident => $name:literal,)*) => {
        /// The page as it is written.
        fn page(code: Code) -> &'static str {
            match code {
                $(Code::$code => include_str!(concat!("../../../../../docs/src/findings/", $name, ".md")),)*
            }
        }

        #[cfg(test)]
        const NAMES: &[(Code, &str)] = &[$((Code::$code, $name),)*];
    };
}

pages! {
    TargetObjectiveNotFound => "KLM1001",
    TargetPoolNotFound => "KLM1002",
    InvalidPoolRef => "KLM1003",
    AmbiguousTargetRef => "KLM1004",
    InferenceObjectiveCrdMissing => "KLM1005",
    InferencePoolCrdMissing => "KLM1006",
    Undecided => "KLM1101",
    ObjectiveInTwoGroups => "KLM1102",
    ObjectiveNotRead => "KLM1103",
    PoolPair => "KLM1104",
    UnsafeSelector => "KLM2001",
    InvalidPoolSelector => "KLM2002",
    SelectorTemplateRenderFailed => "KLM2003",
    MissingContainerDiscriminator => "KLM2004",
    InvalidContainerDiscriminator => "KLM2005",
    SharedServiceAccount => "KLM2101",
    AccountNotUsed => "KLM2110",
    NoSuchContainer => "KLM2111",
    NothingMatches => "KLM2112",
    PodNotInPool => "KLM2113",
    NoBinding => "KLM2114",
    OutsideOnPurpose => "KLM2115",
    SpiffeIdRenderFailed => "KLM3001",
    InvalidSpiffeId => "KLM3002",
    UnsupportedMode => "KLM3003",
    IdentityCollision => "KLM4001",
    DuplicateSpiffeId => "KLM4002",
    Contested => "KLM4101",
    LayeredIdentities => "KLM4110",
    ForeignIdentity => "KLM4111",
    SharedHint => "KLM4112",
    ClusterSpiffeIdCrdMissing => "KLM5001",
    ManagedOutputConflict => "KLM5002",
    ManagedOutputApplyFailed => "KLM5003",
    OutputMissing => "KLM5010",
    OutputDrifted => "KLM5011",
    OrphanOutput => "KLM5012",
    OutputNotWithdrawn => "KLM5013",
    DeletionHeld => "KLM5014",
    BindingDeleting => "KLM5101",
    ClassNotWatched => "KLM6001",
    NamespaceIgnored => "KLM6002",
    TrustDomainDiffers => "KLM6003",
    EntryFailures => "KLM6004",
    ManagerHalted => "KLM6005",
    EntryNotRendered => "KLM6006",
    NamespaceNotRead => "KLM6007",
    FallbackDisplaced => "KLM6101",
    NoPodSelected => "KLM6102",
    EntriesMasked => "KLM6103",
    NotPickedUp => "KLM6104",
    PodsPending => "KLM6105",
    ManagerUnknown => "KLM6106",
    AgentMissing => "KLM6107",
    SocketNotMounted => "KLM6108",
    MeshIdentityReplaced => "KLM7101",
    Unparsable => "KLM9001",
    Unnamed => "KLM9002",
    DeclaredTwice => "KLM9003",
    BadList => "KLM9004",
    UnknownKind => "KLM9005",
    UnsupportedVersion => "KLM9101",
    LimitedByRbac => "KLM9102",
    Unreadable => "KLM9103",
    SettingsDiffer => "KLM9104",
    StatusStale => "KLM9105",
    UnknownField => "KLM9106",
    UnreadableMetadata => "KLM9107",
    FileNotRead => "KLM9108",
    NoObject => "KLM9109",
    OperatorNotFound => "KLM9201",
    OperatorNotReady => "KLM9202",
    DefinitionNotServed => "KLM9203",
    TwoOperators => "KLM9204",
}

/// The sections that are shown.
const SECTIONS: [&str; 3] = ["Cause", "Check", "Fix"];

/// The code that was typed, if it is one.
pub(super) fn code(typed: &str) -> Option<Code> {
    Code::parse(&typed.to_ascii_uppercase())
}

/// Prints it.
pub(super) fn print(out: &mut dyn Write, code: Code) -> io::Result<()> {
    writeln!(out, "{code} ({}): {}", code.severity().as_str(), code.summary())?;
    let page = page(code);
    for section in SECTIONS {
        let Some(text) = section_of(page, section) else { continue };
        writeln!(out, "\n{section}")?;
        for line in text.trim().lines().filter(|line| !line.trim_start().starts_with("```")) {
            let line = without_links(line);
            if line.is_empty() { writeln!(out)? } else { writeln!(out, "  {line}")? }
        }
    }
    writeln!(out, "\nsee {}", code.page())
}

/// What stands below a heading, up to the next.
fn section_of<'a>(page: &'a str, section: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(&format!("\n## {section}\n"))?;
    Some(rest.split("\n## ").next().unwrap_or(rest))
}

/// `[text](address)` as its text: addresses of the site lead nowhere here.
fn without_links(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('[') {
        let link = after.split_once("](").and_then(|(name, tail)| Some((name, tail.split_once(')')?.1)));
        text.push_str(before);
        match link.filter(|(name, _)| !name.contains(['[', ']'])) {
            Some((name, tail)) => {
                text.push_str(name);
                rest = tail;
            }
            None => {
                text.push('[');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_page_with_cause_check_and_fix() {
        assert_eq!(NAMES.len(), Code::ALL.len());
        for (code, name) in NAMES {
            assert_eq!(code.to_string(), *name);
            let mut out = Vec::new();
            print(&mut out, *code).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.starts_with(&format!("{name} (")), "{text}");
            for section in SECTIONS {
                assert!(text.contains(&format!("\n{section}\n  ")), "{section}: {text}");
            }
            assert!(!text.contains("```") && !text.contains("]("), "{text}");
            assert!(page(*code).contains(&format!("# {name}: {}", code.summary())), "{name}");
        }
    }

    #[test]
    fn a_link_is_its_text_and_other_brackets_stay() {
        let shown = without_links("see [the page](../a.md#b), `containers[0]`, or [KLM1](KLM1.md)");
        assert_eq!(shown, "see the page, `containers[0]`, or KLM1");
    }
}
