//! The control server: it knows devices, parties and invites, hands out virtual addresses, and carries presence and signals
//! between members. It sees neither invite codes nor party secrets, so it cannot read what members say to each other.
//!
//! A request passes the accept loop ([`tls::serve`]), the URL map ([`router`]) and one endpoint in `routes`; the endpoint
//! asks the pure rules in [`domain`] and changes the store in one transaction; what changed goes out through the [`feed`] to
//! the streams of the party. [`presence`] knows who is connected.

pub mod acme;
pub mod admin;
pub mod app;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod data_dir;
pub mod domain;
pub mod error;
pub mod extract;
pub mod feed;
pub mod healthcheck;
pub mod limits;
pub mod metrics;
pub mod open_files;
pub mod openapi;
pub mod operator_token;
mod outage;
pub mod presence;
pub mod relays;
pub mod replicas;
mod request_id;
pub mod router;
pub mod routes;
pub mod server;
pub mod snapshots;
pub mod tasks;
pub mod tls;
pub mod upkeep;
