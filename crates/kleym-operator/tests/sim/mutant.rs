//! Operators that break the protocol, for the proof that the simulation would notice: the real one, lied to about what
//! became of a call, or with its requests changed on the way.

use kleym_operator::perform::{Answer, Call};

use crate::feed::Report;
use crate::server::Server;
use crate::wire::Request;

/// A way to break the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {}

impl Mutant {
    /// What the operator is made to see.
    pub(crate) fn sees(mutant: Option<Self>, report: Report) -> Option<Report> {
        match mutant {
            None => Some(report),
            Some(mutant) => match mutant {},
        }
    }

    /// The answer to a call that is not even sent.
    pub(crate) fn answers(mutant: Option<Self>, _: &Call) -> Option<Answer> {
        match mutant {
            None => None,
            Some(mutant) => match mutant {},
        }
    }

    /// The request as it arrives.
    pub(crate) fn sends(mutant: Option<Self>, request: &Request, _: &Server) -> Request {
        match mutant {
            None => request.clone(),
            Some(mutant) => match mutant {},
        }
    }
}
