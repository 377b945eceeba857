//! The agent's rules.
