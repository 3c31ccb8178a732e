//! Settings by namespace: several operators may work in one cluster, each with settings and namespaces of its own. An
//! operator has one for all of its own; a reader of a whole cluster may have several.

use std::collections::BTreeMap;

use super::Settings;
use crate::name::Namespace;

/// The settings of every namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsByNamespace {
    rest: Settings,
    own: BTreeMap<Namespace, Settings>,
}

impl From<Settings> for SettingsByNamespace {
    fn from(settings: Settings) -> Self {
        Self { rest: settings, own: BTreeMap::new() }
    }
}

impl SettingsByNamespace {
    /// Settings of some namespaces, and of the rest.
    pub fn new(rest: Settings, own: BTreeMap<Namespace, Settings>) -> Self {
        Self { rest, own }
    }

    /// Those of every namespace that has none of its own.
    pub fn rest(&self) -> &Settings {
        &self.rest
    }

    /// Those of one namespace.
    pub fn of(&self, namespace: &Namespace) -> &Settings {
        self.own_of(namespace).unwrap_or(&self.rest)
    }

    /// Those of a namespace that has settings of its own.
    pub fn own_of(&self, namespace: &Namespace) -> Option<&Settings> {
        self.own.get(namespace)
    }

    /// Every different one: of the namespaces that have their own; of the rest, where none has.
    pub fn different(&self) -> Vec<&Settings> {
        let mut different: Vec<&Settings> = Vec::new();
        for settings in self.own.values() {
            if !different.contains(&settings) {
                different.push(settings);
            }
        }
        if different.is_empty() { vec![&self.rest] } else { different }
    }

    /// The namespaces that have settings of their own, and these.
    pub fn own(&self) -> impl Iterator<Item = (&Namespace, &Settings)> {
        self.own.iter()
    }

    /// The same namespaces, with what becomes of the settings of each.
    #[must_use]
    pub fn map(&self, mut change: impl FnMut(&Settings) -> Settings) -> Self {
        let own = self.own.iter().map(|(namespace, settings)| (namespace.clone(), change(settings)));
        let own = own.collect();
        Self::new(change(&self.rest), own)
    }
}
