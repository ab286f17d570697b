//! The certificates of the mesh: makes an authority, and reads certificates.

mod authority;
mod read;
mod text;

#[cfg(test)]
pub(crate) use self::authority::Authority;
pub(crate) use self::{
    authority::create,
    read::{Certificate, format_time, key_belongs_to, read},
    text::text,
};
