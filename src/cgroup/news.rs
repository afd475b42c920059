//! What became of a call's leftovers when there was nobody to tell it to: kept on `calls/` for the next call of the
//! session. That call reads when the last sweep was anyway, and learns from the same attribute that there are news.

use super::dir::Dir;
use super::mark;
use crate::class::Class;
use std::time::Duration;

/// Leftovers of a call that kept forking and were killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Killed {
    /// What the call was.
    pub class: Class,
    /// pids.max.
    pub limit: u64,
}

/// Each of them on `calls/`: the class's number and the limit, native-endian u64.
const ENTRY: usize = 16;
/// No more are kept.
const MOST: usize = 16;
/// A sweep that began before the news may take their sign away: it is set anew then, so many times.
const TRIES: u32 = 10;
const BETWEEN: Duration = Duration::from_millis(50);

/// CLOCK_BOOTTIME in ns of the last sweep, and whether there are news.
pub fn swept(calls: &Dir) -> (Option<u64>, bool) {
    let mut buf = [0; 16];
    let mark = calls.mark(mark::SWEPT, &mut buf).unwrap_or_default();
    (mark.first_chunk().map(|time| u64::from_ne_bytes(*time)), mark.len() > 8)
}

/// A sweep has begun.
pub fn set_swept(calls: &Dir, now: u64) {
    let _ = calls.set_mark(mark::SWEPT, &now.to_ne_bytes());
}

/// Takes all news: nobody else is told of them.
pub fn take(calls: &Dir) -> Vec<Killed> {
    let mut buf = [0; ENTRY * MOST];
    let news = read(calls, &mut buf).iter().filter_map(decode).collect();
    let _ = calls.remove_mark(mark::NEWS);
    news
}

/// Leaves news for the next call. Comes back when that is sure, or has been tried for half a second.
pub fn leave(calls: &Dir, killed: Killed) {
    let mut buf = [0; ENTRY * MOST];
    let earlier = read(calls, &mut buf);
    let mut all: Vec<u8> = earlier[earlier.len().saturating_sub(MOST - 1)..].concat();
    all.extend((killed.class as u64).to_ne_bytes());
    all.extend(killed.limit.to_ne_bytes());
    if calls.set_mark(mark::NEWS, &all).is_err() {
        return;
    }
    for _ in 0..TRIES {
        if read(calls, &mut [0; ENTRY * MOST]).is_empty() {
            return;
        }
        let (last, has_news) = swept(calls);
        if !has_news {
            let mut mark = last.unwrap_or(0).to_ne_bytes().to_vec();
            mark.push(1);
            let _ = calls.set_mark(mark::SWEPT, &mark);
        }
        std::thread::sleep(BETWEEN);
    }
}

fn read<'b>(calls: &Dir, buf: &'b mut [u8]) -> &'b [[u8; ENTRY]] {
    calls.mark(mark::NEWS, buf).unwrap_or_default().as_chunks().0
}

fn decode(entry: &[u8; ENTRY]) -> Option<Killed> {
    let (class, limit) = entry.split_first_chunk::<8>()?;
    let class = u64::from_ne_bytes(*class);
    Some(Killed {
        class: Class::LEAVES.into_iter().find(|c| *c as u64 == class)?,
        limit: u64::from_ne_bytes(*limit.first_chunk()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of a file system that keeps extended attributes of users; none if this machine has no such.
    fn calls() -> Option<(tempfile::TempDir, Dir)> {
        let tmp = tempfile::tempdir().unwrap();
        let dir = Dir::open_anywhere(tmp.path()).unwrap();
        dir.set_mark(mark::SWEPT, &5u64.to_ne_bytes()).is_ok().then_some((tmp, dir))
    }

    #[test]
    fn news_are_told_once_and_do_not_disturb_the_time_of_the_sweep() {
        let Some((_tmp, calls)) = calls() else { return };
        assert_eq!(swept(&calls), (Some(5), false));
        let bomb = |limit| Killed { class: Class::Test, limit };
        leave(&calls, bomb(150));
        leave(&calls, bomb(151));
        assert_eq!(swept(&calls), (Some(5), true));
        assert_eq!(take(&calls), [bomb(150), bomb(151)]);
        assert_eq!(take(&calls), []);
        set_swept(&calls, 6);
        assert_eq!(swept(&calls), (Some(6), false));
    }

    #[test]
    fn only_the_latest_news_are_kept() {
        let Some((_tmp, calls)) = calls() else { return };
        let entry = |limit: u64| [(Class::Run as u64).to_ne_bytes(), limit.to_ne_bytes()].concat();
        let full: Vec<u8> = (0..MOST as u64).flat_map(entry).collect();
        calls.set_mark(mark::NEWS, &full).unwrap();
        leave(&calls, Killed { class: Class::Run, limit: 99 });
        let limits: Vec<u64> = take(&calls).iter().map(|k| k.limit).collect();
        assert_eq!(limits, (1..MOST as u64).chain([99]).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_no_news_is_passed_over() {
        let Some((_tmp, calls)) = calls() else { return };
        calls.set_mark(mark::NEWS, b"something else of 33 bytes in all").unwrap();
        assert_eq!(take(&calls), []);
    }
}
