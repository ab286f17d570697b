//! emojivoto: web, emoji, voting and vote-bot, with the interfaces of Linkerd's demo application.
//!
//! vote-bot and browsers call web by HTTP/1.1; web calls emoji and voting by gRPC. Votes for the doughnut fail on
//! purpose: a mesh is to show where.

mod backends;
mod catalogue;
pub(crate) mod emoji;
mod grpc;
mod http;
mod leaderboard;
mod metrics;
mod page;
mod poll;
mod settings;
pub(crate) mod vote_bot;
pub(crate) mod voting;
pub(crate) mod web;

#[cfg(test)]
mod tests;

/// What is generated from `proto/emojivoto.proto`.
mod api {
    #![allow(unreachable_pub, unused_qualifications, clippy::all)]
    // After a change of the proto file: WEFT_GENERATE=1 cargo test -p weft-api-codegen
    include!("../generated/emojivoto.v1.rs");
}
