//! Durations as Go's `time.ParseDuration` reads them. spire-controller-manager stops at a ClusterSPIFFEID whose `ttl` is
//! none, although its CRD lets it pass.

/// Whether Go reads this text as a duration.
pub(super) fn is_go_duration(text: &str) -> bool {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut rest = rest;
    let mut total = 0f64;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (figures, after) = rest.split_at(number);
        if !figures.contains(|c: char| c.is_ascii_digit()) || figures.matches('.').count() > 1 {
            return false;
        }
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let nanoseconds = match unit {
            "ns" => 1.0,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3_600e9,
            _ => return false,
        };
        total += figures.trim_end_matches('.').parse::<f64>().unwrap_or(f64::INFINITY) * nanoseconds;
        rest = after;
    }
    text.len() > usize::from(text.starts_with(['-', '+'])) && total < 9.223_372_036_854_775e18
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for text in ["0", "-0", "5s", "1h30m", "1.5h", ".5s", "5.s", "100ns", "1\u{b5}s", "+3ms", "2562047h"]
        {
            assert!(is_go_duration(text), "{text}");
        }
        for text in ["", "-", "5d", "5", "s", "1h30", "1 h", "1..5s", ".s", "1H", "9999999h", "1e3s", "0x1s"]
        {
            assert!(!is_go_duration(text), "{text}");
        }
    }
}
