//! Settings, checked once.

use std::time::Duration;

/// What a node can be told to do otherwise than by default.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The name of the cluster. Nodes of other clusters are refused. Default `dchan`.
    pub cluster_name: String,
    /// How long things take.
    pub times: Times,
    /// How large things get.
    pub limits: Limits,
    /// Where all chance comes from: jitter, first choices, ids. Drawn anew unless set.
    pub seed: u64,
}

/// How long things take. They must grow in this order: `heartbeat < suspect < silence < lane`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Times {
    /// How often each end of a link says that it is there. Default 250 ms.
    pub heartbeat: Duration,
    /// A peer that is silent for so long is chosen no more. Default 750 ms.
    pub suspect: Duration,
    /// A connection that is silent for so long is given up and made anew. Default 3 s.
    pub silence: Duration,
    /// A peer that is out of reach for so long is given up: the fate of what was handed to it is
    /// unknown. Default 30 s.
    pub lane: Duration,
    /// How long a connection may take to come to stand. Default 5 s.
    pub handshake: Duration,
    /// How long a node waits before it dials again: from the first to the second, doubling. Default
    /// 50 ms and 2 s.
    pub redial: (Duration, Duration),
}

/// How large things get, and so how much memory a node may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest message, encoded, in bytes. Default 64 MiB. A node holds at most one such message
    /// beyond the capacity for each of its receivers, and one for each receiver that it sends to.
    pub message: u64,
    /// What a node holds for all receivers of other nodes together, in bytes: messages that were accepted
    /// and are not taken. Senders wait when it is used up, and are served in turn as messages are taken.
    /// Default 256 MiB.
    ///
    /// So that no stopped receiver holds up the others, 64 KiB for each receiver that is sent to come on
    /// top; and a message whose size was not known when there was room, one for each receiver and for
    /// each permit. Messages for receivers of this very process are not encoded, and do not count:
    /// the capacity of those receivers bounds them.
    pub retained: u64,
    /// The most that is on its way to one peer and has not been confirmed, in bytes. Within this, it
    /// follows the rate and the round trip of the path. A channel of 1 Gbit/s with a round trip of
    /// 100 ms holds 12 MiB. Default 4 MiB.
    ///
    /// Four times as much may be accepted and wait to be sent. Beyond that, senders wait until half of it is
    /// gone, though receivers have room: but for those alone on a channel where nothing waits.
    pub link: u64,
    /// Lanes that one peer may open to this node, those included that are over and that the peer has
    /// not confirmed. Default 65,536, of about 300 bytes each.
    pub lanes: usize,
    /// Connections that may be in their handshake at one time. Default 256, of about 16 KiB each.
    pub handshakes: usize,
    /// Questions of one peer that may be open at one time. Default 256.
    pub questions: usize,
    /// Peers that are not on the list and may be linked, or have been and left lanes behind: those that
    /// are about to join, and whoever claims to be. Default 1,024.
    pub strangers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster_name: "dchan".into(),
            times: Times::default(),
            limits: Limits::default(),
            seed: fastrand::u64(..),
        }
    }
}

impl Default for Times {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(250),
            suspect: Duration::from_millis(750),
            silence: Duration::from_secs(3),
            lane: Duration::from_secs(30),
            handshake: Duration::from_secs(5),
            redial: (Duration::from_millis(50), Duration::from_secs(2)),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 64 << 20,
            retained: 256 << 20,
            link: 4 << 20,
            lanes: 65_536,
            handshakes: 256,
            questions: 256,
            strangers: 1024,
        }
    }
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}: expected {expected}")]
pub struct ConfigError {
    field: &'static str,
    found: String,
    expected: String,
}

impl ConfigError {
    /// A setting that cannot be.
    pub fn new(field: &'static str, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { field, found: found.into(), expected: expected.into() }
    }
}

impl Config {
    /// Checks that all settings can be, alone and together.
    pub fn check(&self) -> Result<(), ConfigError> {
        let name = self.cluster_name.len();
        if !(1..=255).contains(&name) {
            return Err(ConfigError::new(
                "cluster_name",
                format!("{name} bytes long"),
                "1 to 255 bytes",
            ));
        }
        self.times.check()?;
        let Limits { message, retained, link, lanes, handshakes, questions, strangers } =
            self.limits;
        let ranges = [
            ("limits.message", message, 1, 1 << 30),
            ("limits.retained", retained, 64 << 10, 1 << 50),
            ("limits.link", link, 256 << 10, 1 << 30),
            ("limits.lanes", lanes as u64, 1, 1 << 24),
            ("limits.handshakes", handshakes as u64, 1, 1 << 16),
            ("limits.questions", questions as u64, 1, 1 << 16),
            ("limits.strangers", strangers as u64, 1, 1 << 20),
        ];
        for (field, found, least, most) in ranges {
            if !(least..=most).contains(&found) {
                let expected = format!("{least} to {most}");
                return Err(ConfigError::new(field, found.to_string(), expected));
            }
        }
        Ok(())
    }
}

impl Times {
    fn check(&self) -> Result<(), ConfigError> {
        let least = Duration::from_millis(1);
        let order = [
            ("times.heartbeat", self.heartbeat, least),
            ("times.suspect", self.suspect, self.heartbeat),
            ("times.silence", self.silence, self.suspect),
            ("times.lane", self.lane, self.silence),
            ("times.handshake", self.handshake, least),
            ("times.redial.0", self.redial.0, least),
            ("times.redial.1", self.redial.1, self.redial.0),
        ];
        for (field, found, above) in order {
            if found < above {
                let expected = format!("at least {above:?}");
                return Err(ConfigError::new(field, format!("{found:?}"), expected));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_field_value_and_range() {
        let mut config = Config::default();
        config.check().unwrap();
        config.times.suspect = Duration::from_millis(100);
        let error = config.check().unwrap_err().to_string();
        assert_eq!(error, "times.suspect is 100ms: expected at least 250ms");
        let mut config = Config::default();
        config.limits.message = 0;
        let error = config.check().unwrap_err().to_string();
        assert_eq!(error, "limits.message is 0: expected 1 to 1073741824");
        let mut config = Config::default();
        config.limits.retained = 1000;
        let error = config.check().unwrap_err().to_string();
        assert_eq!(error, "limits.retained is 1000: expected 65536 to 1125899906842624");
    }
}
