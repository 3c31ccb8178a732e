//! `--request-timeout`

use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;

/// How long one request may take; nothing for as long as it takes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline(pub(crate) Option<Duration>);

impl FromStr for Deadline {
    type Err = &'static str;

    /// As kubectl reads it: a duration with units, or whole seconds; 0 is none.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seconds = text.parse().ok().map(Duration::from_secs);
        let parsed = seconds.or_else(|| text.parse::<SignedDuration>().ok()?.try_into().ok());
        match parsed {
            Some(Duration::ZERO) => Ok(Self(None)),
            Some(duration) => Ok(Self(Some(duration))),
            None => Err("no duration such as `10s` or `2m`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_as_kubectl_reads_it() {
        let read = |text: &str| text.parse::<Deadline>().ok().map(|deadline| deadline.0);
        assert_eq!(read("0"), Some(None));
        assert_eq!(read("0s"), Some(None));
        assert_eq!(read("15"), Some(Some(Duration::from_secs(15))));
        assert_eq!(read("1m30s"), Some(Some(Duration::from_secs(90))));
        assert_eq!(read("500ms"), Some(Some(Duration::from_millis(500))));
        for bad in ["", " ", "-1s", "-3", "5x", "soon", "1e9999s", "99999999999999999999s"] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }
}
