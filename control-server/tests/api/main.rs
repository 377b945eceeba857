//! The control server's API over real HTTPS and WebSockets: a real listener, real clients that check the pinned key.

mod auth;
mod observer;
mod parties;
mod stream;
mod support;
