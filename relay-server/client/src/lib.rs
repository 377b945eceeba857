//! The agent's end of a relay connection, and what both ends share.
