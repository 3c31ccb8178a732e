//! Leader election on the real API server: electors of the library, several in one process, with the rights a
//! replica has. That never two lead under any fault is shown by the engine's simulation; here it is shown that the
//! API server behaves as assumed there, and what an election costs.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::coordination::v1::Lease;
use kleym_core::lease::Timing;
use kleym_core::name::{Instance, Namespace};
use kleym_operator::lease::{Elector, Leadership, identity};
use kleym_testenv::{Audit, Call, ControlPlane, Mark, apply_yaml, eventually, tally};
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::world::SOON;

const NAME: &str = "kleym-operator-blue";

/// Short, so that the tests are; a call may still take more than a second.
fn timing() -> Timing {
    Timing::seconds(6).unwrap()
}

/// A namespace with a lease in it.
struct Field {
    plane: &'static ControlPlane,
    namespace: String,
    leases: Api<Lease>,
    audit: Audit,
    began: Mark,
}

impl Field {
    /// A namespace without a lease, and the rights of a replica for users of its group.
    async fn empty() -> Self {
        let plane = ControlPlane::shared().await.unwrap();
        let client = plane.client().unwrap();
        let namespace = plane.namespace("lease").await.unwrap();
        let rights = format!(
            "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: replica, namespace: {namespace}}}
rules:
- {{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create]}}
- {{apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [{NAME}], verbs: [get, update, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: replica, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: replica}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: Group, name: {namespace}}}]
"
        );
        apply_yaml(&client, &rights).await.unwrap();
        let leases = Api::namespaced(client, &namespace);
        let audit = plane.audit().unwrap();
        let began = audit.mark().await.unwrap();
        let field = Self { plane, namespace, leases, audit, began };
        let probe =
            Api::<Lease>::namespaced(Client::try_from(field.config("probe")).unwrap(), &field.namespace);
        eventually("replicas have their rights", SOON, || async { probe.get_opt(NAME).await.map(|_| ()) })
            .await
            .unwrap();
        field
    }

    /// The same with a lease that a leader gave back, so that it can be led at once.
    async fn released() -> Self {
        let field = Self::empty().await;
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NAME, "labels": {"team": "inference"}},
            "spec": {"holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 4},
        });
        let lease = serde_json::from_value(lease).unwrap();
        field.leases.create(&PostParams::default(), &lease).await.unwrap();
        field
    }

    /// The name of a replica's user, for the audit log.
    fn user(&self, replica: &str) -> String {
        format!("{replica}-of-{}", self.namespace)
    }

    fn config(&self, replica: &str) -> Config {
        let mut config = self.plane.config_as(&self.user(replica), &[&self.namespace]).unwrap();
        config.default_retry = false;
        config
    }

    fn replica(&self, name: &str) -> Replica {
        self.replica_by(self.config(name))
    }

    fn replica_by(&self, config: Config) -> Replica {
        let client = Client::try_from(config).unwrap();
        let namespace = Namespace::parse(&self.namespace).unwrap();
        let instance = Instance::parse("blue").unwrap();
        let identity = identity();
        let elector = Elector::new(client, namespace, &instance, &identity).with_timing(timing());
        let (sender, leadership) = watch::channel(Leadership::Standby { trouble: None });
        let stop = CancellationToken::new();
        let task = tokio::spawn(elector.run(sender, stop.clone()));
        Replica { identity, leadership, stop, task }
    }

    /// Waits until a replica watches the lease.
    async fn watches(&self, replica: &str) {
        let user = self.user(replica);
        let watches = |call: &Call| call.user == user && call.verb == "watch" && call.code == 200;
        let seen = self.audit.wait_for("it watches", self.began, SOON, |calls| calls.iter().any(watches));
        seen.await.unwrap();
    }

    async fn lease(&self) -> Value {
        serde_json::to_value(self.leases.get(NAME).await.unwrap()).unwrap()
    }

    async fn edit(&self, patch: Value) {
        self.leases.patch(NAME, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }
}

