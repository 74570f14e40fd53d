//! The request in hand on an HTTP/1 connection, until its answer is there. It is kept beside hyper and not in it, so
//! that hyper can go while the answer is awaited.

use pin_project_lite::pin_project;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// See the module. `F` is what answers a request.
pub(super) struct InHand<F: Future> {
    place: RefCell<Option<Pin<Box<Place<F>>>>>,
}

pin_project! {
    /// One allocation for all requests of a connection.
    struct Place<F: Future> {
        #[pin]
        awaited: Option<F>,
        ready: Option<F::Output>,
    }
}

/// The answer to the request in hand, as hyper waits for it.
pub(super) struct AnswerInHand<F: Future>(Rc<InHand<F>>);

impl<F: Future> InHand<F> {
    /// No request, but perhaps the answer to the first one.
    pub(super) fn new(ready: Option<F::Output>) -> Rc<Self> {
        let place = Box::pin(Place { awaited: None, ready });
        Rc::new(Self { place: RefCell::new(Some(place)) })
    }

    /// A request is here. It is answered by what is ready, or else by what `begin` makes.
    #[inline]
    pub(super) fn answer_with(self: &Rc<Self>, begin: impl FnOnce() -> F) -> AnswerInHand<F> {
        if let Some(place) = &mut *self.place.borrow_mut()
            && place.ready.is_none()
        {
            place.as_mut().project().awaited.set(Some(begin()));
        }
        AnswerInHand(Rc::clone(self))
    }

    /// Whether an answer is awaited.
    pub(super) fn is_awaited(&self) -> bool {
        self.place.borrow().as_ref().is_some_and(|place| place.awaited.is_some())
    }

    /// Takes the awaited answer away from hyper, which must be gone before it is polled again.
    pub(super) fn take(&self) -> Option<Pin<Box<dyn Future<Output = F::Output>>>>
    where
        F: 'static,
        F::Output: 'static,
    {
        let place = self.place.take().filter(|place| place.awaited.is_some())?;
        Some(place)
    }
}

impl<F: Future> Future for Place<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        if let Some(awaited) = this.awaited.as_mut().as_pin_mut() {
            let answer = ready!(awaited.poll(cx));
            this.awaited.set(None);
            return Poll::Ready(answer);
        }
        // Nobody asks again once it was given.
        this.ready.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<F: Future> Future for AnswerInHand<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match &mut *self.0.place.borrow_mut() {
            Some(place) => place.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}
