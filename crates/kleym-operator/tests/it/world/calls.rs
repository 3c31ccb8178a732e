//! What the world's operator asked of the API server, as the audit log has it.

use std::time::Duration;

use kleym_testenv::{Call, Mark};

use super::{AT_REST, SOON, World};

impl World {
    /// The place in the audit log after which [`World::calls`] counts.
    pub(crate) async fn mark(&self) -> Mark {
        self.audit.mark().await.unwrap()
    }

    /// Waits until the operator has asked nothing for a while; gives that place in the audit log.
    pub(crate) async fn at_rest(&self) -> Mark {
        self.at_rest_for(AT_REST).await
    }

    /// Waits until the operator has asked nothing for so long; gives that place in the audit log.
    pub(crate) async fn at_rest_for(&self, quiet: Duration) -> Mark {
        let quiet = self.audit.wait_until_quiet(quiet, SOON, |call| self.made(call)).await;
        quiet.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Whether the operator made this call; leases apart, which it renews at rest too.
    fn made(&self, call: &Call) -> bool {
        call.user == self.user && call.resource != "coordination.k8s.io/leases"
    }

    /// The operator's calls since then, once it is at rest.
    pub(crate) async fn all_calls(&self, since: Mark) -> Vec<Call> {
        self.at_rest().await;
        let calls = self.audit.calls_since(since).await.unwrap();
        calls.into_iter().filter(|call| self.made(call)).collect()
    }

    /// The operator's calls since then that are in the audit log already.
    pub(crate) fn calls_so_far(&self, since: Mark) -> Vec<Call> {
        let calls = self.audit.recorded_since(since);
        calls.into_iter().filter(|call| self.made(call)).collect()
    }

    /// The operator's calls since then in their order, once it is at rest: `<verb> <resource>`, watches and events
    /// left out.
    pub(crate) async fn calls(&self, since: Mark) -> Vec<String> {
        let calls = self.all_calls(since).await;
        calls.iter().filter(|call| call.verb != "watch" && !is_event(call)).map(brief).collect()
    }

    /// The calls for the lease since then.
    pub(crate) async fn lease_calls(&self, since: Mark) -> Vec<String> {
        let calls = self.audit.calls_since(since).await.unwrap();
        let mine = |call: &&Call| call.user == self.user && call.resource == "coordination.k8s.io/leases";
        calls.iter().filter(mine).map(brief).collect()
    }

    /// The operator's calls about events since then, once it is at rest: `create events`, `patch events`.
    pub(crate) async fn event_calls(&self, since: Mark) -> Vec<String> {
        self.all_calls(since).await.iter().filter(|call| is_event(call)).map(brief).collect()
    }

    /// The calls of [`World::calls`] with the names of the objects: `<verb> <resource> <name>`.
    pub(crate) async fn named_calls(&self, since: Mark) -> Vec<String> {
        let calls = self.all_calls(since).await;
        let named = |call: &Call| format!("{} {}", brief(call), call.name);
        calls.iter().filter(|call| call.verb != "watch" && !is_event(call)).map(named).collect()
    }
}

fn is_event(call: &Call) -> bool {
    call.resource == "events.k8s.io/events"
}

/// `update inferenceidentitybindings/status`
fn brief(call: &Call) -> String {
    let target = call.target();
    let target = target.split_once('/').map_or(target.as_str(), |(group, rest)| {
        // A path that is no resource stays whole.
        if group.is_empty() { &target } else { rest }
    });
    format!("{} {target}", call.verb)
}
