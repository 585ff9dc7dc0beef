//! What a panic does to the process. In a program of its own: a child has every open file of its parent until it runs its own program,
//! locked ones too, so a test beside this one might find a state directory in use that it has just closed.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::thread;

use corelane_mediactl::control::{THREAD_NAME, abort_on_panic};
use corelane_mediactl::slow;

const CHILD: &str = "CORELANE_TEST_PANICS_ON";
const SIGABRT: i32 = 6;

/// Runs this very test again as a child process that panics on a thread of the given name.
fn panic_on(thread: &str) -> Output {
    let this = std::env::current_exe().expect("a test binary has a path");
    let arguments = ["--exact", "a_panic_aborts_everywhere_but_here", "--nocapture"];
    Command::new(this).args(arguments).env(CHILD, thread).output().expect("it runs")
}

#[test]
fn a_panic_aborts_everywhere_but_here() {
    if let Ok(name) = std::env::var(CHILD) {
        abort_on_panic();
        let thread = thread::Builder::new().name(name).spawn(|| panic!("on purpose")).expect("a thread");
        assert!(thread.join().is_err(), "it panicked, and the process lives");
        return;
    }
    let shard = panic_on("shard-0");
    assert_eq!(shard.status.signal(), Some(SIGABRT));
    let told = String::from_utf8_lossy(&shard.stderr);
    assert!(told.contains("on purpose") && told.contains("a panic on thread `shard-0`"), "{told}");
    assert!(panic_on(THREAD_NAME).status.success(), "the control core's panic ends its thread only");
    assert!(panic_on(slow::THREAD_NAME).status.success(), "so does slow work's");
}
