//! Who runs the media task: over its panics, and to its end.
//!
//! **Panic.** The task is started again with a new machine, which goes on with what of the one before cannot be in doubt; requests that were pending are answered by the timers of who asked. The
//! record, request or datagram that it was about is not handled twice.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::{spawn_local, yield_now};
use tokio::time::sleep;

use super::machine::MediaMachine;
use super::media::Media;

/// From a panic to the next start of the task.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// How long the end of the task waits for deletes that are due.
const STOP_DELETES: Duration = Duration::from_secs(2);
/// How often it looks meanwhile.
const STOP_LOOK: Duration = Duration::from_millis(2);

/// The end of the task, after that of the shards: takes what they have left behind, and stays until the deletes that are due are acknowledged;
/// no longer than [`STOP_DELETES`], and not for nodes that are given up. What is left then stays in the table for the next start.
pub(super) async fn finish<M: MediaMachine + 'static>(media: Rc<RefCell<Media<M>>>) {
    let began = media.borrow().clock.monotonic();
    let until = began.after(STOP_DELETES);
    media.borrow_mut().read_all(began);
    loop {
        let pays = {
            let media = media.borrow();
            let pays = media.machine.as_ref().is_some_and(|machine| machine.pays(until));
            pays && media.clock.monotonic() < until
        };
        if !pays {
            break;
        }
        // The task itself goes on meanwhile: it hears the nodes, and asks again.
        sleep(STOP_LOOK).await;
    }
    media.borrow_mut().copy_counters();
}

/// Runs the task, and again whenever it panics.
pub(super) async fn supervise<M: MediaMachine + 'static>(media: Rc<RefCell<Media<M>>>) {
    let mut told = false;
    loop {
        match spawn_local(run(Rc::clone(&media))).await {
            Err(failed) if failed.is_panic() => {
                media.borrow_mut().on_panic();
            }
            Ok(Err(error)) if !told => {
                media.borrow().teller.tell(format!("media control cannot start, and tries again: {error}"));
                told = true;
            }
            Ok(Err(_)) => {}
            // Cancelled: the runtime ends.
            Ok(Ok(())) | Err(_) => return,
        }
        sleep(RESTART_PAUSE).await;
    }
}

async fn run<M: MediaMachine + 'static>(media: Rc<RefCell<Media<M>>>) -> io::Result<()> {
    loop {
        if media.borrow_mut().turn()? {
            // Signals and names have their turn, too.
            yield_now().await;
            continue;
        }
        let Some(rest) = media.borrow().rest() else { continue };
        let mut timer = pin!(sleep(rest));
        poll_fn(|context| {
            let heard = media.borrow_mut().poll(context);
            let due = timer.as_mut().poll(context).is_ready();
            if heard || due { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        media.borrow().ways.bus.awake();
    }
}
