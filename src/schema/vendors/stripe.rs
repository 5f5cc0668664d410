//! Stripe: snapshot events (<https://docs.stripe.com/api/events/object>) and thin v2 events.
//!
//! `api_version` decides which fields an object has; the lists hold those of current versions.

use super::super::{
    Catalog, Object, Schema,
    shape::{Any, Flag, Integer, List, Map, Reference, Text, fields},
};

pub(super) const CATALOG: Catalog = Catalog {
    vendor: "stripe",
    version: 1,
    body: "/data/object",
    context: &["/data/previous_attributes", "/livemode", "/account", "/request"],
    schemas: &[
        // The one invoice that has no id yet.
        Schema {
            name: "invoice.upcoming",
            types: &["invoice.upcoming"],
            objects: &[
                ENVELOPE,
                Object {
                    at: "/data/object",
                    closed: false,
                    fields: fields![required Text ["object"], usual Text ["currency"]],
                },
            ],
        },
        Schema { name: "invoice", types: &["invoice.*"], objects: &[ENVELOPE, INVOICE] },
        // Disputes and refunds of a charge are objects of their own.
        Schema { name: "charge.dispute", types: &["charge.dispute.*"], objects: &[ENVELOPE, DISPUTE] },
        Schema { name: "charge.refund", types: &["charge.refund.*", "refund.*"], objects: &[ENVELOPE, REFUND] },
        Schema { name: "charge", types: &["charge.*"], objects: &[ENVELOPE, CHARGE] },
        Schema { name: "payment_intent", types: &["payment_intent.*"], objects: &[ENVELOPE, PAYMENT_INTENT] },
        Schema { name: "checkout.session", types: &["checkout.session.*"], objects: &[ENVELOPE, CHECKOUT_SESSION] },
        Schema {
            name: "customer.subscription",
            types: &["customer.subscription.*"],
            objects: &[ENVELOPE, SUBSCRIPTION],
        },
        Schema {
            name: "customer",
            types: &["customer.created", "customer.updated", "customer.deleted"],
            objects: &[ENVELOPE, CUSTOMER],
        },
        Schema { name: "payout", types: &["payout.*"], objects: &[ENVELOPE, PAYOUT] },
        Schema { name: "thin", types: &["v1.*", "v2.*"], objects: &[THIN] },
    ],
};

const ENVELOPE: Object = Object {
    at: "",
    closed: true,
    fields: fields![
        required Map ["data"],
        usual Text ["id", "object", "type"],
        usual Integer ["created", "pending_webhooks"],
        usual Flag ["livemode"],
        optional Text ["api_version", "account", "context"],
        optional Map ["request"],
    ],
};

const THIN: Object = Object {
    at: "",
    closed: true,
    fields: fields![
        usual Text ["id", "object", "type", "created"],
        usual Flag ["livemode"],
        optional Map ["related_object", "data", "reason", "changes"],
        optional Text ["context"],
    ],
};

const INVOICE: Object = Object {
    at: "/data/object",
    closed: true,
    fields: fields![
        required Text ["id"],
        usual Text ["object", "currency", "status"],
        usual Integer ["amount_due", "amount_paid", "amount_remaining", "created"],
        usual Reference ["customer"],
        optional Integer [
            "total", "subtotal", "subtotal_excluding_tax", "total_excluding_tax", "tax", "amount_overpaid", "amount_shipping",
            "attempt_count", "starting_balance", "ending_balance", "period_start", "period_end", "due_date", "effective_at",
            "next_payment_attempt", "webhooks_delivered_at", "application_fee_amount", "automatically_finalizes_at",
            "pre_payment_credit_notes_amount", "post_payment_credit_notes_amount",
        ],
        optional Text [
            "number", "customer_name", "customer_email", "customer_phone", "hosted_invoice_url", "invoice_pdf",
            "billing_reason", "collection_method", "description", "footer", "receipt_number", "statement_descriptor",
            "account_country", "account_name", "customer_tax_exempt", "customer_account",
        ],
        optional Reference [
            "subscription", "charge", "payment_intent", "quote", "latest_revision", "default_payment_method", "default_source",
            "on_behalf_of", "application", "test_clock",
        ],
        optional Flag ["paid", "paid_out_of_band", "attempted", "auto_advance", "livemode"],
        optional Map [
            "lines", "metadata", "automatic_tax", "payment_settings", "status_transitions", "customer_address",
            "customer_shipping", "issuer", "parent", "confirmation_secret", "payments", "rendering", "shipping_cost",
            "shipping_details", "threshold_reason", "transfer_data", "subscription_details", "from_invoice",
            "last_finalization_error",
        ],
        optional List [
            "discounts", "default_tax_rates", "total_taxes", "total_tax_amounts", "total_discount_amounts",
            "total_pretax_credit_amounts", "custom_fields", "customer_tax_ids", "account_tax_ids",
        ],
        optional Any ["discount", "subscription_proration_date"],
    ],
};

