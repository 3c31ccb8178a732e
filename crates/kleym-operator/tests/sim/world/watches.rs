//! What the operators see, and when.

use std::rc::Rc;
use std::time::Duration;

use kleym_core::kind::Kind;
use kleym_operator::feed::News;
use serde_json::Value;

use super::{Event, World};
use crate::checks::Verified;
use crate::deed::milliseconds;
use crate::feed::Report;
use crate::mutant::Mutant;

impl World {
    /// Has the watches of every kind that changed tell of it soon.
    pub(super) fn wake_watches(&mut self) {
        for kind in Kind::ALL {
            let shelf = self.server.shelf(kind);
            let now = (shelf.log.len(), shelf.changes);
            if self.noted.insert(kind, now) != Some(now) {
                self.pump_all_soon(kind);
            }
        }
    }

    /// Has every operator's watch of a kind tell soon what it has.
    pub(super) fn pump_all_soon(&mut self, kind: Kind) {
        for id in self.ids() {
            self.pump_soon(id, kind);
        }
    }

    /// Has an operator's watch of a kind tell soon what it has.
    pub(super) fn pump_soon(&mut self, id: u32, kind: Kind) {
        let lag = match self.random.below(40) {
            0 => self.random.within(300, 3000),
            1..=4 => self.random.within(20, 300),
            _ => self.random.within(1, 15),
        };
        self.pump_at(id, kind, self.now() + milliseconds(lag));
    }

    fn pump_at(&mut self, id: u32, kind: Kind, at: Duration) {
        let Some(operator) = self.operator_mut(id) else { return };
        if operator.pumping.insert(kind) {
            self.at(at, Event::Pump(id, kind));
        }
    }

    /// Lets an operator's watch of a kind tell what it has.
    pub(super) fn pump(&mut self, id: u32, kind: Kind) -> Verified {
        let Some(operator) = self.operators.iter_mut().find(|operator| operator.id == id) else {
            return Ok(());
        };
        operator.pumping.remove(&kind);
        if let Some(until) = self.weather.frozen_until(id, kind, self.server.now) {
            self.pump_at(id, kind, until);
            return Ok(());
        }
        let (reports, next) = operator.feed.pump(kind, &self.server, &self.weather, &mut self.random);
        let any = !reports.is_empty();
        for report in reports {
            let Some(report) = Mutant::sees(self.mutant, report) else { continue };
            self.note(|| format!("[{id}] {}", describe(&report)));
            let moment = self.moment(id);
            let Some(operator) = self.operators.iter_mut().find(|operator| operator.id == id) else { break };
            operator.conduct.hears_of(&report, self.server.now);
            let news: News = operator.seen.told(report);
            operator.reconciler.take(moment, news);
        }
        if let Some(next) = next {
            self.pump_at(id, kind, next);
        }
        if !any {
            return Ok(());
        }
        // A burst may be seen as a whole before anything is started.
        if self.random.once_in(4) {
            let at = self.now() + milliseconds(2);
            if let Some(operator) = self.operator_mut(id) {
                operator.gathers = at;
            }
            self.at(at, Event::Drive(id));
            return Ok(());
        }
        self.drive(id)
    }
}

fn describe(report: &Report) -> String {
    let object = |object: &Rc<Value>| {
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or("").to_owned();
        format!("{}/{} at {}", text("namespace"), text("name"), text("resourceVersion"))
    };
    match report {
        Report::Listed(kind, _, objects) => {
            let all: Vec<String> = objects.iter().map(object).collect();
            format!("sees all of {}: {}", kind.crd_name(), all.join(", "))
        }
        Report::Put(kind, value) => format!("sees {} {}", kind.crd_name(), object(value)),
        Report::Gone(kind, value) => format!("sees that {} {} is gone", kind.crd_name(), object(value)),
        Report::Anew(asked) => format!("has what was asked for as the {asked}th"),
        Report::Redefined(kind) => format!("sees that {} was redefined", kind.crd_name()),
        Report::Absent(kind) => format!("sees that {} is absent", kind.crd_name()),
        Report::Trouble(kind, trouble) => format!("trouble with {}: {trouble:?}", kind.crd_name()),
    }
}
