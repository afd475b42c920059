//! Watching over the shell: one small loop over the signals and a timer, until the shell has ended.
//!
//! To the caller we are the shell. So what is sent to us reaches it, when it stops we stop, when we are continued it
//! goes on, and when it dies of a signal so do we.

use super::departed::{self, Departed};
use super::forward::{self, Pass, Sender};
use super::sentinel::Sentinel;
use super::voice::Voice;
use crate::cgroup::governor::Governor;
use crate::sys::fd;
use crate::sys::guardian;
use crate::sys::lifeboat;
use crate::sys::process::{self, Change, Used};
use crate::sys::signal::{self, Received, Stream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// What watches over the call's memory meanwhile: a governor, where there is a leaf.
pub struct Guard<'a>(pub Option<Governor<'a>>);

impl Guard<'_> {
    /// Looks, acts, and says when to look next.
    fn tick(&mut self, now: u64) -> Duration {
        self.0.as_mut().map_or(SLOWEST, |governor| governor.tick(now))
    }

    /// The file that tells of throttling.
    fn events(&self) -> Option<RawFd> {
        Some(self.0.as_ref()?.events()?.as_raw_fd())
    }

    fn throttled(&mut self) {
        if let Some(governor) = &mut self.0 {
            governor.throttled();
        }
    }

    /// The call is about to get a signal, or to be stopped: it must be able to run.
    fn let_run(&mut self) {
        if let Some(governor) = &mut self.0 {
            governor.signalled(process::monotonic_ns());
        }
    }
}

/// The first look at what the shell does with signals and with fd 2; each further one after twice the time.
const SOONEST: Duration = Duration::from_millis(10);
/// And never later than this.
const SLOWEST: Duration = Duration::from_millis(500);

/// What ends within a moment isn't worth more than its start and its end: it costs the machine what the start didn't leave to
/// others. A moment is so many times what the start took, as on a slow machine, an emulated one for instance, everything takes
/// longer, also the shell's way to where it could be told of a signal twice; within these bounds.
const STARTS: u32 = 8;
const MOMENT: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(60));

/// How the first moment has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Nothing has happened.
    No,
    /// A signal has come, and the shell goes on.
    GoesOn,
    /// The shell has ended.
    Ended,
}

/// One shell under supervision.
pub struct Supervision<'a> {
    /// Its pid.
    pub shell: i32,
    /// All signals, blocked and readable here.
    pub signals: &'a Stream,
    /// fd 2.
    pub voice: &'a mut Voice,
    /// What tells a signal to the group.
    pub sentinel: Sentinel,
    /// The shell's own group, if it leaves ours.
    pub departed: Departed,
}