const CHARGE: Object = Object {
    at: "/data/object",
    closed: true,
    fields: fields![
        required Text ["id"],
        usual Text ["object", "currency", "status"],
        usual Integer ["amount", "amount_captured", "amount_refunded", "created"],
        usual Flag ["paid", "captured", "refunded"],
        optional Flag ["disputed", "livemode"],
        optional Integer ["application_fee_amount"],
        optional Text [
            "description", "failure_code", "failure_message", "receipt_email", "receipt_number", "receipt_url",
            "statement_descriptor", "statement_descriptor_suffix", "calculated_statement_descriptor", "payment_method",
            "transfer_group", "authorization_code",
        ],
        optional Reference [
            "customer", "balance_transaction", "payment_intent", "invoice", "application", "application_fee", "destination",
            "dispute", "failure_balance_transaction", "on_behalf_of", "order", "review", "source_transfer", "transfer",
        ],
        optional Map [
            "billing_details", "metadata", "outcome", "payment_method_details", "shipping", "source", "fraud_details",
            "presentment_details", "radar_options", "refunds", "transfer_data", "level3",
        ],
    ],
};

const DISPUTE: Object = Object {
    at: "/data/object",
    closed: false,
    fields: fields![
        required Text ["id"],
        usual Text ["object", "currency", "reason", "status"],
        usual Integer ["amount", "created"],
        usual Reference ["charge"],
        optional Reference ["payment_intent"],
        optional Map ["evidence", "evidence_details", "metadata"],
    ],
};

const REFUND: Object = Object {
    at: "/data/object",
    closed: false,
    fields: fields![
        required Text ["id"],
        usual Text ["object", "currency"],
        usual Integer ["amount", "created"],
        optional Text ["status", "reason", "failure_reason"],
        optional Reference ["charge", "payment_intent"],
    ],
};

const PAYMENT_INTENT: Object = Object {
    at: "/data/object",
    closed: true,
    fields: fields![
        required Text ["id"],
        usual Text ["object", "currency", "status"],
        usual Integer ["amount", "created"],
        optional Integer ["amount_capturable", "amount_received", "application_fee_amount", "canceled_at"],
        optional Text [
            "client_secret", "capture_method", "confirmation_method", "cancellation_reason", "description", "receipt_email",
            "setup_future_usage", "statement_descriptor", "statement_descriptor_suffix", "transfer_group", "customer_account",
        ],
        optional Reference [
            "customer", "latest_charge", "payment_method", "invoice", "application", "on_behalf_of", "review", "source",
        ],
        optional Flag ["livemode"],
        optional List ["payment_method_types", "excluded_payment_method_types"],
        optional Map [
            "amount_details", "automatic_payment_methods", "last_payment_error", "metadata", "next_action", "hooks",
            "payment_details", "payment_method_configuration_details", "payment_method_options", "presentment_details",
            "processing", "shipping", "transfer_data", "charges",
        ],
    ],
};

const CHECKOUT_SESSION: Object = Object {
    at: "/data/object",
    closed: false,
    fields: fields![
        required Text ["id"],
        usual Text ["object", "mode", "payment_status"],
        usual Integer ["created", "expires_at"],
        optional Text ["status", "currency", "client_reference_id", "customer_email", "success_url", "cancel_url", "url", "locale"],
        optional Integer ["amount_total", "amount_subtotal"],
        optional Reference ["customer", "subscription", "payment_intent", "invoice", "payment_link", "setup_intent"],
        optional Map ["customer_details", "metadata", "total_details", "automatic_tax", "shipping_cost"],
    ],
};

const SUBSCRIPTION: Object = Object {
    at: "/data/object",
    closed: false,
    fields: fields![
        required Text ["id"],
        usual Text ["object", "status"],
        usual Integer ["created", "start_date"],
        usual Reference ["customer"],
        usual Map ["items"],
        optional Flag ["cancel_at_period_end"],
        optional Integer [
            "cancel_at", "canceled_at", "ended_at", "trial_start", "trial_end", "current_period_start", "current_period_end",
            "billing_cycle_anchor", "days_until_due", "quantity",
        ],
        optional Text ["collection_method", "currency", "description"],
        optional Reference ["latest_invoice", "default_payment_method", "pending_setup_intent", "schedule"],
        optional Map ["metadata", "plan", "cancellation_details", "pause_collection"],
    ],
};

const CUSTOMER: Object = Object {
    at: "/data/object",
    closed: false,
    fields: fields![
        required Text ["id"],
        usual Text ["object"],
        usual Integer ["created"],
        optional Text ["email", "name", "phone", "description", "currency", "invoice_prefix"],
        optional Integer ["balance"],
        optional Flag ["delinquent", "livemode"],
        optional Map ["address", "shipping", "metadata", "invoice_settings"],
        optional Reference ["default_source"],
    ],
};

const PAYOUT: Object = Object {
    at: "/data/object",
    closed: false,
    fields: fields![
        required Text ["id"],
        usual Text ["object", "currency", "status", "type", "method"],
        usual Integer ["amount", "arrival_date", "created"],
        optional Text ["description", "failure_code", "failure_message", "statement_descriptor"],
        optional Reference ["balance_transaction", "destination"],
    ],
};
