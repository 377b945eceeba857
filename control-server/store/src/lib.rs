//! What the control server keeps.
