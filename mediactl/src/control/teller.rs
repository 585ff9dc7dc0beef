//! What the control core has to say: lines, for whoever prints. A write to a pipe that nobody reads waits, and one to a pipe that is closed fails;
//! nothing here may do either.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

use super::Request;

/// Lines that may wait to be printed; what comes then is lost.
const WAITING_MAX: usize = 256;

/// A way to say something.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    requests: Sender<Request>,
    untold: Untold,
}

/// How many lines wait.
#[derive(Clone, Default, Debug)]
pub(super) struct Untold(Arc<AtomicUsize>);

impl Teller {
    /// The way, and the count for whoever prints.
    pub(super) fn new(requests: Sender<Request>) -> (Teller, Untold) {
        let untold = Untold::default();
        (Teller { requests, untold: untold.clone() }, untold)
    }

    /// Says a line.
    pub(super) fn tell(&self, line: String) {
        let waiting = self.untold.0.fetch_add(1, Ordering::Relaxed);
        if waiting >= WAITING_MAX || self.requests.send(Request::Tell(line)).is_err() {
            self.untold.told();
        }
    }
}

impl Untold {
    /// A line has been printed, or is lost.
    pub(super) fn told(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn nobody_who_prints_is_waited_for() {
        let (requests_in, requests) = mpsc::channel();
        let (teller, untold) = Teller::new(requests_in);
        (0..2 * WAITING_MAX).for_each(|line| teller.tell(line.to_string()));
        assert_eq!(requests.try_iter().inspect(|_| untold.told()).count(), WAITING_MAX);
        teller.tell("again".to_owned());
        assert_eq!(requests.try_recv(), Ok(Request::Tell("again".to_owned())));
        drop(requests);
        teller.tell("nobody prints".to_owned());
    }
}
