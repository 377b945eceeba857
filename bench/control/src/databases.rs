//! PostgreSQL and Redis for the servers, as the tests start them; each when it is first needed.

use std::cell::{Cell, OnceCell};

#[expect(clippy::expect_used, clippy::unwrap_used, reason = "shared with tests")]
#[path = "../../../control-server/store-postgres/tests/server/mod.rs"]
mod postgres;
#[expect(clippy::expect_used, clippy::unwrap_used, reason = "shared with tests")]
#[path = "../../../control-server/tests/api/support/redis.rs"]
mod redis;

use self::postgres::PostgresServer;
use self::redis::RedisServer;

#[derive(Default)]
pub struct Databases {
    postgres: OnceCell<PostgresServer>,
    redis: OnceCell<RedisServer>,
    fresh: Cell<u32>,
}

impl Databases {
    /// The URL of an empty database.
    pub fn postgres(&self) -> String {
        self.fresh.set(self.fresh.get() + 1);
        let name = format!("bench{}", self.fresh.get());
        self.postgres.get_or_init(PostgresServer::start).fresh_database(&name)
    }

    /// Nobody hears from Redis until it thaws.
    pub fn freeze_redis(&self) {
        self.redis.get_or_init(RedisServer::start).freeze();
    }

    pub fn thaw_redis(&self) {
        self.redis.get_or_init(RedisServer::start).thaw();
    }

    pub fn redis(&self) -> String {
        self.redis.get_or_init(RedisServer::start).url.clone()
    }
}
