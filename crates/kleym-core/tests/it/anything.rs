//! Anything at all: random texts in every place that takes one, and every message there is with any text quoted in it.

use kleym_core::fact::{
    Change, Mode, PoolRefError, PoolSelectorError, SpecError, SpecField, ValueProblem, pool_labels,
};
use kleym_core::index::{Decision, Verdict};
use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use kleym_core::name::NameError;
use kleym_core::plan::{Granting, Remnant, Standing};
use kleym_core::refusal::{Refusal, WriteFailure};
use kleym_core::resolve::Troubles;
use kleym_core::selector::Item;
use kleym_core::status::{ConditionFact, Truth, report};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::sample::select;

use crate::bad_input::judged;
use crate::bad_names::NEVER;
use crate::naive::Naive;
use crate::random::furniture;
use crate::world::{assert_presentable, binding, cases, key, listed, name, settings};

/// Every refusal there is, with a text from outside in every place that takes one.
fn refusals(text: &str) -> Vec<Refusal> {
    let found = || -> Box<str> { text.into() };
    let mut all = Vec::new();
    for problem in [
        ValueProblem::Missing,
        ValueProblem::WrongType { wanted: "a string", found: "a number" },
        ValueProblem::Length { unit: "characters", min: 1, max: 512, found: text.len() },
        ValueProblem::NotOneOf { found: found(), allowed: &["PoolOnly", "PerObjective"] },
        ValueProblem::Name { found: found(), error: NameError::Empty },
        ValueProblem::Duplicate(found()),
    ] {
        all.push(Refusal::Spec(SpecError {
            field: SpecField::SelectorTemplate(31),
            problem: problem.clone(),
        }));
        all.push(Refusal::PoolRef {
            group: ObjectiveGroup::LlmD,
            objective: name("chat"),
            error: PoolRefError::Field { field: "spec.poolRef.name", problem },
        });
    }
    let pool_selectors = [
        PoolSelectorError::UnknownField(found()),
        PoolSelectorError::Field { field: found(), problem: ValueProblem::Duplicate(found()) },
        PoolSelectorError::MatchExpressions,
        PoolSelectorError::Empty,
    ];
    let labels = [pool_labels([(text, "v")]), pool_labels([("k", text)]), pool_labels([(text, text)])];
    for error in pool_selectors.into_iter().chain(labels.into_iter().filter_map(Result::err)) {
        let group = PoolGroup::Inference;
        all.push(Refusal::PoolSelector { group, pool: name("llama"), error });
    }
    for error in [
        PoolRefError::OtherNamespace(found()),
        PoolRefError::UnknownKind(found()),
        PoolRefError::UnknownGroup(found()),
    ] {
        let group = ObjectiveGroup::Inference;
        all.push(Refusal::PoolRef { group, objective: name("chat"), error });
    }
    for failure in [
        WriteFailure::Rejected,
        WriteFailure::FieldUnknown,
        WriteFailure::Altered,
        WriteFailure::Widened,
        WriteFailure::Forbidden,
        WriteFailure::NotServed,
        WriteFailure::Terminating,
        WriteFailure::Outrun,
        WriteFailure::Unavailable,
    ] {
        all.push(Refusal::OutputWrite { name: name(&"o".repeat(253)), failure });
        all.push(Refusal::FinalizerWrite { failure });
    }
    all.push(Refusal::OutputForeign { name: name(&"o".repeat(253)) });
    all.push(Refusal::OutputCrdMissing);
    for declared in [binding("b").template(text), binding("b").id(text), binding("b").container(text)] {
        all.extend(declared.render().err());
    }
    all
}

/// What the status says of this refusal while an output grants this as before, or still grants it and is kept by this, or
/// cannot be looked up.
fn conditions_with_remnant(refusal: &Refusal, text: &str) -> Vec<ConditionFact> {
    let output = name(&"o".repeat(253));
    let granting = Granting {
        output: output.clone(),
        spiffe_id: text.into(),
        failure: WriteFailure::Forbidden,
        kept_by: vec![text.into(); 9],
    };
    let unproved = Remnant::Unproved { output: output.clone(), failure: WriteFailure::NotServed };
    let standing = Remnant::AsBefore { output, spiffe_id: text.into() };
    let of = |remnant| {
        let standing = Standing::Refused { refusal: refusal.clone(), remnant };
        let decision = Decision { verdict: Verdict::Refused(refusal.clone()), held: Troubles::new() };
        report(&settings(), &key("llm", "chat"), Some(1), &decision, &standing).unwrap().conditions
    };
    [standing, Remnant::Granting(granting), unproved].into_iter().flat_map(of).collect()
}

