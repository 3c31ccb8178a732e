//! Who may read the metrics: whoever shows a token that the API server takes for a user's who may `get` `/metrics`.
//!
//! Guarantees: a token is never kept, logged or compared, only its hash; what is remembered has a constant size and a short
//! life; a question that was not answered is no permission and is not remembered.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::client::describe;
use crate::recent::Recent;

/// The path whose readers are asked for.
pub(super) const PATH: &str = "/metrics";

/// How long a permission is remembered.
const ALLOWED_FOR: Duration = Duration::from_secs(60);
/// How long a refusal is remembered.
const DENIED_FOR: Duration = Duration::from_secs(10);
/// How many permissions are remembered. Only who has one can fill this.
const MOST_ALLOWED: usize = 256;
/// How many refusals are remembered. Anybody can fill this.
const MOST_DENIED: usize = 1024;
/// How many tokens are asked about at once, so that a flood of bad ones is none for the API server.
const AT_ONCE: usize = 4;
/// How long a token may be; those of service accounts have about a thousand bytes.
const LONGEST_TOKEN: usize = 12 * 1024;
/// The longest that asking may take.
const DEADLINE: Duration = Duration::from_secs(8);

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its user may read the metrics.
    Allowed,
    /// It is nobody's.
    Unauthenticated,
    /// Its user may not read the metrics.
    Forbidden,
}

/// The API server did not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unanswered;

/// A token's hash.
type Mark = [u8; 32];

/// Asks the API server, and remembers its answers for a while.
#[derive(Debug)]
pub(super) struct Reviewer {
    tokens: Api<TokenReview>,
    accesses: Api<SubjectAccessReview>,
    memory: Mutex<Memory>,
    at_once: Semaphore,
}

#[derive(Debug)]
struct Memory {
    allowed: Recent<Mark, Instant>,
    denied: Recent<Mark, (Verdict, Instant)>,
}

impl Memory {
    fn new() -> Self {
        Self { allowed: Recent::new(MOST_ALLOWED), denied: Recent::new(MOST_DENIED) }
    }

    fn find(&mut self, mark: &Mark, now: Instant) -> Option<Verdict> {
        if self.allowed.get(mark).is_some_and(|until| *until > now) {
            return Some(Verdict::Allowed);
        }
        self.denied.get(mark).filter(|(_, until)| *until > now).map(|(verdict, _)| *verdict)
    }

    fn keep(&mut self, mark: Mark, verdict: Verdict, now: Instant) {
        self.allowed.remove(&mark);
        match verdict {
            Verdict::Allowed => self.allowed.insert(mark, now + ALLOWED_FOR),
            Verdict::Unauthenticated | Verdict::Forbidden => {
                self.denied.insert(mark, (verdict, now + DENIED_FOR));
            }
        }
    }
}

impl Reviewer {
    /// A reviewer that has asked nothing yet.
    pub(super) fn new(client: &Client) -> Self {
        Self {
            tokens: Api::all(client.clone()),
            accesses: Api::all(client.clone()),
            memory: Mutex::new(Memory::new()),
            at_once: Semaphore::new(AT_ONCE),
        }
    }

    /// What this token is good for.
    pub(super) async fn review(&self, token: &str) -> Result<Verdict, Unanswered> {
        if token.is_empty() || token.len() > LONGEST_TOKEN {
            return Ok(Verdict::Unauthenticated);
        }
        let mark: Mark = Sha256::digest(token.as_bytes()).into();
        if let Some(verdict) = self.memory().find(&mark, Instant::now()) {
            return Ok(verdict);
        }
        let asking = async {
            let Ok(_permit) = self.at_once.acquire().await else { return Err(Unanswered) };
            // Somebody with the same token may have asked meanwhile.
            if let Some(verdict) = self.memory().find(&mark, Instant::now()) {
                return Ok(verdict);
            }
            let verdict = self.ask(token).await.map_err(|error| {
                let error = describe(&error);
                tracing::warn!(error, "cannot ask who may read the metrics; the operator needs to create tokenreviews and subjectaccessreviews");
                Unanswered
            })?;
            self.memory().keep(mark, verdict, Instant::now());
            Ok(verdict)
        };
        match timeout(DEADLINE, asking).await {
            Ok(answer) => answer,
            Err(_) => {
                tracing::warn!("was not told in time who may read the metrics");
                Err(Unanswered)
            }
        }
    }

