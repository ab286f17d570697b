//! Asks the node proxies themselves, at their admin ports.

mod admin;
mod directory;
mod evaluate;
mod parse;
mod scrapes;
mod worst;

pub(crate) use self::{
    admin::{Proxies, ProxyConfig},
    directory::Directory,
    scrapes::Scrapes,
    worst::WorstHistory,
};
