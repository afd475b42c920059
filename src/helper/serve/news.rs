//! The ring in which the monitor names processes that have become a program in an agent's cgroup.

use crate::helper::bpf::direct::{self, Process};
use crate::helper::bpf::pins;
use libbpf_rs::{MapCore, MapHandle, RingBuffer, RingBufferBuilder};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// The longest that one wait lasts: then it is time for other work, and to see whether the ring is still the same.
const TURN: Duration = Duration::from_millis(500);

/// What comes in, whether the monitor is loaded, not loaded or loaded anew.
#[derive(Default)]
pub struct News {
    ring: Option<Ring>,
}

struct Ring {
    id: u32,
    buffer: RingBuffer<'static>,
    come: Rc<RefCell<Vec<Process>>>,
}

impl News {
    /// Waits for news, for a moment at most.
    pub fn wait(&mut self) -> Vec<Process> {
        let mut come = Vec::new();
        let pinned = pinned();
        if self.ring.as_ref().map(|ring| ring.id) != pinned.as_ref().map(|(id, _)| *id) {
            self.ring = pinned.and_then(|(id, map)| Ring::open(id, &map));
            // What lives already came while nobody listened; the ring may name it again, which does no harm.
            let known = direct::all().unwrap_or_default();
            come.extend(known.iter().filter(|it| it.ended_ns == 0).map(|it| it.process));
        }
        let Some(ring) = &self.ring else {
            std::thread::sleep(TURN);
            return come;
        };
        let time = if come.is_empty() { TURN } else { Duration::ZERO };
        if ring.buffer.poll(time).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        come.append(&mut ring.come.borrow_mut());
        come.sort_unstable();
        come.dedup();
        come
    }
}

fn pinned() -> Option<(u32, MapHandle)> {
    let map = MapHandle::from_pinned_path(pins::map(direct::NEWS)).ok()?;
    Some((map.info().ok()?.info.id, map))
}

impl Ring {
    fn open(id: u32, map: &MapHandle) -> Option<Ring> {
        let come = Rc::new(RefCell::new(Vec::new()));
        let into = Rc::clone(&come);
        let mut builder = RingBufferBuilder::new();
        builder
            .add(map, move |bytes| {
                into.borrow_mut().extend(Process::decode(bytes));
                0
            })
            .ok()?;
        Some(Ring { id, buffer: builder.build().ok()?, come })
    }
}
