use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// `[redis]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://…`. Speeds up servers that share a PostgreSQL. Default: none. May hold a password.
    pub url: Option<RedisUrl>,
}

/// A Redis URL. It may hold a password, so it does not print itself.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct RedisUrl(String);

/// An URL that is not one of a Redis we can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the Redis URL must be redis://HOST:PORT, with :PASSWORD@ before the host if it has one")]
pub struct NotRedis;

impl RedisUrl {
    /// The client for it; nothing is connected yet.
    pub fn client(&self) -> Result<redis::Client, NotRedis> {
        redis::Client::open(self.0.as_str()).map_err(|_| NotRedis)
    }
}

impl FromStr for RedisUrl {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisUrl(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_one_of_redis_and_does_not_print_itself() {
        let url = |text: &str| text.parse::<RedisUrl>().unwrap();
        assert!(url("redis://:secret@h:6379/").client().is_ok());
        assert_eq!(url("postgres://h").client().map(drop), Err(NotRedis));
        assert!(!format!("{:?}", url("redis://:secret@h")).contains("secret"));
    }
}