#[test]
fn every_message_is_short_and_printable_whatever_it_quotes() {
    let long =
        ["x".repeat(1_000_000), "\u{202e}".repeat(1_000_000), "\u{1b}[31m".repeat(1000), "`".repeat(512)];
    for text in NEVER.into_iter().chain(long.iter().map(String::as_str)) {
        for refusal in refusals(text) {
            assert_presentable(&refusal.message());
            refusal.hint().iter().for_each(|hint| assert_presentable(hint));
            let conditions = conditions_with_remnant(&refusal, text).into_iter();
            for condition in conditions.filter(|condition| condition.status == Truth::True) {
                assert_presentable(&condition.message);
            }
        }
    }
}

/// Texts that are nearly what is asked for: pieces of templates, selectors and IDs in any order.
fn soup() -> impl Strategy<Value = String> {
    let pieces = select(&[
        "{{",
        "}}",
        "{",
        "}",
        "-",
        " ",
        "\n",
        ".Namespace",
        "{{ .Namespace }}",
        "{{.PoolName}}",
        "{{- .Mode -}}",
        "{{.ContainerDiscriminatorValue}}",
        "{{.ObjectiveName}}",
        "{{ .TrustDomain }}",
        "{{.X}}",
        "k8s:",
        "unix:",
        "k8s",
        "unix",
        "ns:",
        "sa:",
        "pod-label:",
        "pod-uid:",
        "container-name:",
        "container-image:",
        "uid:",
        "app:",
        "llama",
        "LLAMA",
        "server",
        "llm",
        "web",
        "vllm",
        ":",
        "::",
        "/",
        "//",
        ".",
        "..",
        "@",
        "%2f",
        "spiffe://",
        "SPIFFE://",
        "example.org",
        "/ns/",
        "/NS/",
        "/sa/",
        "/pool/",
        "/objective/",
        "chat",
        "/team-a",
        "/Team-A",
        "\u{430}",
        "\u{202e}",
        "\0",
        "x",
        "X",
        "0",
    ]);
    vec(pieces, 0..9).prop_map(|pieces| pieces.concat())
}

fn path() -> impl Strategy<Value = String> {
    let segments = select(&[
        "ns",
        "llm",
        "web",
        "sa",
        "server",
        "pool",
        "llama",
        "objective",
        "chat",
        "x",
        "X",
        ".",
        "{{ .PoolName }}",
        "{{.BindingName}}",
        "{{ .ObjectiveName -}} ",
        "{{.ContainerDiscriminatorValue}}",
        "a_-.",
        "%2f",
        "SA",
    ]);
    let head = select(&["/ns/llm", "/ns/{{ .Namespace }}", "/team-a", "/Team-C", "/team-b", ""]);
    (head, vec(segments, 0..4)).prop_map(|(head, segments)| {
        segments
            .into_iter()
            .fold(format!("spiffe://{{{{.TrustDomain}}}}{head}"), |id, segment| id + "/" + segment)
    })
}

fn item() -> impl Strategy<Value = String> {
    let key = select(&[
        "k8s:container-image",
        "k8s:pod-image",
        "k8s:pod-label:tier",
        "k8s:pod-label:app",
        "k8s:ns-label:a/b",
        "k8s:pod-owner:Job",
        "unix:path",
        "unix:uid",
        "k8s:node-name",
        "k8s:image-signature-subject",
        "k8s:pod-uid",
    ]);
    let value = vec(
        select(&[
            "a",
            "B",
            "{{ .PoolName }}",
            "{{.Mode}}",
            ":",
            "/",
            "@",
            "-",
            "k8s",
            "unix",
            "uid:",
            ".",
            "llama",
        ]),
        1..4,
    );
    (key, value).prop_map(|(key, value)| format!("{key}:{}", value.concat()))
}

