//! The definitions of a kind go and come back, and the operator is killed, or cut off, at every call that this costs.

use futures::future;
use kleym_core::kind::Kind;
use kleym_testenv::proxy::{Fault, Point};

use crate::fault::{Wrong, changes};
use crate::plans::distinct;
use crate::runs::{Run, reference_in};
use crate::scenario::Scenario;
use crate::world::{OBJECTIVE, POOL, World};
use crate::wrong::go_wrong;

/// One after the other on a control plane of their own: whose definition is gone is gone for all.
async fn of(kind: Kind) {
    let scenario = Scenario::Definition(kind);
    let world = World::with_only(&scenario.name(), &Kind::ALL).await;
    let reference = reference_in(world.beside("reference").await, scenario).await;
    let (mut plans, mut met) = (0, 0);
    // How often the API is asked what it serves differs from run to run.
    let once_each = |(call, nth): &(String, usize)| *nth == 0 || changes(call);
    for at in distinct(&reference.calls).into_iter().filter(once_each) {
        let mut all =
            vec![Wrong::Kill(Point::Before), Wrong::Kill(Point::AfterCommit), Wrong::Call(Fault::Cut)];
        if changes(&at.0) {
            all.extend([Wrong::Kill(Point::AfterReply), Wrong::Call(Fault::CutAfter)]);
        }
        for wrong in all {
            println!("{}/{}.{}/{wrong:?}", scenario.name(), at.0, at.1);
            let own = world.beside(&format!("run-{plans}")).await;
            let mut run = Run::prepared_with(scenario, own, false, &[]).await;
            plans += 1;
            met += usize::from(go_wrong(&mut run, &Some(at.clone()), &wrong, &reference.end).await);
            run.ends(&reference.end).await;
            run.lives().await;
            assert_eq!(run.deeds().await, reference.deeds);
            run.close().await;
        }
    }
    println!("{}: {met} of {plans} met their call", scenario.name());
    assert!(met * 5 >= plans * 4, "{met} of {plans}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_dies_while_the_definition_of_a_kind_goes_and_comes_back_the_end_is_the_same() {
    future::join_all([Kind::Binding, OBJECTIVE, POOL, Kind::Output].map(of)).await;
}
