//! What every test asks of its world in the end: that nothing is left to do, and that no rule was broken on the way.

use std::collections::{BTreeMap, BTreeSet};

use clap::Parser;
use kleym_api::decode;
use kleym_core::fact::{Change, Fact};
use kleym_core::index::Index;
use kleym_core::kind::Kind;
use kleym_core::settings::Settings;
use kleym_operator::settings::Flags;
use kube::api::{DeleteParams, ListParams};
use serde_json::Value;

use super::operator::Log;
use super::{OBJECTIVE, OBJECTIVE_X, World, checker, recorder, text, value};

impl World {
    /// Lets the test break a rule on purpose: `S4`, say, where a write lands late that nobody could hold back.
    pub(crate) fn excuse(&self, rule: &'static str) {
        self.excused.lock().unwrap().push(rule);
    }

    /// Lets a binding's output overlap others until it is swept: a write of it lands late, and nobody could hold it back.
    pub(crate) fn displaced(&self, binding: &str) {
        self.displaced.lock().unwrap().push(self.output_name(binding));
    }

    /// Expects of bindings and outputs what holds when nothing happens any more.
    pub(crate) async fn is_settled(&self) {
        let broken = self.unsettled().await;
        assert!(broken.is_empty(), "{broken:#?}");
    }

    /// What does not hold of that.
    pub(crate) async fn unsettled(&self) -> Vec<String> {
        let settings = self.settings.lock().unwrap().last().map(|(_, settings)| settings.clone());
        let settings = settings.or_else(|| settings_of(&self.instance, &[])).unwrap();
        checker::settled(&checker::End {
            namespace: &self.namespace,
            bindings: &self.all(Kind::Binding).await,
            outputs: &self.all(Kind::Output).await,
            pools: &self.pools().await,
            index: &self.index(settings).await,
        })
    }

