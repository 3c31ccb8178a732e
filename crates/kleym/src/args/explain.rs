//! `kleym explain`

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::{Format, Input, Manager, Settings};
use crate::complete;

/// Find the broken link between a workload and its SPIFFE ID
///
/// Walks the chain from the pod's labels over service account, pool, objective, binding, container, output and class to
/// spire-controller-manager (SCM), and stops at the first link that is broken: what was read, from which object and
/// field, and what to do. With files instead of a cluster it reads what `kubectl get -o yaml` printed, pods included.
/// Engine settings default to what the bindings' status reports.
///
/// Of the code of a finding, such as KLM4001, it prints cause, check and fix; nothing is read for that.
///
/// A link that waits is not broken: a pod that is on no node yet, or a binding that is being deleted.
///
/// Exit codes: 0 every link holds, waits or could not be seen, 2 a link is broken, 3 there is no such pod, binding or SPIFFE
/// ID, 4 several namespaces have one of that name and none is named, or what was typed is none of these.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kleym explain pod/vllm-7c9-x -n llm
  kleym explain pod/vllm-7c9-x -n llm -c proxy
  kleym explain binding/chat -n llm
  kleym explain spiffe://example.org/ns/llm/objective/chat
  kleym explain pod/vllm-7c9-x -f dump/
  kleym explain KLM4001")]
pub(crate) struct Explain {
    /// pod/NAME, binding/NAME (or `pod NAME`, `binding NAME`), a SPIFFE ID, or the code of a finding
    #[arg(value_name = "TYPE/NAME | TYPE NAME | SPIFFE-ID | CODE", add = ArgValueCompleter::new(complete::explained))]
    pub(crate) what: String,

    /// The name, behind a type
    #[arg(value_name = "NAME", hide = true, add = ArgValueCompleter::new(complete::explained))]
    pub(crate) name: Option<String>,

    /// Only this container of the pod
    #[arg(long, short, value_name = "NAME")]
    pub(crate) container: Option<String>,

    #[command(flatten)]
    pub(crate) input: Input,

    /// How the answer is printed; by default for people
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,

    #[command(flatten)]
    pub(crate) manager: Manager,

    #[command(flatten)]
    pub(crate) settings: Settings,
}
