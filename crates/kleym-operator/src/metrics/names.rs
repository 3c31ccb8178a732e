//! The metrics by name: the only place that knows what is exposed, under which labels and with which words. The exposition
//! and the documentation are made from this table.

/// What kind of metric a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by size.
    Histogram,
}

/// One family of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Its name as it is queried; a counter's with `_total`.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
    /// Its labels, in order.
    pub labels: &'static [&'static str],
    /// What it says, without a final period.
    pub help: &'static str,
}

macro_rules! families {
    ($($constant:ident: $name:literal $kind:ident [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub const $constant: Family =
                Family { name: $name, kind: Type::$kind, labels: &[$($label),*], help: $help };
        )*

        /// All of them.
        pub const ALL: &[Family] = &[$($constant),*];
    };
}

families! {
    OUTCOMES: "kleym_identity_binding_outcomes_total" Counter ["condition", "reason", "mode"]
        "Turns of InferenceIdentityBindings by the condition and reason they ended with";
    BINDINGS: "kleym_identity_bindings" Gauge ["condition", "reason", "mode"]
        "InferenceIdentityBindings by the condition and reason they stand with";
    SETTLE_SECONDS: "kleym_identity_binding_settle_seconds" Histogram []
        "Seconds from a change until an InferenceIdentityBinding that it can affect has settled";
    CLUSTER_SPIFFE_IDS: "kleym_cluster_spiffe_ids" Gauge ["spire_status"]
        "ClusterSPIFFEIDs of living bindings by what spire-controller-manager says of them: reported, absent (nothing) or failing (pods but no entries)";
    WITHDRAWN: "kleym_identities_withdrawn_total" Counter []
        "Identities that were withdrawn although their InferenceIdentityBinding stays";
    ORPHANS: "kleym_orphans_removed_total" Counter []
        "ClusterSPIFFEIDs that were deleted because their binding no longer exists";
    FOREIGN: "kleym_foreign_objects_met_total" Counter []
        "ClusterSPIFFEIDs of others that were met where an output belongs or that wear Kleym's labels";
    EVENTS: "kleym_events_total" Counter ["result"]
        "Events by what became of them: created, repeated, dropped (not sent) or failed";
    BUILD_INFO: "kleym_build_info" Gauge ["version", "revision"]
        "Always 1; the labels say which build this is";
    RECONCILES: "controller_runtime_reconcile_total" Counter ["controller", "result"]
        "Turns by result: success, error (tried again after a back-off) or requeue_after (waits for something)";
    RECONCILE_ERRORS: "controller_runtime_reconcile_errors_total" Counter ["controller"]
        "Turns that are tried again after a back-off";
    RECONCILE_SECONDS: "controller_runtime_reconcile_time_seconds" Histogram ["controller"]
        "Seconds that a turn takes";
    MAX_CONCURRENT: "controller_runtime_max_concurrent_reconciles" Gauge ["controller"]
        "Turns that may be under way at once";
    ACTIVE_WORKERS: "controller_runtime_active_workers" Gauge ["controller"]
        "Turns that are under way";
    QUEUE_DEPTH: "workqueue_depth" Gauge ["name"]
        "Bindings that are ready for a turn";
    QUEUE_ADDS: "workqueue_adds_total" Counter ["name"]
        "Turns that were asked for";
    QUEUE_SECONDS: "workqueue_queue_duration_seconds" Histogram ["name"]
        "Seconds that a binding waits for its turn";
    WORK_SECONDS: "workqueue_work_duration_seconds" Histogram ["name"]
        "Seconds that a turn takes";
    UNFINISHED_SECONDS: "workqueue_unfinished_work_seconds" Gauge ["name"]
        "Seconds that the turns under way have taken so far, together";
    LONGEST_SECONDS: "workqueue_longest_running_processor_seconds" Gauge ["name"]
        "Seconds that the longest turn under way has taken so far";
    QUEUE_RETRIES: "workqueue_retries_total" Counter ["name"]
        "Turns that were asked for after a back-off";
    CALLS: "rest_client_requests_total" Counter ["code", "method", "host"]
        "Calls to the API server by HTTP code, or <error> where no answer came";
    LEADER: "leader_election_master_status" Gauge ["name"]
        "1 while this replica holds the lease, else 0";
    CPU_SECONDS: "process_cpu_seconds_total" Counter []
        "Seconds of CPU time that the process has used";
    OPEN_FDS: "process_open_fds" Gauge []
        "File descriptors that are open";
    MAX_FDS: "process_max_fds" Gauge []
        "File descriptors that may be open";
    RESIDENT_BYTES: "process_resident_memory_bytes" Gauge []
        "Bytes of memory that are resident";
    VIRTUAL_BYTES: "process_virtual_memory_bytes" Gauge []
        "Bytes of address space that are in use";
    START_TIME: "process_start_time_seconds" Gauge []
        "When the process started, in seconds since 1970";
}

impl Family {
    /// The name as the metrics library wants it, which adds `_total` to a counter's by itself.
    pub(super) fn base(&self) -> &'static str {
        match self.kind {
            Type::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Type::Gauge | Type::Histogram => self.name,
        }
    }
}