/// One elector.
struct Replica {
    identity: String,
    leadership: watch::Receiver<Leadership>,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Replica {
    /// Waits until it leads; gives when it was seen to.
    async fn leads(&mut self) -> Instant {
        let leads = |said: &Leadership| said.deadline(Instant::now()).is_some();
        tokio::time::timeout(SOON, self.leadership.wait_for(leads)).await.unwrap().unwrap();
        Instant::now()
    }

    fn leads_until(&self) -> Option<Instant> {
        self.leadership.borrow().deadline(Instant::now())
    }

    /// Waits until it ends; gives why.
    async fn ends(self) -> Result<(), String> {
        let ended = tokio::time::timeout(SOON, self.task).await.unwrap().unwrap();
        assert_eq!(*self.leadership.borrow(), Leadership::Over);
        ended.map_err(|error| format!("{error:#}"))
    }
}

#[tokio::test]
async fn a_lease_that_is_given_back_is_led_at_once_by_another() {
    let field = Field::released().await;
    let mut first = field.replica("first");
    first.leads().await;
    let mut second = field.replica("second");
    field.watches("second").await;
    assert_eq!(second.leads_until(), None);

    let (before, stopped) = (first.identity.clone(), Instant::now());
    first.stop.cancel();
    assert_eq!(first.ends().await, Ok(()));
    let led = second.leads().await;
    assert!(led - stopped < Duration::from_secs(3), "{:?}", led - stopped);

    let lease = field.lease().await;
    assert_ne!(before, second.identity);
    assert_eq!(lease["spec"]["holderIdentity"], second.identity.as_str());
    assert_eq!(lease["spec"]["leaseTransitions"], 6);
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 6);
    assert_eq!(lease["metadata"]["labels"], json!({"team": "inference"}));
}

#[tokio::test]
async fn a_leader_that_dies_is_followed_after_the_duration_and_never_sooner_than_it_could_lead() {
    let field = Field::released().await;
    let mut first = field.replica("first");
    first.leads().await;
    let mut second = field.replica("second");
    eventually("the first has renewed", SOON, || async {
        let lease = field.lease().await;
        ensure!(lease["spec"]["renewTime"] != lease["spec"]["acquireTime"], "{lease}");
        Ok(())
    })
    .await
    .unwrap();
    first.task.abort();
    let died = Instant::now();
    let could_lead = first.leads_until().unwrap();
    let led = second.leads().await;
    assert!(led > could_lead && led - died < timing().duration + Duration::from_secs(2), "{:?}", led - died);
}

#[tokio::test]
async fn a_lease_that_was_never_there_is_led_as_soon_as_it_is_created() {
    let field = Field::empty().await;
    let began = Instant::now();
    let mut replica = field.replica("first");
    let led = replica.leads().await - began;
    assert!(led < timing().duration, "{led:?}");
    let lease = field.lease().await;
    assert_eq!(lease["spec"]["holderIdentity"], replica.identity.as_str());
    assert_eq!(lease["spec"]["leaseTransitions"], 0);
}

#[tokio::test]
async fn a_lease_that_is_deleted_is_lost_and_not_brought_back_by_who_lost_it() {
    let field = Field::released().await;
    let mut replica = field.replica("first");
    replica.leads().await;
    field.leases.delete(NAME, &DeleteParams::default()).await.unwrap();
    let why = format!("leadership is lost, of the lease `{}/{NAME}`: it was deleted", field.namespace);
    assert_eq!(replica.ends().await, Err(why));
    assert!(field.leases.get_opt(NAME).await.unwrap().is_none());
}

#[tokio::test]
async fn a_replacement_creates_a_lease_that_is_gone_unless_it_names_a_uid() {
    let field = Field::released().await;
    let mut lease = field.leases.get(NAME).await.unwrap();
    field.leases.delete(NAME, &DeleteParams::default()).await.unwrap();
    let replaced = field.leases.replace(NAME, &PostParams::default(), &lease).await;
    let refused = matches!(replaced, Err(kube::Error::Api(ref status)) if status.code == 409);
    assert!(refused, "{replaced:?}");
    lease.metadata.uid = None;
    field.leases.replace(NAME, &PostParams::default(), &lease).await.unwrap();
}

#[tokio::test]
async fn a_lease_that_somebody_takes_by_hand_is_lost() {
    for (taken, loss) in [("somebody", "it is held by `somebody`"), ("", "its holder was removed")] {
        let field = Field::released().await;
        let mut replica = field.replica("first");
        replica.leads().await;
        field.edit(json!({"spec": {"holderIdentity": taken}})).await;
        let why = format!("leadership is lost, of the lease `{}/{NAME}`: {loss}", field.namespace);
        assert_eq!(replica.ends().await, Err(why));
        assert_eq!(field.lease().await["spec"]["holderIdentity"], taken);
    }
}

