//! Work under a lease that runs in a task of its own, out of reach of the layer: dropped when the lease ends.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::{
    access::Deadline,
    lease::Lease,
    liveness::{Hold, Registration, Use},
};

pin_project! {
    /// The future of [`Lease::guard`], and of whatever else work is bound to.
    #[must_use = "futures do nothing unless polled"]
    pub struct Guarded<F> {
        #[pin]
        work: Option<F>,
        hold: Hold,
        deadline: Option<Box<Deadline>>,
        registration: Option<Registration>,
    }
}

impl Lease {
    /// Runs `work` as long as the lease holds; `None` is that the lease ended first and `work` was dropped.
    ///
    /// The layer drops the calls and bodies that it sees. What a service spawned in the meantime it does
    /// not see: such a task runs its work under this, and a rotation does not return before the work is
    /// over or dropped (or 500 ms have passed, if it blocks its thread). Work is dropped where it waits, so
    /// what it has handed to other threads (`spawn_blocking`) is not reached.
    ///
    /// ```
    /// # use tower_workspace_token::authority::VerifiedToken;
    /// # async fn send_mail() {}
    /// fn send_later(token: &VerifiedToken) {
    ///     let lease = token.lease().clone();
    ///     tokio::spawn(async move { lease.guard(send_mail()).await });
    /// }
    /// ```
    pub fn guard<F: Future>(&self, work: F) -> Guarded<F> {
        Guarded {
            deadline: self.deadline(),
            ..Guarded::new(work, self.hold())
        }
    }
}

impl<F> Guarded<F> {
    pub(crate) fn new(work: F, hold: Hold) -> Self {
        Self {
            work: Some(work),
            hold,
            deadline: None,
            registration: None,
        }
    }
}

impl<F: Future> Future for Guarded<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // Joined before the check: a rotation waits for a poll that the check let through.
        match this.registration {
            Some(registration) => registration.rewake(cx.waker()),
            None => {
                *this.registration = Some(this.hold.register(Use::Work, cx.waker().clone()));
            }
        }
        let has_passed = this.deadline.as_ref().is_some_and(|it| it.has_passed());
        let finished = match this.work.as_mut().as_pin_mut() {
            Some(work) if this.hold.is_live() && !has_passed => match work.poll(cx) {
                Poll::Ready(output) => Some(output),
                Poll::Pending => {
                    if let Some(deadline) = this.deadline {
                        deadline.wake(cx);
                    }
                    return Poll::Pending;
                }
            },
            _ => None,
        };
        // The work first: leaving the waiters is what lets a rotation return.
        this.work.set(None);
        *this.registration = None;
        Poll::Ready(finished)
    }
}

impl<F> fmt::Debug for Guarded<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("hold", &self.hold)
            .finish_non_exhaustive()
    }
}
