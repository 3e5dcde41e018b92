//! Slow disks: each fsync of one thread of another process waits at its beginning, as it would for a disk that is busy.
//! Done with ptrace, which any user may do to the processes that it has started, whatever disk they write to.
//!
//! The kernel lets go of a traced thread when the thread that traces it ends, whatever either of them was doing. So a
//! brake is lifted by the end of its thread, and a harness that dies leaves the node going on, or ending, as it would.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Slows the fsyncs of one thread until it is dropped.
#[derive(Debug)]
pub(crate) struct Brake {
    /// Never used: the thread sees that it is gone.
    over: Sender<Infallible>,
    tracer: JoinHandle<()>,
    held: Arc<AtomicU64>,
}

/// Why there is no brake.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the harness can't read the system calls of this kind of machine")]
    Elsewhere,
    #[error("tracing the node is not allowed here: {0}")]
    Refused(Errno),
    #[error("process {0} has no thread {1:?}")]
    NoThread(u32, &'static str),
    #[error("the thread that traces: {0}")]
    Thread(#[from] std::io::Error),
}

/// The thread of a node that writes and syncs.
pub(crate) const WRITER: &str = "storage-writer";
/// How often a thread that goes on is looked at: it stands still for about so long at every system call.
const LOOK: Duration = Duration::from_micros(200);
/// How often a process that somebody has stopped is looked at.
const STOPPED: Duration = Duration::from_millis(5);
/// Whether [`entered`] works here.
const KNOWN: bool = cfg!(all(
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
));

/// How the tracing of a thread ends.
enum End {
    /// The brake is lifted, or the thread is no more.
    Over,
    /// The whole process was stopped, and is left so.
    Stopped,
}

// === impl Brake ===

impl Brake {
    /// Has each fsync of the process's thread of that name take so much longer.
    pub(crate) fn pull(pid: u32, thread: &'static str, longer: Duration) -> Result<Brake, Error> {
        if !KNOWN {
            return Err(Error::Elsewhere);
        }
        let task = task(pid, thread).ok_or(Error::NoThread(pid, thread))?;
        let held = Arc::new(AtomicU64::new(0));
        let (over, lifted) = mpsc::channel();
        let (begun, begins) = mpsc::channel();
        let counted = held.clone();
        // One thread for each: ptrace is between two threads.
        let tracer = std::thread::Builder::new()
            .name("brake".to_owned())
            .spawn(move || {
                let seized = seize(task);
                let goes_on = seized.is_ok();
                let _ = begun.send(seized);
                if goes_on {
                    // Any error means that the thread is gone: it ends here, and with it the tracing.
                    let _ = hold_back(task, longer, &lifted, &counted);
                }
            })?;
        match begins.recv() {
            Ok(Ok(())) => Ok(Brake { over, tracer, held }),
            Ok(Err(errno)) => Err(Error::Refused(errno)),
            Err(_) => Err(Error::Refused(Errno::ESRCH)),
        }
    }

    /// How many fsyncs it has held back.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Lifts it; returns when it is.
    pub(crate) async fn lift(self) {
        drop(self.over);
        while !self.tracer.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// The thread of that name.
fn task(pid: u32, name: &str) -> Option<Pid> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let named = tasks.filter_map(Result::ok).find(|task| {
        let called = std::fs::read_to_string(task.path().join("comm"));
        called.is_ok_and(|called| called.trim_end() == name)
    })?;
    Some(Pid::from_raw(named.file_name().to_str()?.parse().ok()?))
}

fn seize(task: Pid) -> nix::Result<()> {
    ptrace::seize(task, Options::PTRACE_O_TRACESYSGOOD)?;
    ptrace::interrupt(task)
}

/// Holds the fsyncs of a seized thread back until the brake is lifted.
fn hold_back(
    task: Pid,
    longer: Duration,
    lifted: &Receiver<Infallible>,
    held: &AtomicU64,
) -> nix::Result<()> {
    while let End::Stopped = follow(task, longer, lifted, held)? {
        while is_stopped(task) {
            if !goes_on(lifted, STOPPED) {
                return Ok(());
            }
        }
        seize(task)?;
    }
    Ok(())
}

/// Lets the thread go from one system call to the next, and wait where it syncs.
fn follow(task: Pid, longer: Duration, lifted: &Receiver<Infallible>, held: &AtomicU64) -> nix::Result<End> {
    loop {
        let signal = match waitpid(task, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG))? {
            WaitStatus::StillAlive => {
                if !goes_on(lifted, LOOK) {
                    return Ok(End::Over);
                }
                continue;
            }
            WaitStatus::PtraceSyscall(_) => {
                if entered(task)?.is_some_and(is_sync) {
                    held.fetch_add(1, Ordering::Relaxed);
                    if !goes_on(lifted, longer) {
                        return Ok(End::Over);
                    }
                }
                None
            }
            WaitStatus::Stopped(_, signal) => Some(signal), // it is for the thread
            WaitStatus::PtraceEvent(_, signal, _) if signal != nix::sys::signal::SIGTRAP => {
                ptrace::detach(task, None)?;
                return Ok(End::Stopped);
            }
            WaitStatus::PtraceEvent(..) | WaitStatus::Continued(_) => None,
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return Ok(End::Over),
        };
        ptrace::syscall(task, signal)?;
    }
}

/// Waits for so long. `false` as soon as the brake is lifted.
fn goes_on(lifted: &Receiver<Infallible>, time: Duration) -> bool {
    matches!(lifted.recv_timeout(time), Err(RecvTimeoutError::Timeout))
}

fn is_sync(call: libc::c_long) -> bool {
    [libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_sync_file_range].contains(&call)
}

/// The system call that the thread is about to make; none if it has just made one.
#[cfg(all(target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn entered(task: Pid) -> nix::Result<Option<libc::c_long>> {
    if ptrace::syscall_info(task)?.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return Ok(None);
    }
    let registers = ptrace::getregs(task)?;
    #[cfg(target_arch = "x86_64")]
    let call = registers.orig_rax;
    #[cfg(target_arch = "aarch64")]
    let call = registers.regs[8];
    Ok(Some(call as libc::c_long))
}

