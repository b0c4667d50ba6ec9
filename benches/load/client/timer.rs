//! Waiting for a moment exactly. The runtime's own timers turn once a millisecond, which is more than is measured here.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

pub(crate) struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    pub(crate) fn new() -> io::Result<Timer> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // SAFETY: the descriptor is owned, and stays the same and open until it is dropped.
        let timer = unsafe { AsyncFd::register(timer) }?;
        Ok(Timer(timer))
    }

    /// Returns at that moment, or at once if it has passed.
    pub(crate) async fn until(&self, moment: Instant) -> io::Result<()> {
        let Some(left) = moment.checked_duration_since(Instant::now()).filter(|it| !it.is_zero()) else {
            return Ok(());
        };
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) },
        };
        timerfd_settime(self.0.as_fd(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.0.readable().await?;
            let mut count = [0; 8];
            match ready.try_io(|it| Ok(rustix::io::read(it.get_ref(), &mut count)?)) {
                Ok(read) => return read.map(drop),
                Err(_would_block) => {}
            }
        }
    }
}
