//! A scenario on its way: where it begins, what it calls when nothing goes wrong, and that it has come to its end. What
//! every test begins from, and compares with, that lets something go wrong in one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use kleym_testenv::proxy::{Asked, Point, Proxy};
use kleym_testenv::{Call, Mark, eventually};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::scenario::Scenario;
use crate::world::{Operator, World};

/// How long a scenario may take to its end after the last fault: as long as the longest back-off of a watch, and some.
pub(crate) const END_WITHIN: Duration = Duration::from_secs(60);

const OUTPUTS: &str = "spire.spiffe.io/clusterspiffeids";

/// A call that counts: everything but watches and the lease.
pub(crate) fn counts(asked: &Asked) -> bool {
    asked.verb != "watch" && !asked.resource.starts_with("coordination.k8s.io/")
}

/// A scenario that has begun: its operator lives behind a proxy.
pub(crate) struct Run {
    /// The scenario.
    pub(crate) scenario: Scenario,
    // Ended in this order.
    operator: Option<Operator>,
    /// Between operator and API server.
    pub(crate) proxy: Proxy,
    /// Where it takes place.
    pub(crate) world: World,
    /// Further flags of the next operator.
    pub(crate) flags: Vec<String>,
    /// Where in the audit log the scenario begins.
    begins: Mark,
}

/// How often an operator created, and how often deleted, the output of each binding that had either.
pub(crate) type Deeds = BTreeMap<String, (usize, usize)>;

impl Run {
    /// A scenario that is prepared and at rest.
    pub(crate) async fn prepared(scenario: Scenario, name: &str) -> Self {
        Self::prepared_with(scenario, World::new(name).await, false, &[]).await
    }

    /// The same in a world of one's own, with an operator that may be the only one with its rights, and further flags.
    pub(crate) async fn prepared_with(scenario: Scenario, world: World, alone: bool, flags: &[&str]) -> Self {
        let proxy = if alone { world.proxy_alone().await } else { world.proxy().await };
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let begins = world.mark().await;
        let mut run = Self { scenario, operator: None, proxy, world, flags, begins };
        run.start().await;
        run.operator().ready().await;
        scenario.prepare(&run.world).await;
        run.begins = run.world.at_rest().await;
        run
    }

    /// The operator that lives.
    pub(crate) fn operator(&self) -> &Operator {
        self.operator.as_ref().expect("an operator was started")
    }

    /// Kills the operator and starts the next one; it need not become ready.
    pub(crate) async fn start(&mut self) {
        self.operator = None;
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        self.operator = Some(self.world.start_operator_by(&self.proxy, &flags).await);
    }

    /// What it is made of, for who goes on in another way.
    pub(crate) fn into_parts(mut self) -> (World, Proxy, Operator) {
        let operator = self.take_operator();
        (self.world, self.proxy, operator)
    }

    /// Takes the operator away, to be ended otherwise.
    pub(crate) fn take_operator(&mut self) -> Operator {
        self.operator.take().expect("an operator was started")
    }

    /// Does what the scenario is about.
    pub(crate) async fn act(&mut self) {
        let flags = self.scenario.restarts_with();
        if flags.is_empty() {
            self.scenario.act(&self.world).await;
        } else {
            self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
            self.start().await;
        }
    }

    /// Waits until the scenario is at its end, everything is as it should be, and nothing happens any more; gives how long it
    /// took until everything was.
    pub(crate) async fn ends(&self, expected: &str) -> Duration {
        let began = Instant::now();
        self.scenario.end(&self.world).await;
        let settled = || async {
            let broken = self.world.unsettled().await;
            ensure!(broken.is_empty(), "{broken:#?}");
            let found = self.world.snapshot().await;
            ensure!(found == expected, "{}", difference(&found, expected));
            Ok(())
        };
        let what = "everything is as if nothing had gone wrong";
        eventually(what, END_WITHIN, settled).await.unwrap_or_else(|error| panic!("{error:#}"));
        let took = began.elapsed();
        self.world.at_rest().await;
        settled().await.unwrap_or_else(|error| panic!("it was settled, and is no more: {error:#}"));
        took
    }

    /// Expects that the operator is there, well, and sees everything.
    pub(crate) async fn lives(&self) {
        let operator = self.operator();
        operator.ready().await;
        let (code, body) = operator.probe("/healthz").await;
        assert_eq!(code, 200, "{body}");
    }

    /// What the operators made of outputs since the scenario began.
    pub(crate) async fn deeds(&self) -> Deeds {
        let calls = self.world.all_calls(self.begins).await;
        let of = |binding: &String| {
            let output = self.world.output_name(binding);
            let done = |verb: &str| {
                let tried = |call: &&Call| call.uri.contains("dryRun=All");
                let mine = |call: &&Call| call.name == output && call.resource == OUTPUTS && !tried(call);
                calls.iter().filter(mine).filter(|call| call.verb == verb && call.code < 300).count()
            };
            (done("create"), done("delete"))
        };
        let all = self.scenario.bindings().into_iter().map(|binding| {
            let deeds = of(&binding);
            (binding, deeds)
        });
        all.filter(|(_, deeds)| *deeds != (0, 0)).collect()
    }

