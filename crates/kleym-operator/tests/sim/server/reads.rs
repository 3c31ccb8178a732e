//! What is read: objects, lists and their pages, and what happened since a version.

use std::collections::BTreeMap;
use std::rc::Rc;

use kleym_core::kind::Kind;
use serde_json::{Value, json};

use super::verbs::Response;
use super::{Event, Place, Refused, Server};

impl Server {
    /// The version of the newest write.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// What happened to the objects of a kind after a version.
    pub(crate) fn since(&self, kind: Kind, version: u64) -> Result<&[Event], Refused> {
        let shelf = self.shelf(kind);
        if version < shelf.forgotten {
            return Err(Refused::Expired);
        }
        let first = shelf.log.partition_point(|event| event.version <= version);
        Ok(&shelf.log[first..])
    }

    /// The same as a watch tells it; of one namespace, or of all.
    pub(crate) fn told_since(&self, kind: Kind, namespace: &str, version: u64) -> Vec<(&'static str, Value)> {
        let events = match self.since(kind, version) {
            Ok(events) => events,
            Err(refused) => {
                let status = refused.status(&Place::new(kind, namespace, ""));
                return vec![("ERROR", status.unwrap_or_default())];
            }
        };
        let inside =
            |event: &&Event| namespace.is_empty() || event.value["metadata"]["namespace"] == namespace;
        events
            .iter()
            .filter(inside)
            .map(|event| {
                let sort = match (event.gone, event.created) {
                    (true, _) => "DELETED",
                    (false, true) => "ADDED",
                    (false, false) => "MODIFIED",
                };
                (sort, Value::clone(&event.value))
            })
            .collect()
    }

    /// Forgets what happened to the objects of a kind up to now.
    pub(crate) fn forget(&mut self, kind: Kind) {
        let version = self.version;
        self.shelves.get_mut(&kind).unwrap().forgotten = version;
    }

    /// The list of all objects of one name.
    pub(super) fn list(&self, place: &Place) -> Rc<Value> {
        let items: Vec<Value> =
            self.objects.get(place).map(|stored| Value::clone(&stored.value)).into_iter().collect();
        Rc::new(list(place.kind, self.version, "", &items))
    }

    /// A page of a list: so many objects at most, from where the page before ended, all as they stood at the first page.
    pub(super) fn page(&self, kind: Kind, namespace: &str, asked: &Value) -> Response {
        let limit =
            asked["limit"].as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let token = asked["continue"].as_str().filter(|token| !token.is_empty());
        let (version, after) = match token.and_then(|token| token.split_once('|')) {
            Some((version, after)) => (version.parse().map_err(|_| Refused::Expired)?, after),
            None => (self.version, ""),
        };
        let place = |value: &Value| {
            let text = |field: &str| value["metadata"][field].as_str().unwrap_or("").to_owned();
            format!("{}/{}", text("namespace"), text("name"))
        };
        let then = self.at(kind, version)?;
        let mut rest =
            then.values().filter(|value| namespace.is_empty() || value["metadata"]["namespace"] == namespace);
        let mut rest = rest.by_ref().filter(|value| place(value).as_str() > after).peekable();
        let mut items = Vec::new();
        while items.len() < limit
            && let Some(value) = rest.next()
        {
            items.push(Value::clone(value));
        }
        let next = match (rest.peek(), items.last()) {
            (Some(_), Some(last)) => format!("{version}|{}", place(last)),
            _ => String::new(),
        };
        Ok(Rc::new(list(kind, version, &next, &items)))
    }

    /// The objects of a kind as they stood at a version.
    fn at(&self, kind: Kind, version: u64) -> Result<BTreeMap<Place, Rc<Value>>, Refused> {
        let shelf = self.shelf(kind);
        if version < shelf.forgotten {
            return Err(Refused::Expired);
        }
        let mut objects = BTreeMap::new();
        for event in shelf.log.iter().take_while(|event| event.version <= version) {
            let text = |field: &str| event.value["metadata"][field].as_str().unwrap_or("");
            let place = Place::new(kind, text("namespace"), text("name"));
            if event.gone {
                objects.remove(&place);
            } else {
                objects.insert(place, Rc::clone(&event.value));
            }
        }
        Ok(objects)
    }
}

fn list(kind: Kind, version: u64, next: &str, items: &[Value]) -> Value {
    json!({
        "apiVersion": kind.api_version(),
        "kind": format!("{}List", kind.kind()),
        "metadata": {"resourceVersion": version.to_string(), "continue": next},
        "items": items,
    })
}
