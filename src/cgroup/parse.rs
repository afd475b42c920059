//! The formats of cgroup v2's files (Documentation/admin-guide/cgroup-v2.rst), as pure functions over bytes.

/// A number alone on its line; `None` if it isn't one.
pub fn number(text: &[u8]) -> Option<u64> {
    let line = text.split(|&b| b == b'\n').next()?;
    if line.is_empty() {
        return None;
    }
    line.iter().try_fold(0u64, |n, &b| match b {
        b'0'..=b'9' => n.checked_mul(10)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

/// A number or `max`: `Some(None)` is `max`, `None` is neither.
pub fn number_or_max(text: &[u8]) -> Option<Option<u64>> {
    match text.split(|&b| b == b'\n').next()? {
        b"max" => Some(None),
        line => number(line).map(Some),
    }
}

/// The value of a key in a flat keyed file (`key value` a line: memory.events, memory.stat, cpu.stat …).
pub fn keyed(text: &[u8], key: &[u8]) -> Option<u64> {
    text.split(|&b| b == b'\n').find_map(|line| number(line.strip_prefix(key)?.strip_prefix(b" ")?))
}

/// The totals in µs of a pressure file's lines: `some`, and `full` where the file has it.
pub fn pressure(text: &[u8]) -> Option<(u64, Option<u64>)> {
    let total = |line: &[u8], kind: &[u8]| {
        let from = line.starts_with(kind).then(|| line.iter().rposition(|&b| b == b' '))??;
        number(line[from + 1..].strip_prefix(b"total=")?)
    };
    let mut lines = text.split(|&b| b == b'\n');
    let some = total(lines.next()?, b"some ")?;
    Some((some, lines.next().and_then(|line| total(line, b"full "))))
}

/// Writes a number and a newline to the end of `buf` and returns that part: knobs are written without allocating.
pub fn format(value: Option<u64>, buf: &mut [u8; 24]) -> &[u8] {
    let Some(mut n) = value else { return b"max\n" };
    let mut at = buf.len() - 1;
    buf[at] = b'\n';
    loop {
        at -= 1;
        buf[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return &buf[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_lines_of_digits() {
        assert_eq!(number(b"42\n"), Some(42));
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for no in [&b""[..], b"\n", b"-1\n", b"4 2\n", b"max\n", b"18446744073709551616\n"] {
            assert_eq!(number(no), None, "{no:?}");
        }
        assert_eq!(number_or_max(b"max\n"), Some(None));
        assert_eq!(number_or_max(b"7\n"), Some(Some(7)));
        assert_eq!(number_or_max(b"7x\n"), None);
    }

    #[test]
    fn a_key_is_not_found_as_the_end_or_the_beginning_of_another() {
        let events = b"low 0\nhigh 3\nmax 1\noom 0\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(keyed(events, b"oom"), Some(0));
        assert_eq!(keyed(events, b"oom_kill"), Some(2));
        assert_eq!(keyed(events, b"kill"), None);
        assert_eq!(keyed(events, b"oom_group_kill"), Some(1));
    }

    #[test]
    fn pressure_totals_are_read_with_and_without_a_full_line() {
        let both = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n";
        assert_eq!(pressure(both), Some((12, Some(5))));
        assert_eq!(pressure(b"some avg10=0.00 avg60=0.00 avg300=0.00 total=12\n"), Some((12, None)));
        assert_eq!(pressure(b""), None);
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for n in [0, 9, 10, 268_435_456, u64::MAX] {
            assert_eq!(format(Some(n), &mut [0; 24]), format!("{n}\n").as_bytes());
        }
        assert_eq!(format(None, &mut [0; 24]), b"max\n");
    }
}
