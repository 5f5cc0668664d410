//! One file per vendor.

mod discord;
mod generic;
mod github;
mod hubspot;
mod linear;
mod notion;
mod openai;
mod paypal;
mod sendgrid;
mod shopify;
mod slack;
mod standard;
mod stripe;
mod twilio;
mod zoom;

use super::Catalog;

/// All catalogs. A vendor without one normalises with its envelope alone (`custom`).
pub static CATALOGS: &[Catalog] = &[
    openai::CATALOG,
    slack::CATALOG,
    stripe::CATALOG,
    hubspot::CATALOG,
    notion::CATALOG,
    github::CATALOG,
    shopify::CATALOG,
    linear::CATALOG,
    zoom::CATALOG,
    twilio::CATALOG,
    discord::CATALOG,
    sendgrid::CATALOG,
    paypal::CATALOG,
    standard::STANDARD,
    standard::SVIX,
    generic::CATALOG,
];