/// A time that the API server takes, and that is later than any that can be told here.
const UNREADABLE: &str = "9999-12-31T23:59:59.000000Z";

#[tokio::test]
async fn a_lease_whose_times_cannot_be_read_is_followed_after_the_duration_like_any_other() {
    let field = Field::empty().await;
    let stolen = format!(
        "
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {{name: {NAME}, namespace: {}, labels: {{team: inference}}}}
spec: {{holderIdentity: somebody, leaseDurationSeconds: 86400, acquireTime: {UNREADABLE}, renewTime: {UNREADABLE}}}
",
        field.namespace
    );
    apply_yaml(&field.plane.client().unwrap(), &stolen).await.unwrap();
    let began = Instant::now();
    let mut replica = field.replica("first");
    let led = replica.leads().await - began;
    assert!(led >= timing().duration, "{led:?}");
    let lease = field.lease().await;
    assert_eq!(lease["spec"]["holderIdentity"], replica.identity.as_str());
    assert_eq!(lease["metadata"]["labels"], json!({"team": "inference"}));
}

#[tokio::test]
async fn a_leader_goes_on_when_somebody_writes_a_time_into_its_lease_that_cannot_be_read() {
    let field = Field::released().await;
    let mut replica = field.replica("first");
    replica.leads().await;
    let standby = field.replica("second");
    field.watches("second").await;
    let leases = Api::<DynamicObject>::namespaced_with(
        field.plane.client().unwrap(),
        &field.namespace,
        &ApiResource::erase::<Lease>(&()),
    );
    let garbled = Patch::Merge(json!({"spec": {"renewTime": UNREADABLE}}));
    leases.patch(NAME, &PatchParams::default(), &garbled).await.unwrap();
    let garbled_at = Instant::now();
    eventually("the leader has renewed", SOON, || async {
        let lease = leases.get(NAME).await?;
        ensure!(lease.data["spec"]["renewTime"] != UNREADABLE, "{lease:?}");
        ensure!(replica.leads_until().is_some_and(|until| until > garbled_at + timing().lead), "not yet");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(standby.leads_until(), None);
}

#[tokio::test]
async fn a_label_that_somebody_puts_on_the_lease_costs_one_read_and_stays() {
    let field = Field::released().await;
    let mut replica = field.replica("first");
    replica.leads().await;
    let mark = field.audit.mark().await.unwrap();
    field.edit(json!({"metadata": {"labels": {"extra": "yes"}}})).await;
    let user = field.user("first");
    let calls = |calls: &[Call]| -> Vec<(String, u16)> {
        let own = calls.iter().filter(|call| call.user == user);
        own.map(|call| (call.verb.clone(), call.code)).collect()
    };
    let after = |made: &[Call]| {
        let made = calls(made);
        made.iter().position(|(_, code)| *code == 409).map(|conflict| made[conflict + 1..].to_vec())
    };
    let made = field
        .audit
        .wait_for("it goes on", mark, SOON, |made| after(made).is_some_and(|after| after.len() >= 2));
    let after = after(&made.await.unwrap()).unwrap();
    assert_eq!(after[..2], [("get".to_owned(), 200), ("update".to_owned(), 200)]);
    assert!(replica.leads_until().is_some());
    let labels = field.lease().await["metadata"]["labels"].clone();
    assert_eq!(labels, json!({"team": "inference", "extra": "yes"}));
}

#[tokio::test]
async fn at_rest_a_leader_makes_one_call_a_period_and_a_standby_none() {
    let field = Field::released().await;
    let mut first = field.replica("first");
    first.leads().await;
    let second = field.replica("second");
    let (leader, standby) = (field.user("first"), field.user("second"));
    field.watches("second").await;
    let mark = field.audit.mark().await.unwrap();
    let by = |user: &str, calls: &[Call]| {
        calls.iter().filter(|call| call.user == user).cloned().collect::<Vec<_>>()
    };
    let rest = field.audit.wait_for("five renewals", mark, SOON, |calls| by(&leader, calls).len() >= 5);
    let rest = rest.await.unwrap();
    let made = by(&leader, &rest);
    let wanted = BTreeMap::from([(format!("{leader} update coordination.k8s.io/leases"), 5)]);
    assert_eq!((tally(&made), tally(&by(&standby, &rest))), (wanted, BTreeMap::new()));
    assert!(made.iter().all(|call| call.code == 200));
    let took = made[4].received.duration_since(made[0].received).as_millis();
    assert!(took >= 3_500, "four periods have 4000 ms; these had {took} ms");
    assert_eq!(second.leads_until(), None);
}

#[tokio::test]
async fn who_may_not_watch_the_lease_reads_it_instead() {
    let field = Field::released().await;
    let role = json!({"rules": [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "update"]},
    ]});
    let roles =
        Api::<k8s_openapi::api::rbac::v1::Role>::namespaced(field.plane.client().unwrap(), &field.namespace);
    roles.patch("replica", &PatchParams::default(), &Patch::Merge(role)).await.unwrap();
    let mut first = field.replica("first");
    first.leads().await;
    let mut second = field.replica("second");
    let standby = field.user("second");
    let reads = field.audit.wait_for("the second reads", field.began, SOON, |calls| {
        calls.iter().filter(|call| call.user == standby && call.verb == "get").count() >= 3
    });
    reads.await.unwrap();
    first.stop.cancel();
    assert_eq!(first.ends().await, Ok(()));
    second.leads().await;
}