fn text() -> impl Strategy<Value = String> {
    let id = soup().prop_map(|soup| format!("spiffe://example.org/ns/llm/{soup}"));
    prop_oneof![3 => soup(), 4 => path(), 5 => item(), 1 => id, 1 => any::<String>()]
}

proptest! {
    #![proptest_config(cases(6000))]

    /// Rendering never panics; what it gives obeys every proof obligation; what it refuses, it refuses presentably, and
    /// for the reason a second reading of the contract gives.
    #[test]
    fn anything_is_refused_presentably_or_rendered_safely(
        templates in vec(prop_oneof![4 => item(), 1 => text()], 0..3),
        usual in prop_oneof![1 => Just(false), 4 => Just(true)],
        id in option::of(prop_oneof![3 => path(), 1 => text()]),
        discriminator in option::of((
            prop_oneof![1 => Just(false), 4 => Just(true)],
            prop_oneof![soup(), "[a-zA-Z0-9/:@.]{1,9}"],
        )),
        target in select(&["chat", "code", "llama"]),
    ) {
        let mut declared = if target == "llama" {
            binding("b").of_pool("llama", None)
        } else {
            binding("b").objective(target).pool_only()
        };
        let templates = templates.iter().map(String::as_str);
        let usually = ["k8s:ns:llm", "k8s:sa:server"].into_iter().filter(|_| usual);
        declared = declared.templates(usually.chain(templates));
        if let Some(id) = &id {
            declared = declared.id(id);
        }
        if let Some((per_objective, value)) = &discriminator {
            declared = declared.container(value);
            if *per_objective {
                declared.0.spec.as_mut().unwrap().mode = Mode::PerObjective;
            }
        }
        let (mut index, mut model) = (listed(), Naive::default());
        for kind in Kind::ALL {
            model.apply(&Change::Listed(kind, Vec::new()));
        }
        for change in furniture("llm", true, true).into_iter().chain([declared.put()]) {
            model.apply(&change);
            index.apply(change);
        }
        let decision = index.verdict(&key("llm", "b"));
        model.assert_agrees(&key("llm", "b"), &decision);
        match decision.verdict {
            Verdict::Wanted(identity) => drop(judged(Ok((*identity).clone()))),
            Verdict::Refused(refusal) => drop(judged(Err(refusal))),
            other => panic!("neither wanted nor refused: {other:?}"),
        }
    }

    #[test]
    fn any_text_can_be_quoted_in_any_message(text in prop_oneof![any::<String>(), soup()]) {
        for refusal in refusals(&text) {
            assert_presentable(&refusal.message());
        }
    }

    /// spire-controller-manager joins type and value of all items without separators when it keys its entries: every
    /// such key can be taken apart into allowed items in one way only, so no entry masks another.
    #[test]
    fn joined_without_separators_items_can_be_told_apart_again(
        items in vec(prop_oneof![4 => item(), 1 => text(), 1 => Just("k8s:container-image:ak8s".to_owned())], 1..6),
    ) {
        let items: Vec<Item> = items.iter().filter_map(|text| Item::parse(text).ok()).collect();
        let joined: String = items.iter().map(|item| item.as_str().replacen(':', "", 1)).collect();
        let mut starts: Vec<usize> = ["k8s", "unix"]
            .iter()
            .flat_map(|kind| joined.match_indices(kind).map(|(at, _)| at))
            .filter(|at| *at > 0)
            .collect();
        starts.sort_unstable();
        starts.truncate(10);
        let mut ways = Vec::new();
        for choice in 0..1_usize << starts.len() {
            let chosen = starts.iter().enumerate().filter(|(bit, _)| choice >> bit & 1 == 1).map(|(_, at)| *at);
            let cuts: Vec<usize> = [0].into_iter().chain(chosen).chain([joined.len()]).collect();
            let parts: Option<Vec<Item>> = cuts.windows(2).map(|cut| unjoined(&joined[cut[0]..cut[1]])).collect();
            ways.extend(parts);
        }
        if !items.is_empty() && starts.len() < 10 {
            assert_eq!(ways, [items]);
        }
    }
}

/// The item whose type and value, joined, are this text.
fn unjoined(text: &str) -> Option<Item> {
    let kind = ["k8s", "unix"].into_iter().find(|kind| text.starts_with(kind))?;
    Item::parse(&format!("{kind}:{}", &text[kind.len()..])).ok()
}
