//! Numbers for Prometheus: the text they are written in, what every program can say of its process, and a listener for programs
//! that have none of their own.

mod host;
mod listener;
mod out;
mod process;
mod text;

pub use self::host::names_this_machine;
pub use self::listener::{MetricsError, MetricsServer, Source};
pub use self::out::Out;
pub use self::process::Process;
pub use self::text::{CONTENT_TYPE as TEXT, text};
