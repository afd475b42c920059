//! How many processes are attended to at once. Each session has places of its own: looking at a process takes as long as that
//! likes (its command line may lie in memory that it hands out itself, by userfaultfd or FUSE), and none may keep serve from
//! looking at others'.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Of all sessions together.
const MOST: usize = 1024;
const OF_SESSION: usize = 64;

/// Who has places: the session's cgroup id, and how many.
#[derive(Default)]
pub struct Places(Mutex<HashMap<u64, usize>>);

/// One place, until it is dropped.
pub struct Place {
    places: Arc<Places>,
    session: u64,
}

impl Places {
    /// A place for a process of this session, unless that or all together have enough.
    pub fn take(places: &Arc<Places>, session: u64) -> Option<Place> {
        let mut taken = places.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        if all >= MOST || taken.get(&session).is_some_and(|&of_session| of_session >= OF_SESSION) {
            return None;
        }
        *taken.entry(session).or_default() += 1;
        Some(Place { places: Arc::clone(places), session })
    }

    /// All that are taken.
    pub fn taken(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let places = Arc::new(Places::default());
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
        let places = Arc::new(Places::default());
        let all: Vec<Place> =
            (0..2 * MOST as u64).filter_map(|session| Places::take(&places, session)).collect();
        assert_eq!((all.len(), places.taken()), (MOST, MOST));
    }
}
