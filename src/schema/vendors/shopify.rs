//! Shopify: <https://shopify.dev/docs/api/webhooks>; the body is the resource.

use super::super::{
    Catalog, Object, Schema,
    shape::{Any, Flag, Integer, List, Map, Text, fields},
};

pub(super) const CATALOG: Catalog = Catalog {
    vendor: "shopify",
    version: 1,
    body: "",
    context: &[],
    schemas: &[
        // A deleted resource is its id alone.
        Schema {
            name: "deleted",
            types: &["orders/delete", "products/delete", "customers/delete", "collections/delete"],
            objects: &[Object { at: "", closed: false, fields: fields![required Integer ["id"]] }],
        },
        Schema {
            name: "orders",
            types: &["orders/*"],
            objects: &[Object {
                at: "",
                closed: false,
                fields: fields![
                    required Integer ["id"],
                    usual Text ["admin_graphql_api_id", "name", "created_at", "updated_at", "currency", "total_price"],
                    usual Integer ["order_number"],
                    usual List ["line_items"],
                    optional Text [
                        "email", "contact_email", "phone", "financial_status", "fulfillment_status", "subtotal_price",
                        "total_tax", "total_discounts", "cancelled_at", "cancel_reason", "closed_at", "processed_at", "note", "tags",
                        "token", "order_status_url", "presentment_currency", "source_name",
                    ],
                    optional Map ["customer", "billing_address", "shipping_address", "total_price_set"],
                    optional List ["discount_codes", "fulfillments", "refunds", "shipping_lines", "tax_lines", "note_attributes"],
                    optional Flag ["test", "taxes_included", "buyer_accepts_marketing"],
                ],
            }],
        },
        Schema {
            name: "products",
            types: &["products/*"],
            objects: &[Object {
                at: "",
                closed: true,
                fields: fields![
                    required Integer ["id"],
                    usual Text ["admin_graphql_api_id", "title", "handle", "status", "updated_at"],
                    usual List ["variants"],
                    optional Text ["body_html", "vendor", "product_type", "created_at", "published_at", "published_scope", "template_suffix", "tags"],
                    optional List ["options", "images", "media", "variant_gids"],
                    optional Any ["image", "category", "has_variants_that_requires_components", "variant_ids"],
                ],
            }],
        },
        Schema {
            name: "customers",
            types: &["customers/create", "customers/update", "customers/enable", "customers/disable"],
            objects: &[Object {
                at: "",
                closed: false,
                fields: fields![
                    required Integer ["id"],
                    usual Text ["admin_graphql_api_id", "created_at", "updated_at"],
                    optional Text ["email", "first_name", "last_name", "phone", "note", "tags", "currency", "state"],
                    optional Flag ["verified_email", "tax_exempt"],
                    optional List ["addresses"],
                    optional Map ["default_address"],
                ],
            }],
        },
        // The mandatory privacy topics name a shop.
        Schema {
            name: "privacy",
            types: &["customers/data_request", "customers/redact", "shop/redact"],
            objects: &[Object {
                at: "",
                closed: true,
                fields: fields![
                    required Integer ["shop_id"],
                    usual Text ["shop_domain"],
                    optional Map ["customer", "data_request"],
                    optional List ["orders_requested", "orders_to_redact"],
                ],
            }],
        },
        Schema {
            name: "app",
            types: &["app/uninstalled"],
            objects: &[Object {
                at: "",
                closed: false,
                fields: fields![required Integer ["id"], usual Text ["name", "domain", "myshopify_domain"]],
            }],
        },
    ],
};
