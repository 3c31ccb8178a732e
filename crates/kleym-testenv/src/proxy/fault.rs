//! What can be done to a call, to its answer, and to an event of a watch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;

/// What happens to a call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The API server never hears of it; the proxy answers.
    Answer(Reply),
    /// The API server carries it out; the proxy answers something else.
    AnswerAfter(Reply),
    /// It is passed on after this time, whether or not anybody still waits for the answer.
    Delay(Duration),
    /// It is passed on when the gate opens, whether or not anybody still waits for the answer.
    Hold(Gate),
    /// It is carried out at once, and answered when the gate opens.
    HoldAnswer(Gate),
    /// It is carried out twice; the second answer counts.
    Twice,
    /// It is carried out, and its answer ends in the middle, after so many bytes.
    Truncate(usize),
    /// The API server never hears of it; the connection breaks.
    Cut,
    /// It is carried out; the connection breaks before the answer.
    CutAfter,
}

/// What happens to an event of a watch.
#[derive(Debug, Clone)]
pub enum EventFault {
    /// It never arrives.
    Drop,
    /// It arrives twice.
    Twice,
    /// It and all that follows arrive later.
    Delay(Duration),
}

/// An answer that the proxy gives.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(super) code: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

impl Reply {
    /// A JSON body.
    pub fn json(code: u16, body: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { code, headers, body: body.to_string().into() }
    }

    /// A Status as an API server writes it, without details.
    pub fn status(code: u16, reason: &str, message: &str) -> Self {
        Self::json(
            code,
            &json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": message, "reason": reason, "code": code,
            }),
        )
    }

    /// What a proxy or a load balancer says.
    pub fn text(code: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self { code, headers: vec![("content-type", content_type.to_owned())], body: body.into() }
    }

    /// Its code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The same answer with another header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// How often a fault has struck. Clones count the same.
#[derive(Debug, Clone, Default)]
pub struct Strikes(Arc<AtomicUsize>);

impl Strikes {
    /// How often so far.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn strike(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A gate that is closed until it is opened, and then open for ever. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate {
    opened: Arc<watch::Sender<bool>>,
    waiting: Arc<watch::Sender<usize>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self { opened: Arc::new(watch::Sender::new(false)), waiting: Arc::new(watch::Sender::new(0)) }
    }

    /// Lets everything through, now and later.
    pub fn open(&self) {
        self.opened.send_replace(true);
    }

    /// Whether something stands before the gate, or has passed it.
    pub fn is_reached(&self) -> bool {
        *self.waiting.borrow() > 0
    }

    /// Waits until something stands before the gate, or has passed it.
    pub async fn reached(&self) {
        // The sender lives in `self`, so that this cannot fail.
        let _ = self.waiting.subscribe().wait_for(|count| *count > 0).await;
    }

    /// Waits until it is open.
    pub(super) async fn pass(&self) {
        self.waiting.send_modify(|count| *count += 1);
        self.opens().await;
    }

    /// The same for what does not count as having come to the gate.
    pub(super) async fn opens(&self) {
        let _ = self.opened.subscribe().wait_for(|open| *open).await;
    }
}
