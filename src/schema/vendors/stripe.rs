//! Stripe: <https://docs.stripe.com/api/events/object>, snapshot events.

use super::super::Catalog;

pub(super) const CATALOG: Catalog = Catalog {
    vendor: "stripe",
    version: 1,
    body: "/data/object",
    context: &["/data/previous_attributes", "/livemode", "/account", "/request"],
    schemas: &[],
};