#[cfg(not(all(target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn entered(_: Pid) -> nix::Result<Option<libc::c_long>> {
    Ok(None)
}

/// Whether the thread stands still because its process was told to.
fn is_stopped(task: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{task}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::unix::process::ExitStatusExt;
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};
    use std::time::Instant;

    use nix::sys::signal::{Signal, kill};

    use super::*;

    /// Where the child writes.
    const FILE: &str = "ROOKERY_BRAKE_FILE";
    const LONGER: Duration = Duration::from_millis(100);

    /// Another process that syncs all the time, with its file: a byte for every sync.
    struct Syncing {
        child: Child,
        file: PathBuf,
    }

    impl Syncing {
        fn start(name: &str) -> Syncing {
            let file = std::env::temp_dir().join(format!("rookery-brake-{name}-{}", std::process::id()));
            File::create(&file).unwrap();
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "brake::tests::syncs_until_it_is_killed", "--ignored"])
                .env(FILE, &file)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let syncing = Syncing { child, file };
            syncing.sync_again(3);
            syncing
        }

        fn synced(&self) -> u64 {
            std::fs::metadata(&self.file).unwrap().len()
        }

        fn sync_again(&self, times: u64) {
            let before = self.synced();
            until(|| self.synced() >= before + times);
        }

        fn brake(&self) -> Brake {
            Brake::pull(self.child.id(), WRITER, LONGER).unwrap()
        }
    }

    impl Drop for Syncing {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
            let _ = std::fs::remove_file(&self.file);
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this thread runs a test and nothing else"
    )]
    fn until(mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !condition() {
            assert!(Instant::now() < deadline, "waited in vain");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test)
    }

    #[test]
    #[ignore = "the other process of these tests"]
    fn syncs_until_it_is_killed() {
        let Some(file) = std::env::var_os(FILE) else {
            return;
        };
        let writes = move || {
            let mut file = File::options().append(true).open(Path::new(&file)).unwrap();
            while file.write_all(b"x").is_ok() && file.sync_data().is_ok() {}
        };
        let writer = std::thread::Builder::new().name(WRITER.to_owned()).spawn(writes);
        writer.unwrap().join().unwrap();
    }

    #[test]
    fn every_sync_is_held_back_while_the_brake_is_on_and_none_afterwards() {
        let syncing = Syncing::start("on");
        let brake = syncing.brake();
        until(|| brake.held() >= 1);
        let (began, first, before) = (Instant::now(), brake.held(), syncing.synced());
        until(|| brake.held() >= first + 5);
        assert!(began.elapsed() >= LONGER * 4, "each waits for the one before");
        let synced = syncing.synced() - before;
        assert!(synced <= brake.held() - first + 1, "{synced} of them");
        let held = brake.held.clone();
        run(brake.lift());
        let before = held.load(Ordering::Relaxed);
        syncing.sync_again(50);
        assert_eq!(held.load(Ordering::Relaxed), before, "none is held back");
    }

    #[test]
    fn a_process_that_is_killed_under_the_brake_is_gone_and_so_is_the_brake() {
        let mut syncing = Syncing::start("killed");
        let brake = syncing.brake();
        until(|| brake.held() >= 1);
        syncing.child.kill().unwrap();
        assert_eq!(syncing.child.wait().unwrap().signal(), Some(9));
        until(|| brake.tracer.is_finished());
    }

    #[test]
    fn a_process_that_is_stopped_under_the_brake_stands_still_until_it_is_continued() {
        let syncing = Syncing::start("stopped");
        let brake = syncing.brake();
        until(|| brake.held() >= 1);
        let pid = Pid::from_raw(syncing.child.id() as i32);
        kill(pid, Signal::SIGSTOP).unwrap();
        until(|| is_stopped(pid) && is_stopped(task(syncing.child.id(), WRITER).unwrap()));
        let held = brake.held();
        kill(pid, Signal::SIGCONT).unwrap();
        until(|| brake.held() >= held + 2);
    }

    #[test]
    fn several_processes_are_slowed_at_once_and_one_that_lacks_the_thread_is_refused() {
        let (one, other) = (Syncing::start("one"), Syncing::start("other"));
        let brakes = [one.brake(), other.brake()];
        until(|| brakes.iter().all(|brake| brake.held() >= 2));
        let twice = Brake::pull(one.child.id(), WRITER, LONGER);
        assert!(matches!(twice, Err(Error::Refused(Errno::EPERM))), "{twice:?}");
        let none = Brake::pull(one.child.id(), "no such thread", LONGER);
        assert!(matches!(none, Err(Error::NoThread(..))), "{none:?}");
        drop(brakes);
        one.sync_again(20);
        other.sync_again(20);
    }
}