    async fn ask(&self, token: &str) -> kube::Result<Verdict> {
        let question = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), audiences: None },
            ..TokenReview::default()
        };
        let answer = self.tokens.create(&PostParams::default(), &question).await?.status.unwrap_or_default();
        let Some(user) = answer.user.filter(|_| answer.authenticated == Some(true)) else {
            return Ok(Verdict::Unauthenticated);
        };
        let UserInfo { username, uid, groups, extra } = user;
        let attributes = NonResourceAttributes { path: Some(PATH.to_owned()), verb: Some("get".to_owned()) };
        let question = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: username,
                uid,
                groups,
                extra,
                non_resource_attributes: Some(attributes),
                resource_attributes: None,
            },
            ..SubjectAccessReview::default()
        };
        let answer = self.accesses.create(&PostParams::default(), &question).await?.status;
        let allowed = answer.is_some_and(|answer| answer.allowed && answer.denied != Some(true));
        Ok(if allowed { Verdict::Allowed } else { Verdict::Forbidden })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // What is remembered is whole between any two statements, so a panic elsewhere does not spoil it.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower::Service;

    use super::*;

    /// An API server that takes tokens that begin with `good` or `weak`, lets only the former read, and says nothing when
    /// it is down.
    #[derive(Clone, Default)]
    struct Server(Arc<Mutex<Seen>>);

    #[derive(Default)]
    struct Seen {
        questions: usize,
        down: bool,
    }

    impl Server {
        fn asked(&self) -> usize {
            self.0.lock().unwrap().questions
        }

        fn is_down(&self, down: bool) {
            self.0.lock().unwrap().down = down;
        }

        fn answer(&self, path: &str, mut question: Value) -> (u16, Value) {
            let mut seen = self.0.lock().unwrap();
            seen.questions += 1;
            if seen.down {
                return (500, json!({}));
            }
            question["status"] = if path.ends_with("/tokenreviews") {
                let token = question["spec"]["token"].as_str().unwrap();
                let known = token.starts_with("good") || token.starts_with("weak");
                json!({"authenticated": known, "user": {"username": token, "groups": ["readers"]}})
            } else {
                let wanted = json!({"path": "/metrics", "verb": "get"});
                assert_eq!(question["spec"]["nonResourceAttributes"], wanted);
                assert_eq!(question["spec"]["groups"], json!(["readers"]));
                json!({"allowed": question["spec"]["user"].as_str().unwrap().starts_with("good")})
            };
            (201, question)
        }
    }

    impl Service<Request<Body>> for Server {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            let server = self.clone();
            Box::pin(async move {
                let path = request.uri().path().to_owned();
                let question = request.into_body().collect_bytes().await.unwrap();
                let (code, answer) = server.answer(&path, serde_json::from_slice(&question).unwrap());
                let answer = Body::from(serde_json::to_vec(&answer).unwrap());
                Ok(Response::builder().status(code).body(answer).unwrap())
            })
        }
    }

    fn reviewer() -> (Server, Reviewer) {
        let server = Server::default();
        let client = Client::new(server.clone(), "default");
        (server, Reviewer::new(&client))
    }

    #[tokio::test]
    async fn an_answer_is_asked_for_once() {
        let (server, reviewer) = reviewer();
        for (token, verdict, cost) in [
            ("good", Verdict::Allowed, 2),
            ("weak", Verdict::Forbidden, 2),
            ("bad", Verdict::Unauthenticated, 1),
        ] {
            let before = server.asked();
            for _ in 0..3 {
                assert_eq!(reviewer.review(token).await, Ok(verdict));
            }
            assert_eq!(server.asked(), before + cost, "{token}");
        }
    }

    #[test]
    fn a_permission_is_remembered_for_a_minute_and_a_refusal_for_ten_seconds() {
        let now = Instant::now();
        for (verdict, life) in
            [(Verdict::Allowed, 60), (Verdict::Forbidden, 10), (Verdict::Unauthenticated, 10)]
        {
            let mut memory = Memory::new();
            memory.keep([1; 32], verdict, now);
            let life = Duration::from_secs(life);
            let after = |memory: &mut Memory, passed| memory.find(&[1; 32], now + passed);
            assert_eq!(after(&mut memory, life - Duration::from_millis(1)), Some(verdict));
            assert_eq!(after(&mut memory, life), None, "{verdict:?}");
            assert_eq!(memory.find(&[2; 32], now), None);
        }
    }

    #[test]
    fn a_permission_that_was_taken_back_is_not_remembered_beside_the_refusal() {
        let now = Instant::now();
        let mut memory = Memory::new();
        memory.keep([1; 32], Verdict::Allowed, now);
        memory.keep([1; 32], Verdict::Forbidden, now);
        assert_eq!(memory.find(&[1; 32], now), Some(Verdict::Forbidden));
        memory.keep([1; 32], Verdict::Allowed, now);
        assert_eq!(memory.find(&[1; 32], now), Some(Verdict::Allowed));
    }

    #[tokio::test]
    async fn a_question_without_an_answer_is_no_permission_and_is_asked_again() {
        let (server, reviewer) = reviewer();
        server.is_down(true);
        assert_eq!(reviewer.review("good").await, Err(Unanswered));
        server.is_down(false);
        assert_eq!(reviewer.review("good").await, Ok(Verdict::Allowed));
    }

    #[tokio::test]
    async fn a_flood_of_bad_tokens_costs_neither_memory_nor_anybodys_permission() {
        let (server, reviewer) = reviewer();
        assert_eq!(reviewer.review("good").await, Ok(Verdict::Allowed));
        for number in 0..3 * MOST_DENIED {
            assert_eq!(reviewer.review(&format!("bad-{number}")).await, Ok(Verdict::Unauthenticated));
        }
        let before = server.asked();
        assert_eq!(reviewer.review("good").await, Ok(Verdict::Allowed));
        assert_eq!(server.asked(), before);
    }

    #[tokio::test]
    async fn what_can_be_no_token_is_not_asked_about() {
        let (server, reviewer) = reviewer();
        for token in ["", &"x".repeat(LONGEST_TOKEN + 1)] {
            assert_eq!(reviewer.review(token).await, Ok(Verdict::Unauthenticated));
        }
        assert_eq!(server.asked(), 0);
    }
}