impl Supervision<'_> {
    /// Waits until the first signal comes, for a moment at most: most commands are over by then. `start` is how long the start
    /// took.
    pub fn wait_a_moment(&self, start: Duration) -> Woken {
        let moment = start.saturating_mul(STARTS).clamp(MOMENT.0, MOMENT.1);
        if !fd::wait(self.signals.as_raw_fd(), None, moment).readable {
            return Woken::No;
        }
        if self.has_ended() { Woken::Ended } else { Woken::GoesOn }
    }

    /// Watches until the shell has ended.
    pub fn run(&mut self, guard: &mut Guard, woken: Woken) -> (Change, Used) {
        let end = self.until_end(guard, woken);
        self.sentinel.dismiss();
        self.departed.dismiss(self.shell);
        end
    }

    fn until_end(&mut self, guard: &mut Guard, woken: Woken) -> (Change, Used) {
        if woken == Woken::Ended
            && let Some(end) = self.reap(guard)
        {
            return end;
        }
        let we_lead = process::leads_session();
        let mut interval = SOONEST;
        let mut next_look = process::monotonic_ns() + nanos(SOONEST - MOMENT.0);
        loop {
            let now = process::monotonic_ns();
            let guard_wants = guard.tick(now);
            if now >= next_look {
                self.sentinel.update(self.shell);
                self.departed.update(self.shell);
                self.voice.follow(self.shell);
                interval = (interval * 2).min(SLOWEST);
                next_look = now + nanos(interval);
            }
            let wait = guard_wants.min(Duration::from_nanos(next_look - now));
            if fd::wait(self.signals.as_raw_fd(), guard.events(), wait).urgent {
                guard.throttled();
            }
            while let Some(received) = self.signals.next() {
                let told_by_kernel = received.signal == libc::SIGCHLD && received.code > 0;
                if !told_by_kernel {
                    let sender = Sender { inside: self.sent_by_the_call(&received), we_lead };
                    self.pass(&received, sender, guard);
                } else if let Some(end) = self.children(guard) {
                    return end;
                }
            }
            // Asked at every turn: the kernel's SIGCHLD is lost in one that somebody sent and that is still pending.
            if let Some(end) = self.children(guard) {
                return end;
            }
        }
    }

    fn sent_by_the_call(&self, received: &Received) -> bool {
        received.code == libc::SI_USER && forward::is_inside(received.pid as i32, self.shell)
    }

    fn pass(&mut self, received: &Received, sender: Sender, guard: &mut Guard) {
        let mut to_group = false;
        let on = match forward::decide(received, sender) {
            Pass::Drop => {
                // Answered already: the sentinel is to be asked for the next one anew.
                self.sentinel.was_group(received.signal);
                to_group = forward::is_typed(received);
                false
            }
            Pass::On => true,
            // To go on concerns a stopped shell, and one with a trap for it; one that went on by itself may have been stopped anew.
            Pass::Ask if received.signal == libc::SIGCONT => {
                let group = self.sentinel.was_group(received.signal);
                to_group = group == Some(true);
                group == Some(false) || forward::is_stopped(self.shell).unwrap_or(true)
            }
            Pass::Ask => match self.sentinel.was_group(received.signal) {
                Some(group) => {
                    to_group = group;
                    !group
                }
                // Sent in the shell's first moment. A shell that has become `timeout` may just have made its child, which it then
                // doesn't know yet and leaves behind: its group would have had the signal, too.
                None if departed::group_of(self.shell).is_some() => {
                    to_group = true;
                    false
                }
                // Not caught, so it does no harm twice. What began to be caught a moment ago may get it twice.
                None => true,
            },
        };
        // A held call must be able to take its signal, however it was sent.
        guard.let_run();
        if to_group && let Some(group) = departed::group_of(self.shell) {
            forward::send_to_group(received, group);
        } else if on {
            forward::send(received, self.shell);
        }
    }

    /// gVisor tells of a stop a moment before it shows it.
    fn is_still_stopped(&self) -> bool {
        forward::is_stopped(self.shell) == Some(true) || !process::has_gone_on(self.shell)
    }

    /// Has the shell ended? It can be waited for only once: should we fail right after that, the lifeboat must know.
    fn has_ended(&self) -> bool {
        let end = process::end_of(self.shell);
        end.inspect(|&end| lifeboat::ended(end)).is_some()
    }

    /// Takes every child's change; gives the shell's end.
    fn children(&mut self, guard: &mut Guard) -> Option<(Change, Used)> {
        self.has_ended();
        self.reap(guard)
    }

    fn reap(&mut self, guard: &mut Guard) -> Option<(Change, Used)> {
        let mut after_stop = None;
        let launcher = std::process::id() as i32;
        // Children that the caller left us by exec, and as PID 1 everybody's orphans, are reaped along.
        while let Some((pid, change, used)) = after_stop.take().or_else(|| process::changed(-1)) {
            if pid != self.shell {
                self.sentinel.heard(pid, change);
                continue;
            }
            match change {
                Change::Exited(_) | Change::Killed(_) => return Some((change, used)),
                Change::Stopped(number) if self.is_still_stopped() => {
                    guard.let_run();
                    // In gVisor whoever leaves a session leader's group, as the waker does, has it hung up if one of it is stopped.
                    let may_leave = forward::shows_masks();
                    let waker = may_leave.then(|| guardian::beside(|| wake(self.shell, launcher))).flatten();
                    signal::raise_default(number);
                    if let Some(waker) = waker {
                        guardian::end(waker, libc::SIGKILL);
                    }
                    // We are continued. If our whole group was, the shell has changed since, and may even have been
                    // stopped again; if only we were, it is our turn to continue it.
                    after_stop = process::changed(self.shell);
                    if after_stop.is_none() {
                        self.departed.go_on(self.shell);
                    }
                    signal::take(libc::SIGCONT);
                    self.sentinel.was_group(libc::SIGCONT);
                }
                // Continued since, before we could follow.
                Change::Stopped(_) | Change::Continued => {}
            }
        }
        None
    }
}

/// How often is looked, while we are stopped, whether the shell still is: first, and at last.
const WAKING: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(320));

/// Continues the launcher once the shell goes on without it: continued by its own pid, which only the call knows. Again and again, as
/// the launcher may not have stopped yet; it ends us.
fn wake(shell: i32, launcher: i32) {
    let mut pause = WAKING.0;
    loop {
        std::thread::sleep(pause);
        match forward::is_stopped(shell) {
            Some(true) => pause = (pause * 2).min(WAKING.1),
            // No /proc of ours, or it hides who has another user's rights.
            None => return,
            Some(false) => {
                pause = WAKING.0;
                process::kill(launcher, libc::SIGCONT);
            }
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