    /// Waits for something that is to happen on the way; false when the scenario came to its end without it.
    pub(crate) async fn comes_to(&self, happens: impl Future<Output = bool>, expected: &str) -> bool {
        tokio::select! {
            happened = happens => happened,
            _ = self.ends(expected) => false,
        }
    }

    /// The same for a trap of the proxy.
    pub(crate) async fn is_trapped(&self, sprung: &mut watch::Receiver<bool>, expected: &str) -> bool {
        self.comes_to(async { sprung.wait_for(|sprung| *sprung).await.is_ok() }, expected).await
    }

    /// Acts, is killed at a call, and goes on with the next operator; whether it came to that call.
    pub(crate) async fn killed_at(
        &mut self,
        calls: impl Fn(&Asked) -> bool + Send + 'static,
        skip: usize,
        point: Point,
        expected: &str,
    ) -> bool {
        let mut sprung = self.proxy.trap(calls, skip, point);
        self.act().await;
        let reached = self.is_trapped(&mut sprung, expected).await;
        if reached {
            drop(self.take_operator());
            self.proxy.heal();
            self.start().await;
        }
        reached
    }

    /// Who the calls are about.
    pub(crate) fn roles(&self) -> Roles {
        let of = |name: String| {
            let role = self.scenario.role(&name);
            (self.world.output_name(&name), name, role)
        };
        Roles(self.scenario.bindings().into_iter().map(of).collect())
    }

    /// Ends the run: no rule was broken, and nothing of it is left behind.
    pub(crate) async fn close(self) {
        let Self { scenario: _, operator, proxy, world, flags: _, begins: _ } = self;
        drop((operator, proxy));
        world.close().await;
    }
}

/// The first line in which two texts differ.
fn difference(found: &str, expected: &str) -> String {
    let mut lines = found.lines().zip(expected.lines()).filter(|(found, expected)| found != expected);
    match lines.next() {
        Some((found, expected)) => format!("`{}` instead of `{}` in\n{found}", found.trim(), expected.trim()),
        None => format!("{} lines instead of {}", found.lines().count(), expected.lines().count()),
    }
}

/// Who a call is about: the output of a binding, the binding, and its role in the scenario.
#[derive(Debug, Clone)]
pub(crate) struct Roles(Vec<(String, String, String)>);

impl Roles {
    /// What a call is and about whom, the same in every run: `update-clusterspiffeids-of-a`.
    pub(crate) fn label(&self, asked: &Asked) -> String {
        let regarding = asked.body.pointer("/regarding/name").and_then(serde_json::Value::as_str);
        let selected =
            asked.uri.split_once("metadata.name%3D").map(|(_, rest)| rest.split('&').next().unwrap_or(rest));
        let name = selected.or(regarding).unwrap_or(&asked.name);
        let brief = asked.brief().replace('/', ".").replace(' ', "-");
        // Whether it could be done is no more than asked.
        let brief = if asked.uri.contains("dryRun=All") { format!("try-{brief}") } else { brief };
        match self.0.iter().find(|(output, binding, _)| output == name || binding == name) {
            Some((_, _, role)) => format!("{brief}-of-{role}"),
            None => brief,
        }
    }
}

/// A scenario in which nothing goes wrong.
pub(crate) struct Reference {
    /// Every call that counts, in its order.
    pub(crate) calls: Vec<String>,
    /// How it ends.
    pub(crate) end: String,
    /// What was made of outputs on the way.
    pub(crate) deeds: Deeds,
    /// The resources of which watches brought events.
    pub(crate) heard: BTreeSet<String>,
}

/// Plays a scenario without a fault.
pub(crate) async fn reference(scenario: Scenario) -> Reference {
    reference_in(World::new(&format!("{}-ref", scenario.name())).await, scenario).await
}

/// The same in a world of one's own.
pub(crate) async fn reference_in(world: World, scenario: Scenario) -> Reference {
    let mut run = Run::prepared_with(scenario, world, false, &[]).await;
    let (before, heard) = (run.proxy.asked().len(), run.proxy.events());
    run.act().await;
    scenario.end(&run.world).await;
    run.world.at_rest().await;
    run.world.is_settled().await;
    let asked: Vec<Arc<Asked>> = run.proxy.asked().split_off(before);
    let roles = run.roles();
    let calls = asked.iter().filter(|asked| counts(asked)).map(|asked| roles.label(asked)).collect();
    let (end, deeds) = (run.world.snapshot().await, run.deeds().await);
    let events =
        run.proxy.events().into_iter().filter(|(resource, count)| heard.get(resource) != Some(count));
    let heard =
        events.map(|(resource, _)| resource.rsplit('/').next().unwrap_or_default().to_owned()).collect();
    run.lives().await;
    run.close().await;
    Reference { calls, end, deeds, heard }
}