    /// The engine's index of everything that is there.
    async fn index(&self, settings: Settings) -> Index {
        let mut index = Index::new(settings);
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Output) {
            index.apply(match self.api(kind).list(&ListParams::default()).await {
                Ok(list) => {
                    let facts = list.iter().map(|object| decode::fact(kind, &value(object)));
                    Change::Listed(kind, facts.collect::<Result<Vec<Fact>, _>>().unwrap())
                }
                Err(_) => Change::Absent(kind),
            });
        }
        index
    }

    /// The pool of each objective whose kind is served; of two of one name, that of the group that comes first.
    async fn pools(&self) -> BTreeMap<String, String> {
        let mut pools = BTreeMap::new();
        for kind in [OBJECTIVE, OBJECTIVE_X] {
            let Ok(objectives) = self.api(kind).list(&ListParams::default()).await else { continue };
            for objective in objectives {
                if let Some(pool) = objective.data["spec"]["poolRef"]["name"].as_str() {
                    let name = objective.metadata.name.unwrap_or_default();
                    pools.entry(name).or_insert_with(|| pool.to_owned());
                }
            }
        }
        pools
    }

    /// Ends the world, when thousands share a control plane: no rule was broken, and nothing of it is left behind.
    pub(crate) async fn close(mut self) {
        let broken = self.broken_rules().await;
        assert!(broken.is_empty(), "`{}` broke rules: {broken:#?}", self.user);
        self.checked = true;
        let outputs = self.all(Kind::Output).await.into_iter().filter(|output| {
            let name = text(&output["metadata"]["name"]);
            self.may_hold(recorder::Place { kind: Kind::Output, namespace: "", name })
        });
        let bindings = self.all(Kind::Binding).await.into_iter();
        let all = bindings
            .map(|object| (Kind::Binding, object))
            .chain(outputs.map(|object| (Kind::Output, object)));
        for (kind, object) in all {
            let name = text(&object["metadata"]["name"]);
            if object["metadata"].get("finalizers").is_some() {
                self.edit(kind, name, serde_json::json!({"metadata": {"finalizers": null}})).await;
            }
            // One that was being deleted is gone by now.
            let _ = self.api(kind).delete(name, &DeleteParams::default()).await;
        }
        for kind in Kind::ALL.into_iter().filter(|kind| matches!(kind, Kind::Objective(_) | Kind::Pool(_))) {
            let _ = self.api(kind).delete_collection(&DeleteParams::default(), &ListParams::default()).await;
        }
        // Every version has been recorded before it is forgotten.
        self.plane.versions(&Kind::ALL, |place| self.may_hold(place)).await;
        self.plane.forget(|place| self.may_hold(place));
        self.audit.forget_bodies(|call| {
            call.user == self.user || call.namespace == self.namespace || call.name.contains(&self.namespace)
        });
    }

    /// Whether a place is in this world's namespace, or of an output that may be for a binding in it.
    fn may_hold(&self, place: recorder::Place<'_>) -> bool {
        match place.kind {
            // A long name is cut.
            Kind::Output => place.name.contains(&self.namespace) || self.namespace.len() > 60,
            _ => place.namespace == self.namespace,
        }
    }

    /// Every version of what the operator wrote, of this world's bindings and outputs, and of all that identities in the
    /// namespaces that it wrote for depend on.
    async fn versions_of(&self, calls: &[kleym_testenv::Call]) -> Vec<recorder::Version> {
        let own: Vec<_> = calls.iter().filter(|call| call.user == self.user).collect();
        let written: BTreeSet<&str> = own
            .iter()
            .filter(|call| call.resource == checker::OUTPUTS && call.verb != "list" && call.verb != "watch")
            .map(|call| call.name.as_str())
            .collect();
        let touched = |place: recorder::Place<'_>| self.may_hold(place) || written.contains(place.name);
        let mut versions = self.plane.versions(&[Kind::Output], touched).await;
        let of = |object: &Value| {
            let binding = object["metadata"]["annotations"]["kleym.sonda.red/binding"].as_str()?;
            Some(binding.split_once('/')?.0.to_owned())
        };
        let mut namespaces: BTreeSet<String> =
            versions.iter().filter_map(|version| of(&version.object)).collect();
        namespaces.extend(own.iter().filter_map(|call| of(call.request.as_ref()?)));
        namespaces.insert(self.namespace.clone());
        let others: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Output).collect();
        versions.extend(self.plane.versions(&others, |place| namespaces.contains(place.namespace)).await);
        versions.sort_by_key(|version| version.revision);
        versions
    }

    /// Which rules were broken since the world began, by whatever operator.
    async fn broken_rules(&self) -> Vec<String> {
        let calls = match self.audit.calls_since(self.began).await {
            Ok(calls) => calls,
            // The API server may have been stopped by the test.
            Err(_) => self.audit.recorded_since(self.began),
        };
        let versions = self.versions_of(&calls).await;
        let testimony = checker::Testimony::of(&self.logs.lock().unwrap());
        let excused = self.excused.lock().unwrap().clone();
        let displaced = self.displaced.lock().unwrap().clone();
        let settings = self.settings.lock().unwrap().clone();
        let mut broken = checker::violations(&checker::Evidence {
            user: &self.user,
            instance: &self.instance,
            namespace: &self.namespace,
            calls: &calls,
            versions: &versions,
            excused: &excused,
            displaced: &displaced,
            settings: &settings,
            testimony: &testimony,
        });
        broken.extend(self.panics().into_iter().map(|line| format!("L5: {line}")));
        broken
    }

    /// What the operators said of code that gave up.
    fn panics(&self) -> Vec<String> {
        let logs = self.logs.lock().unwrap();
        let said = |log: &Log| log.lock().unwrap().clone();
        let lines = logs.iter().map(said).collect::<String>();
        lines.lines().filter(|line| line.contains("panicked at")).map(str::to_owned).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.checked {
            // The test's own runtime stands still here.
            let broken = std::thread::scope(|scope| {
                let check = scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(self.broken_rules())
                });
                check.join().unwrap()
            });
            assert!(broken.is_empty(), "`{}` broke rules: {broken:#?}", self.user);
        }
        if std::thread::panicking() {
            eprintln!("--- calls of `{}`:", self.user);
            for call in self.audit.recorded_since(self.began).iter().filter(|call| call.user == self.user) {
                eprintln!("{} {} {} {} {}", call.received, call.verb, call.target(), call.name, call.code);
            }
        }
    }
}

/// What an operator of an instance decides by when it is started with these flags; none when it refuses to start.
pub(super) fn settings_of(instance: &str, flags: &[&str]) -> Option<Settings> {
    let instance = format!("--instance={instance}");
    let given = flags.iter().any(|flag| flag.split('=').next() == Some("--instance"));
    let instance = (!given).then_some(instance.as_str());
    let flags =
        Flags::try_parse_from(["kleym-operator"].into_iter().chain(instance).chain(flags.iter().copied()));
    Some(flags.ok()?.resolve(&|_| None).ok()?.settings)
}
