//! `serve --metrics`: what the kernel counts, as text for Prometheus. Read anew from the pinned maps whenever somebody asks,
//! one after another, so that nobody costs more than one thread.
//!
//! The monitor remembers a bounded number of calls that have ended, and so can't give totals of them: what is shown of calls are
//! those that live. What holding has done are totals since the scheduler was loaded.

use crate::class::Class;
use crate::helper::bpf::hold::{self, HoldTotals};
use crate::helper::bpf::stats::CallStats;
use crate::helper::bpf::{monitor, sched};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Whoever takes longer to ask, or to read, is sent away.
const PATIENCE: Duration = Duration::from_secs(2);
/// As of the format's version 0.0.4.
const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Listens there, in a thread of its own, for as long as the process lives.
pub fn listen(at: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(at).with_context(|| format!("--metrics {at}"))?;
    let work = move || {
        for guest in listener.incoming() {
            match guest {
                // Who goes before the end has no need of it.
                Ok(guest) => {
                    let _ = answer(guest);
                }
                // Out of descriptors, mostly.
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    };
    std::thread::Builder::new().name("metrics".to_string()).spawn(work).context("no thread for --metrics")?;
    Ok(())
}

fn answer(mut guest: TcpStream) -> std::io::Result<()> {
    guest.set_read_timeout(Some(PATIENCE))?;
    guest.set_write_timeout(Some(PATIENCE))?;
    let mut asked = [0; 1024];
    let length = guest.read(&mut asked)?;
    let (status, body) = match asks_for_metrics(&asked[..length]) {
        true => ("200 OK", now()),
        false => ("404 Not Found", "only /metrics is here\n".to_string()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {TYPE}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    guest.write_all(head.as_bytes())?;
    guest.write_all(body.as_bytes())
}

fn asks_for_metrics(request: &[u8]) -> bool {
    let rest = request.strip_prefix(b"GET /metrics");
    rest.is_some_and(|rest| matches!(rest.first(), Some(b' ' | b'?')))
}

fn now() -> String {
    let is_counting = monitor::is_pinned() && monitor::missing().is_empty();
    // None are known while the monitor isn't loaded, and it says so.
    let calls = monitor::calls().unwrap_or_default();
    text(&calls, is_counting, sched::state() == sched::State::Ours, hold::totals())
}

/// All of it.
fn text(calls: &[CallStats], monitor: bool, scheduler: bool, holding: Option<HoldTotals>) -> String {
    let mut out = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| {
        // Into a string nothing can fail.
        let _ = writeln!(out, "{text}");
    };
    line(format_args!(
        "# HELP agentsh_at_work Is this part loaded and at work?\n# TYPE agentsh_at_work gauge"
    ));
    for (part, is) in [("monitor", monitor), ("scheduler", scheduler)] {
        line(format_args!("agentsh_at_work{{part=\"{part}\"}} {}", u8::from(is)));
    }
    line(format_args!(
        "# HELP agentsh_calls_live Tool calls that live now.\n# TYPE agentsh_calls_live gauge"
    ));
    for class in Class::LEAVES {
        let live =
            calls.iter().filter(|call| call.ended_ns == 0 && Class::of_leaf(&call.name) == Some(class));
        line(format_args!("agentsh_calls_live{{class=\"{class}\"}} {}", live.count()));
    }
    if let Some(totals) = holding {
        line(format_args!(
            "# HELP agentsh_calls_held Calls held now, so that others get their memory.\n# TYPE agentsh_calls_held gauge"
        ));
        line(format_args!("agentsh_calls_held {}", totals.now));
        line(format_args!(
            "# HELP agentsh_holds_total Calls held since the scheduler was loaded.\n# TYPE agentsh_holds_total counter"
        ));
        line(format_args!("agentsh_holds_total {}", totals.holds));
        line(format_args!(
            "# HELP agentsh_held_seconds_total For how long.\n# TYPE agentsh_held_seconds_total counter"
        ));
        line(format_args!("agentsh_held_seconds_total {:.6}", totals.held_ns as f64 / 1e9));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, ended_ns: u64) -> CallStats {
        CallStats { name: name.to_string(), ended_ns, ..CallStats::default() }
    }

    #[test]
    fn calls_that_live_are_counted_by_class_and_agents_and_the_ended_are_not() {
        let calls = [call("test-1", 0), call("test-2", 0), call("git-0", 7), call("agent", 0)];
        let text = text(&calls, true, false, None);
        for line in [
            "agentsh_at_work{part=\"monitor\"} 1",
            "agentsh_at_work{part=\"scheduler\"} 0",
            "agentsh_calls_live{class=\"test\"} 2",
            "agentsh_calls_live{class=\"git\"} 0",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in {text}");
        }
        assert!(!text.contains("agentsh_holds_total") && !text.contains("class=\"agent\""));
    }

    #[test]
    fn totals_of_holding_are_shown_where_there_are_any() {
        let totals = HoldTotals { holds: 3, held_ns: 1_500_000_000, now: 1, ..HoldTotals::default() };
        let text = text(&[], true, true, Some(totals));
        assert!(text.contains("\nagentsh_holds_total 3\n") && text.contains("\nagentsh_calls_held 1\n"));
        assert!(text.contains("\nagentsh_held_seconds_total 1.500000\n"));
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn nothing_else_is_answered() {
        assert!(asks_for_metrics(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(asks_for_metrics(b"GET /metrics?x=1 HTTP/1.1\r\n"));
        for other in [&b"GET / HTTP/1.1\r\n"[..], b"GET /metricsx HTTP/1.1", b"POST /metrics HTTP/1.1", b""] {
            assert!(!asks_for_metrics(other));
        }
    }
}
