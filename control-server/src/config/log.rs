use lanrage_relay::config::LogFormat;
use serde::Deserialize;

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// How lines look. How much is logged is said by `LANRAGE_LOG`. Default: text.
    pub format: LogFormat,
    /// A database operation that takes longer, in ms, is logged. Default: 500.
    pub slow_operation_ms: u32,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::default(),
            slow_operation_ms: 500,
        }
    }
}
