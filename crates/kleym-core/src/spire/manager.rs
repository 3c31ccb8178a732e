//! SCM's own settings: which ClusterSPIFFEIDs it looks at, and in which namespaces.

use std::fmt;

use regex_lite::Regex;

use super::answer::Answer;
use super::registration::Registration;
use super::template::Template;
use crate::settings::Settings;
use crate::text::Quoted;

/// The settings of spire-controller-manager; what nobody could read is None.
#[derive(Debug, Clone, Default)]
pub struct Manager {
    /// Which classes it watches.
    pub class: Option<Class>,
    /// `ignoreNamespaces`
    pub ignored: Option<Vec<Ignored>>,
    /// `cacheNamespaces`, and `cacheNamespace` before it: the only namespaces whose pods it reads; None for all of them.
    pub cached: Option<Vec<Box<str>>>,
    /// `trustDomain`
    pub trust_domain: Option<Box<str>>,
    /// `clusterName`
    pub cluster_name: Option<Box<str>>,
    /// `clusterDomain`
    pub cluster_domain: Option<Box<str>>,
    /// `parentIDTemplate`; None for SCM's own (`scm: defaultParentIDTemplate`).
    pub parent_id: Option<Template>,
    /// Where all this was read.
    pub at: Option<Box<str>>,
    /// What of this nobody could read, and was assumed by [`Manager::fitting`].
    pub assumed: Assumed,
}

/// Settings that were assumed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Assumed {
    /// The class.
    pub class: bool,
    /// That no namespace is ignored.
    pub ignored: bool,
    /// The trust domain.
    pub trust_domain: bool,
}

/// The classes that SCM watches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Class {
    /// `className`; empty for none.
    pub name: Box<str>,
    /// `watchClassless`
    pub classless: bool,
    /// `filterByClassName`: only objects that carry the class as label `spire.spiffe.io/class-name` are seen.
    pub by_label: bool,
}

/// Why SCM does not look at an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotWatched {
    /// It has a class that SCM does not watch.
    OtherClass,
    /// It has no class, and SCM does not watch such objects.
    Classless,
    /// It lacks the label that SCM filters by.
    NoLabel,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classless = if self.classless { "and classless objects" } else { "and no classless objects" };
        if self.name.is_empty() {
            // With an empty class name only classless objects match, whatever `watchClassless` says.
            f.write_str("classless objects only")
        } else {
            write!(f, "class {} {classless}", Quoted(&self.name))
        }
    }
}

/// One of `ignoreNamespaces`: a Go regular expression, searched for anywhere in the name (`scm:
/// pkg/namespace, IsIgnored`), so `kube-system` ignores `my-kube-system-2` too.
#[derive(Debug, Clone)]
pub struct Ignored {
    pattern: Box<str>,
    /// None when it is no expression that can be read here.
    regex: Option<Regex>,
}

impl Ignored {
    /// Reads a pattern. Go's expressions and ours have one ancestor; what only Go understands makes the answer unknown.
    pub fn new(pattern: &str) -> Self {
        Self { pattern: pattern.into(), regex: Regex::new(pattern).ok() }
    }

    /// As it is written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Whether it can be read here.
    pub fn readable(&self) -> bool {
        self.regex.is_some()
    }

    /// The pattern with anchors around it, where the namespace is ignored only because it is searched for anywhere in the name.
    pub fn anchored(&self, namespace: &str) -> Option<String> {
        let inner = &*self.pattern;
        let anchored = if inner.contains('|') {
            format!("^({inner})$")
        } else {
            format!("^{}$", inner.trim_start_matches('^').trim_end_matches('$'))
        };
        let regex = Regex::new(&anchored).ok()?;
        (self.matches(namespace).certain() && !regex.is_match(namespace)).then_some(anchored)
    }

    fn matches(&self, namespace: &str) -> Answer {
        self.regex.as_ref().map_or(Answer::Unknown, |regex| regex.is_match(namespace).into())
    }
}

impl Manager {
    /// What nobody could read is taken to fit what Kleym writes: SCM watches Kleym's class, ignores no namespace, and has
    /// Kleym's trust domain. What that says nothing of stays unknown: whether SCM watches objects without a class when
    /// Kleym writes one, and of which class it is when Kleym writes none.
    #[must_use]
    pub fn fitting(self, settings: &Settings) -> Self {
        let assumed = Assumed {
            class: self.class.is_none() || self.assumed.class,
            ignored: self.ignored.is_none() || self.assumed.ignored,
            trust_domain: self.trust_domain.is_none() || self.assumed.trust_domain,
        };
        let class = || {
            let name = settings.class_name.as_ref().map(|class| class.as_str().into()).unwrap_or_default();
            Class { name, classless: false, by_label: false }
        };
        Self {
            class: Some(self.class.unwrap_or_else(class)),
            ignored: Some(self.ignored.unwrap_or_default()),
            trust_domain: Some(self.trust_domain.unwrap_or_else(|| settings.trust_domain.as_str().into())),
            assumed,
            ..self
        }
    }

