//! The model's API server: one binding's name and its output's, with uids, resourceVersions, finalizers, preconditions
//! and conflicts as the real one has them. Small numbers stand for uids and versions.

use kleym_core::plan::Failure;

/// What a binding declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Spec {
    /// One identity.
    A,
    /// Another identity.
    B,
    /// Something that is refused.
    Bad,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Binding {
    pub uid: u8,
    pub version: u8,
    pub deleting: bool,
    pub finalizer: bool,
    /// Whether a foreign finalizer keeps it.
    pub kept: bool,
    pub spec: Spec,
}

impl Binding {
    /// One that nobody has touched yet.
    pub(crate) fn declared(uid: u8, version: u8) -> Self {
        Self { uid, version, deleting: false, finalizer: false, kept: false, spec: Spec::A }
    }

    /// What is left of it: nothing when it is being deleted and no finalizer keeps it.
    pub(crate) fn unless_gone(self) -> Option<Self> {
        (!self.deleting || self.finalizer || self.kept).then_some(self)
    }
}

/// What an output looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    /// As rendered from a spec.
    Of(Spec),
    /// Rendered from a spec, then changed by hand.
    Tampered(Spec),
    /// Selecting nothing.
    Neutral,
    /// Somebody else's.
    Foreign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Output {
    pub uid: u8,
    pub version: u8,
    /// The uid of the binding it was written for.
    pub owner: u8,
    pub shape: Shape,
    pub deleting: bool,
    /// Whether a foreign finalizer keeps it.
    pub kept: bool,
}

/// A request with everything it is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Request {
    AddFinalizer {
        uid: u8,
        version: u8,
    },
    RemoveFinalizer {
        uid: u8,
        version: u8,
    },
    Create {
        owner: u8,
        spec: Spec,
    },
    Replace {
        uid: u8,
        version: u8,
        owner: u8,
        spec: Spec,
    },
    Neutralise {
        uid: u8,
        version: u8,
    },
    /// `orphan`: the sender takes it for an orphan.
    Delete {
        uid: u8,
        orphan: bool,
    },
    LookAtOutput,
    LookAtBinding {
        suspect: u8,
    },
}

/// What must never happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Violations {
    /// A finalizer left while an output of that binding existed.
    pub early_release: bool,
    /// A foreign output was changed or deleted.
    pub foreign_touched: bool,
    /// The output of a living binding was deleted as an orphan.
    pub living_swept: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub binding: Option<Binding>,
    pub output: Option<Output>,
    pub next_uid: u8,
    pub version: u8,
    pub violations: Violations,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self {
            binding: Some(Binding::declared(1, 1)),
            output: None,
            next_uid: 2,
            version: 1,
            violations: Violations::default(),
        }
    }

    pub(crate) fn bump(&mut self) -> u8 {
        self.version += 1;
        self.version
    }

    pub(crate) fn take_uid(&mut self) -> u8 {
        self.next_uid += 1;
        self.next_uid - 1
    }

    /// Applies a request as the API server would.
    pub(crate) fn serve(&mut self, request: Request) -> Result<(), Failure> {
        match request {
            Request::LookAtOutput | Request::LookAtBinding { .. } => Ok(()),
            Request::AddFinalizer { uid, version } => {
                let binding = self.binding_at(uid, version)?;
                if binding.deleting {
                    return Err(Failure::Rejected);
                }
                let version = self.bump();
                self.binding = Some(Binding { finalizer: true, version, ..binding });
                Ok(())
            }
            Request::RemoveFinalizer { uid, version } => {
                let binding = self.binding_at(uid, version)?;
                self.violations.early_release |=
                    self.output.is_some_and(|output| output.owner == uid && output.shape != Shape::Foreign);
                let version = self.bump();
                self.binding = Binding { finalizer: false, version, ..binding }.unless_gone();
                Ok(())
            }
            Request::Create { owner, spec } => {
                if self.output.is_some() {
                    return Err(Failure::Stale);
                }
                let (uid, version) = (self.take_uid(), self.bump());
                let shape = Shape::Of(spec);
                self.output = Some(Output { uid, version, owner, shape, deleting: false, kept: false });
                Ok(())
            }
            Request::Replace { uid, version, owner, spec } => self.replace(uid, version, |output| {
                output.owner = owner;
                output.shape = Shape::Of(spec);
            }),
            Request::Neutralise { uid, version } => {
                self.replace(uid, version, |output| output.shape = Shape::Neutral)
            }
            Request::Delete { uid, orphan } => {
                let output = self.output.ok_or(Failure::Absent)?;
                if output.uid != uid {
                    return Err(Failure::Stale);
                }
                self.violations.foreign_touched |= output.shape == Shape::Foreign;
                self.violations.living_swept |=
                    orphan && self.binding.is_some_and(|binding| binding.uid == output.owner);
                let version = self.bump();
                self.output = output.kept.then_some(Output { deleting: true, version, ..output });
                Ok(())
            }
        }
    }

    fn binding_at(&self, uid: u8, version: u8) -> Result<Binding, Failure> {
        let binding = self.binding.ok_or(Failure::Absent)?;
        if binding.uid == uid && binding.version == version { Ok(binding) } else { Err(Failure::Stale) }
    }

    fn replace(&mut self, uid: u8, version: u8, change: impl FnOnce(&mut Output)) -> Result<(), Failure> {
        let mut output = self.output.ok_or(Failure::Absent)?;
        if output.uid != uid || output.version != version {
            return Err(Failure::Stale);
        }
        self.violations.foreign_touched |= output.shape == Shape::Foreign;
        change(&mut output);
        output.version = self.bump();
        self.output = Some(output);
        Ok(())
    }
}
