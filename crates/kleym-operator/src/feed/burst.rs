//! News in bursts: what has come already is looked at together, so that of many changes of one object only the last one costs
//! anything. Without that, whoever changes a pool often enough would keep the operator busy with states that are over.

use std::collections::{BTreeSet, VecDeque};

use kleym_core::fact::FactKey;
use kleym_core::kind::Kind;
use kleym_core::relist::Difference;
use tokio::sync::mpsc;

use super::{Item, News};

/// News that has come and was not looked at yet.
#[derive(Debug, Default)]
pub struct Burst {
    waiting: VecDeque<News>,
}

impl Burst {
    /// The next news; waits for it. None when the watches have ended. Nothing is lost when this is given up.
    pub async fn next(&mut self, news: &mut mpsc::Receiver<News>) -> Option<News> {
        match self.ready(news) {
            Some(next) => Some(next),
            None => news.recv().await,
        }
    }

    /// The next news, if it is there.
    pub fn ready(&mut self, news: &mut mpsc::Receiver<News>) -> Option<News> {
        if self.waiting.is_empty() {
            self.waiting.extend(std::iter::from_fn(|| news.try_recv().ok()));
            drop_overtaken(&mut self.waiting);
        }
        self.waiting.pop_front()
    }
}

/// The objective or pool that news is about. Of bindings and outputs every state counts: they have memories.
fn input_of(news: &News) -> Option<FactKey> {
    match news {
        News::Objects(_, _, Difference::Put(Item::Input(fact))) => Some(fact.key()),
        News::Objects(kind, _, Difference::Gone(gone))
            if matches!(kind, Kind::Objective(_) | Kind::Pool(_)) =>
        {
            gone.fact_key(*kind)
        }
        _ => None,
    }
}

/// Drops what later news of the same input makes needless.
fn drop_overtaken(news: &mut VecDeque<News>) {
    let mut later = BTreeSet::new();
    let mut kept: Vec<bool> = Vec::with_capacity(news.len());
    for one in news.iter().rev() {
        kept.push(match input_of(one) {
            Some(key) => later.insert(key),
            None => {
                // A list shows what it shows: nothing is moved over it.
                if matches!(one, News::Objects(_, _, Difference::Listed(_)) | News::Absent(_)) {
                    later.clear();
                }
                true
            }
        });
    }
    let mut kept = kept.into_iter().rev();
    news.retain(|_| kept.next().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use kleym_core::fact::{Fact, Pool, pool_labels};
    use kleym_core::kind::PoolGroup;
    use kleym_core::name::{Namespace, ObjectName};

    use super::*;
    use crate::feed::GoneKey;

    const POOLS: Kind = Kind::Pool(PoolGroup::Inference);

    fn pool(name: &str, label: &str) -> Item {
        Item::Input(Fact::Pool(Pool {
            group: PoolGroup::Inference,
            namespace: Namespace::parse("llm").unwrap(),
            name: ObjectName::parse(name).unwrap(),
            deleting: false,
            labels: pool_labels([("app", label)]),
        }))
    }

    fn put(name: &str, label: &str) -> News {
        News::Objects(POOLS, None, Difference::Put(pool(name, label)))
    }

    fn gone(name: &str) -> News {
        let namespace = Some(Namespace::parse("llm").unwrap());
        let name = ObjectName::parse(name).unwrap();
        News::Objects(POOLS, None, Difference::Gone(GoneKey { namespace, name, uid: None }))
    }

    /// What is left of it, as text.
    async fn left(news: Vec<News>) -> Vec<String> {
        let (sender, mut receiver) = mpsc::channel(news.len().max(1));
        for one in news {
            sender.try_send(one).unwrap();
        }
        drop(sender);
        let (mut burst, mut left) = (Burst::default(), Vec::new());
        while let Some(one) = burst.next(&mut receiver).await {
            left.push(format!("{one:?}"));
        }
        left
    }

    fn texts(news: &[News]) -> Vec<String> {
        news.iter().map(|one| format!("{one:?}")).collect()
    }

    #[tokio::test]
    async fn of_many_states_of_a_pool_only_the_last_one_is_looked_at() {
        let news = vec![put("a", "1"), put("b", "1"), put("a", "2"), gone("b"), put("a", "3"), put("c", "1")];
        assert_eq!(left(news).await, texts(&[gone("b"), put("a", "3"), put("c", "1")]));
    }

    #[tokio::test]
    async fn nothing_is_moved_over_a_list() {
        let listed = || News::Objects(POOLS, None, Difference::Listed(vec![pool("a", "2")]));
        let news = || vec![put("a", "1"), listed(), put("a", "3"), News::Trouble(POOLS, None, None)];
        assert_eq!(left(news()).await, texts(&news()));
    }
}
