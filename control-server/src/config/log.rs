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

/// How lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::default(),
            slow_operation_ms: 500,
        }
    }
}