#[tokio::test]
async fn a_leader_whose_api_server_falls_silent_stops_before_anybody_else_may_lead() {
    let field = Field::released().await;
    let (address, silent) = line_to(&field).await;
    let mut config = field.config("first");
    config.cluster_url = format!("https://{address}").parse().unwrap();
    let mut first = field.replica_by(config);
    first.leads().await;
    let mut second = field.replica("second");
    silent.send_replace(true);
    let fell_silent = Instant::now();
    let why =
        format!("leadership is lost, of the lease `{}/{NAME}`: it was not renewed in time", field.namespace);
    assert_eq!(first.ends().await, Err(why));
    let ended = Instant::now();
    assert!(ended - fell_silent < timing().duration, "{:?}", ended - fell_silent);
    assert_eq!(second.leads_until(), None);
    assert!(second.leads().await > ended);
    // What the first left under way lands now, and takes nothing away.
    silent.send_replace(false);
    eventually("the second has renewed", SOON, || async {
        let lease = field.lease().await;
        ensure!(lease["spec"]["holderIdentity"] == second.identity.as_str(), "{lease}");
        ensure!(lease["spec"]["renewTime"] != lease["spec"]["acquireTime"], "{lease}");
        Ok(())
    })
    .await
    .unwrap();
    assert!(second.leads_until().is_some());
}

#[tokio::test]
async fn a_standby_that_stops_leaves_the_lease_as_it_is() {
    let field = Field::released().await;
    let mut first = field.replica("first");
    first.leads().await;
    let second = field.replica("second");
    let standby = field.user("second");
    let looks = field.audit.wait_for("the second looks", field.began, SOON, |calls| {
        calls.iter().any(|call| call.user == standby)
    });
    looks.await.unwrap();
    second.stop.cancel();
    assert_eq!(second.ends().await, Ok(()));
    assert_eq!(field.lease().await["spec"]["holderIdentity"], first.identity.as_str());
    assert!(first.leads_until().is_some());
}

/// A line to the API server that can fall silent: what is on its way then waits, in both directions.
async fn line_to(field: &Field) -> (std::net::SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = field.plane.url().strip_prefix("https://").unwrap().to_owned();
    let (sender, silent) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            let (near, _) = listener.accept().await.unwrap();
            let far = TcpStream::connect(&server).await.unwrap();
            let (near, far) = (near.into_split(), far.into_split());
            tokio::spawn(carry(near.0, far.1, silent.clone()));
            tokio::spawn(carry(far.0, near.1, silent.clone()));
        }
    });
    (address, sender)
}

async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut silent: watch::Receiver<bool>,
) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if silent.wait_for(|silent| !silent).await.is_err() || to.write_all(&buffer[..length]).await.is_err()
        {
            return;
        }
    }
}