    /// The same for several operators, each with settings of its own: what is not known of an SCM is taken to fit each of
    /// them, as if each had an SCM of its own.
    #[must_use]
    pub fn all_fitting(known: Vec<Self>, settings: &[&Settings]) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for manager in known {
            for settings in settings {
                let fitting = manager.clone().fitting(settings);
                let same = |other: &Self| {
                    (&other.at, &other.class, &other.trust_domain)
                        == (&fitting.at, &fitting.class, &fitting.trust_domain)
                };
                if !all.iter().any(same) {
                    all.push(fitting);
                }
            }
        }
        all
    }

    /// Whether SCM looks at this object.
    ///
    /// `processed <=> class == className || (class == "" && watchClassless)` (`scm: pkg/spireentry/reconciler.go,
    /// reconcileClass`); with `filterByClassName` only objects that carry the class as a label are in its cache.
    pub fn watches(&self, object: &Registration) -> (Answer, Option<NotWatched>) {
        let Some(class) = &self.class else { return (Answer::Unknown, None) };
        let named = *object.class_name == *class.name;
        if self.assumed.class && !named && (object.class_name.is_empty() || class.name.is_empty()) {
            return (Answer::Unknown, None);
        }
        let not = if named || (object.class_name.is_empty() && class.classless) {
            // Without a class there is nothing to filter by.
            let filtered = class.by_label && !class.name.is_empty();
            (filtered && object.class_label.as_deref() != Some(&*class.name)).then_some(NotWatched::NoLabel)
        } else if object.class_name.is_empty() {
            Some(NotWatched::Classless)
        } else {
            Some(NotWatched::OtherClass)
        };
        (Answer::from(not.is_none()), not)
    }

    /// Whether SCM leaves a namespace out, and by which pattern.
    pub fn ignores(&self, namespace: &str) -> (Answer, Option<&Ignored>) {
        let Some(ignored) = &self.ignored else { return (Answer::Unknown, None) };
        let answers = ignored.iter().map(|pattern| (pattern.matches(namespace), Some(pattern)));
        answers
            .max_by_key(|(answer, _)| *answer)
            .filter(|(answer, _)| answer.possible())
            .unwrap_or((Answer::No, None))
    }

    /// Whether SCM's cache holds the pods of a namespace. One that it does not hold has none for SCM, and no entry
    /// (`scm: cmd/main.go`, the cache's `DefaultNamespaces`); the namespace itself lives in none, and is seen.
    pub fn reads(&self, namespace: &str) -> bool {
        self.cached.as_ref().is_none_or(|cached| cached.iter().any(|name| **name == *namespace))
    }

    /// Every pattern by which SCM leaves a namespace out, for certain.
    pub fn ignoring<'a>(&'a self, namespace: &str) -> impl Iterator<Item = &'a Ignored> {
        self.ignored.iter().flatten().filter(move |pattern| pattern.matches(namespace).certain())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::TypedSettings;

    fn object(class: &str) -> Registration {
        Registration { class_name: class.into(), ..Registration::default() }
    }

    fn manager(name: &str, classless: bool) -> Manager {
        let class = Class { name: name.into(), classless, by_label: false };
        Manager { class: Some(class), ..Manager::default() }
    }

    #[test]
    fn a_class_is_watched_by_its_name_and_classless_objects_on_demand() {
        for (scm, classless, class, why) in [
            ("spire-spire", false, "spire-spire", None),
            ("spire-spire", false, "", Some(NotWatched::Classless)),
            ("spire-spire", true, "", None),
            ("spire-spire", true, "other", Some(NotWatched::OtherClass)),
            ("", false, "", None),
            ("", true, "other", Some(NotWatched::OtherClass)),
        ] {
            let answer = manager(scm, classless).watches(&object(class));
            assert_eq!(answer, (Answer::from(why.is_none()), why), "{scm:?} {classless} {class:?}");
        }
        assert_eq!(Manager::default().watches(&object("a")), (Answer::Unknown, None));
    }

    #[test]
    fn what_is_not_known_is_taken_to_fit_what_kleym_writes_and_nothing_more() {
        let settings = |class: &str| {
            let class = class.to_owned();
            let typed = TypedSettings {
                trust_domain: None,
                class_name: Some(&class),
                instance: None,
                path_grants: &[],
            };
            Settings::given(typed, &|_| None).unwrap()
        };
        let watches =
            |ours: &str, class: &str| Manager::default().fitting(&settings(ours)).watches(&object(class)).0;
        assert_eq!(watches("ours", "ours"), Answer::Yes);
        assert_eq!(watches("ours", ""), Answer::Unknown);
        assert_eq!(watches("ours", "other"), Answer::No);
        assert_eq!(watches("", ""), Answer::Yes);
        assert_eq!(watches("", "other"), Answer::Unknown);

        let fitting = Manager::default().fitting(&settings("ours"));
        assert_eq!(fitting.trust_domain.as_deref(), Some("kleym.sonda.red"));
        assert_eq!(fitting.ignores("kube-system").0, Answer::No);
        // What is known stays as it is.
        let known = manager("theirs", true).fitting(&settings("ours"));
        assert_eq!(known.watches(&object("ours")).0, Answer::No);
        assert_eq!(known.assumed, Assumed { class: false, ignored: true, trust_domain: true });
    }

    #[test]
    fn what_is_not_known_fits_each_of_several_operators() {
        let settings = |domain: &str, class: &str| {
            let (domain, class) = (domain.to_owned(), class.to_owned());
            let (trust_domain, class_name) = (Some(&domain), Some(&class));
            let typed = TypedSettings { trust_domain, class_name, instance: None, path_grants: &[] };
            Settings::given(typed, &|_| None).unwrap()
        };
        let [east, west] = [settings("east.example", "east"), settings("west.example", "west")];
        let domains = |known: Vec<Manager>, all: &[&Settings]| -> Vec<String> {
            let all = Manager::all_fitting(known, all);
            all.iter().map(|manager| format!("{:?} {:?}", manager.class, manager.trust_domain)).collect()
        };
        let unknown = || vec![Manager::default()];
        assert_eq!(domains(unknown(), &[&east, &west]).len(), 2);
        assert_eq!(domains(unknown(), &[&east, &east]).len(), 1);
        // One that is known stays the only one: nothing makes up another beside it.
        let known = Manager { trust_domain: Some("east.example".into()), ..manager("east", false) };
        assert_eq!(domains(vec![known], &[&east, &west]).len(), 1);
    }

    #[test]
    fn a_manager_that_filters_by_label_sees_only_labelled_objects() {
        let mut manager = manager("spire-spire", false);
        manager.class.as_mut().unwrap().by_label = true;
        assert_eq!(manager.watches(&object("spire-spire")).1, Some(NotWatched::NoLabel));
        let labelled = Registration { class_label: Some("spire-spire".into()), ..object("spire-spire") };
        assert_eq!(manager.watches(&labelled), (Answer::Yes, None));
    }

    #[test]
    fn ignored_namespaces_are_searched_for_not_matched_whole() {
        let ignored = ["kube-system", "^openshift-.*$", "ibm-[", r"\Qa\E"].map(Ignored::new).to_vec();
        let manager = |n: usize| Manager { ignored: Some(ignored[..n].to_vec()), ..Manager::default() };
        assert_eq!(manager(2).ignores("my-kube-system-2").0, Answer::Yes);
        assert_eq!(manager(2).ignores("openshift-ai").1.map(Ignored::pattern), Some("^openshift-.*$"));
        assert_eq!(manager(2).ignores("llm").0, Answer::No);
        assert_eq!(manager(3).ignores("llm").0, Answer::Unknown);
        assert_eq!(manager(3).ignores("kube-system").0, Answer::Yes);
        assert_eq!(Manager::default().ignores("llm").0, Answer::Unknown);
        let all = manager(4);
        let by: Vec<&str> = all.ignoring("my-kube-system-2").map(Ignored::pattern).collect();
        assert_eq!(by, ["kube-system"]);
    }

    #[test]
    fn an_anchor_is_named_only_where_it_lets_the_namespace_go() {
        for (pattern, namespace, anchored) in [
            ("kube-system", "my-kube-system-2", Some("^kube-system$")),
            ("^ml", "ml-prod", Some("^ml$")),
            ("ml|web", "ml-prod", Some("^(ml|web)$")),
            ("openshift-.*", "openshift-ai", None),
            ("l.m", "llm", None),
            ("llm", "llm", None),
            ("web", "llm", None),
            ("ibm-[", "ibm-x", None),
        ] {
            assert_eq!(
                Ignored::new(pattern).anchored(namespace).as_deref(),
                anchored,
                "{pattern} {namespace}"
            );
        }
    }
}
