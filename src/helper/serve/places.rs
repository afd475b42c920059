//! How many processes are attended to at once. Each session has places of its own: looking at a process takes as long as that
//! likes (its command line may lie in memory that it hands out itself, by userfaultfd or FUSE), and none may keep serve from
//! looking at others'.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Of all sessions together.
const MOST: usize = 1024;
const OF_SESSION: usize = 64;
/// Descriptors for a program that is looked after: its leaf's files and those of the levels above, some 30 in a session of the
/// pool and 70 at most, and the processes on the way to one that it has started.
const OF_PROGRAM: u64 = 96;
/// And for all the rest of serve: who is at the door, containers that are watched, sweeping.
const OF_SERVE: u64 = 512;
/// So many are enough for all places.
pub const DESCRIPTORS: u64 = OF_SERVE + MOST as u64 * OF_PROGRAM;

/// Who has places: the session's cgroup id, and how many.
pub struct Places {
    most: usize,
    taken: Mutex<HashMap<u64, usize>>,
}

/// One place, until it is dropped.
pub struct Place {
    places: Arc<Places>,
    session: u64,
}

impl Places {
    /// As many as there are descriptors for: a program that is half seen to could stand still for good.
    pub fn within(descriptors: u64) -> Places {
        let most = descriptors.saturating_sub(OF_SERVE) / OF_PROGRAM;
        let most = usize::try_from(most).unwrap_or(MOST).min(MOST);
        Places { most, taken: Mutex::default() }
    }

    /// How many there are, if that is fewer than there should be.
    pub fn too_few(&self) -> Option<usize> {
        (self.most < MOST).then_some(self.most)
    }

    /// A place for a process of this session, unless that or all together have enough.
    pub fn take(places: &Arc<Places>, session: u64) -> Option<Place> {
        let mut taken = places.lock();
        let all: usize = taken.values().sum();
        if all >= places.most || taken.get(&session).is_some_and(|&of_session| of_session >= OF_SESSION) {
            return None;
        }
        *taken.entry(session).or_default() += 1;
        Some(Place { places: Arc::clone(places), session })
    }

    /// All that are taken.
    pub fn taken(&self) -> usize {
        self.lock().values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(of_session) = taken.get_mut(&self.session) {
            *of_session -= 1;
            if *of_session == 0 {
                taken.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_has_all_its_places_leaves_the_others_theirs() {
        let places = Arc::new(Places::within(DESCRIPTORS));
        let mut first: Vec<Place> = std::iter::from_fn(|| Places::take(&places, 1)).take(2 * MOST).collect();
        assert_eq!(first.len(), OF_SESSION);
        let second = Places::take(&places, 2);
        assert!(second.is_some());
        first.pop();
        assert!(Places::take(&places, 1).is_some(), "a place that is given back is free");
        drop((first, second));
        assert_eq!(places.taken(), 0);
    }

    #[test]
    fn all_sessions_together_have_so_many() {
        let places = Arc::new(Places::within(DESCRIPTORS));
        let all: Vec<Place> =
            (0..2 * MOST as u64).filter_map(|session| Places::take(&places, session)).collect();
        assert_eq!((all.len(), places.taken()), (MOST, MOST));
    }

    #[test]
    fn there_are_no_more_than_there_are_descriptors_for() {
        for (descriptors, most) in [(u64::MAX, MOST), (DESCRIPTORS, MOST), (4096, 37), (1024, 5), (256, 0)] {
            let places = Places::within(descriptors);
            assert_eq!((places.most, places.too_few().is_some()), (most, most < MOST));
        }
    }
}
