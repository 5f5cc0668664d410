//! What an operator reads when a configuration is wrong: one line per mistake, with its place, its
//! key, the reason and the cure.

#[cfg(all(feature = "redis", feature = "rabbitmq", feature = "nats"))]
mod queue;

use std::{fs, path::Path};

use sluice::{
    config::{Config, Input, load},
    secrets::Environment,
};

const SOURCE: &str = "[sources.orders]\nvendor = 'generic'\nsecrets = ['env:ORDERS']\n";

fn input() -> Input {
    Input::new("cfg").environment(Environment::fixed([("ORDERS", "one"), ("OTHER", "two")]))
}

/// What is wrong with this `sluice.toml`.
fn main_errors(text: &str) -> String {
    input().main(text).resolve().expect_err("a mistake").to_string()
}

/// What is wrong with this tenant file.
fn tenant_errors(text: &str) -> String {
    input().tenant("acme", text).resolve().expect_err("a mistake").to_string()
}

fn route_errors(keys: &str) -> String {
    tenant_errors(&format!("{SOURCE}[[sources.orders.routes]]\nname = 'r'\n{keys}"))
}

fn warnings(config: &Config) -> String {
    config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_files_say_the_defaults() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/config");
    let read = |file: &str| fs::read_to_string(folder.join(file)).expect("an example file");
    let environment = Environment::fixed([("EXAMPLE_ORDERS_SECRET", "one")]);
    let minimal = "[sources.orders]\nvendor='generic'\nsecrets=['env:EXAMPLE_ORDERS_SECRET']\n\
        [[sources.orders.routes]]\nname='everything'\naction='log'";
    let resolve = |main: &str, tenant: &str| {
        let input = Input::new("cfg").environment(environment.clone()).main(main).tenant("example", tenant);
        format!("{:#?}", input.resolve().expect("a right configuration"))
    };
    assert_eq!(resolve(&read("sluice.toml"), &read("tenants/example.toml")), resolve("", minimal));
}

#[test]
fn what_the_example_files_leave_commented_is_understood_too() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/config");
    let main = fs::read_to_string(folder.join("sluice.toml")).expect("an example file");
    let keys = main.lines().filter_map(|line| line.strip_prefix("# ")).filter(|line| {
        line.starts_with('[')
            || line.split_once(" = ").is_some_and(|(key, _)| key.chars().all(|c| c.is_lowercase() || c == '_'))
    });
    for key in keys.filter(|line| !line.starts_with('[') && !line.contains("file:")) {
        let section = main[..main.find(key).expect("the key")]
            .lines()
            .rev()
            .find_map(|line| line.trim_start_matches("# ").strip_prefix('[')?.strip_suffix(']'));
        let text = format!("[{}]\nmodel = 'm'\n", section.expect("a section"));
        let text =
            if key.starts_with("model") || section != Some("llm") { text.replace("model = 'm'\n", "") } else { text };
        input().main(format!("{text}{key}")).resolve().expect(key);
    }
}

#[test]
fn the_example_of_a_provider_is_understood_and_says_which_tenant_is_missing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/config");
    let main = fs::read_to_string(folder.join("sluice.toml")).expect("an example file");
    let block: Vec<&str> = main.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    let text = format!("[admin]\npublic_url = 'https://gate.example'\n{}", block.join("\n"));
    let environment = Environment::fixed([("OIDC", "a-secret")]);
    let text = text.replace("file:oidc.secret", "env:OIDC");
    let config = Input::new("cfg").environment(environment).main(&text).resolve().expect("a right configuration");
    let oidc = config.admin.oidc.as_ref().expect("a provider");
    assert_eq!(oidc.callback.as_str(), "https://gate.example/api/v1/session/provider/callback");
    assert_eq!((oidc.roles.len(), oidc.roles[0].claim == oidc.roles[1].claim), (2, true));
    assert!(warnings(&config).contains("admin.oidc.roles: names the tenant `acme`, which is not there"));
}

#[test]
fn a_provider_that_would_let_in_nobody_or_too_many_is_refused() {
    let told = |text: &str, expected: &[&str]| {
        let errors = main_errors(text);
        for line in expected {
            assert!(errors.contains(line), "{line}:\n{errors}");
        }
        assert_eq!(errors.lines().count(), expected.len(), "{errors}");
    };
    told(
        "[admin.oidc]\nissuer = 'login.example.com'\n",
        &[
            "sluice.toml:1: admin.oidc.client_id: is missing",
            "sluice.toml:1: admin.oidc.client_secret: is missing",
            "sluice.toml:1: admin.oidc.roles: names no role: nobody could sign in",
            "sluice.toml:2: admin.oidc.issuer: is not a URL",
            "sluice.toml:2: admin.oidc.issuer: needs `admin.public_url`",
        ],
    );
    told(
        "[admin]\npublic_url = 'https://gate.example/sluice'\n[admin.oidc]\nissuer = 'http://login.example.com'\n\
         client_id = 'x'\nclient_secret = 'plain'\ndomain = 'x'\n[[admin.oidc.roles]]\nvalue = 'x'\nrole = 'root'\n\
         [[admin.oidc.roles]]\nvalue = 'x'\nrole = 'admin'\ntenants = []\n",
        &[
            "sluice.toml:4: admin.oidc.issuer: `login.example.com` would be called over http outside loopback",
            "sluice.toml:4: admin.oidc.issuer: needs an `admin.public_url` without a path",
            "sluice.toml:6: admin.oidc.client_secret: is a plain value",
            "sluice.toml:7: admin.oidc.domain: is not a known key; did you mean `domains`?",
            "sluice.toml:10: admin.oidc.roles[0].role: `root` is not known here",
            "sluice.toml:14: admin.oidc.roles[1].tenants: names no tenant",
        ],
    );
}

#[test]
fn a_wrong_key_is_named_with_the_one_that_was_meant() {
    insta::assert_snapshot!(
        main_errors("[edge]\nlisten = '127.0.0.1:1'\nmax_bdoy = '1MiB'\n\n[limts]\nconcurrency = 1"),
        @"
cfg/sluice.toml:3: edge.max_bdoy: is not a known key; did you mean `max_body`?
cfg/sluice.toml:5: limts: is not a known key; did you mean `limits`?
"
    );
    insta::assert_snapshot!(tenant_errors(&format!("{SOURCE}tolerence = '60s'")), @"cfg/tenants/acme.toml:4: sources.orders.tolerence: is not a known key; did you mean `tolerance`?");
    insta::assert_snapshot!(route_errors("action = 'http_call'\nurl = 'https://a.example/'\npromt = 'x'"), @"cfg/tenants/acme.toml:8: sources.orders.routes[0].promt: is not a known key; known here: name, event_types, filter, fetch, attachments, action, url, method, auth, headers, body");
}

#[test]
fn all_mistakes_are_told_at_once() {
    insta::assert_snapshot!(
        main_errors("[edge]\nlisten = 'nowhere'\nmax_body = '512K'\nmax_connections = 0\ntrusted_proxies = ['10.0.0.0/8', 'proxy']\n[llm]\ntimeout = 15\n[telemetry]\nformat = 'xml'"),
        @r#"
    cfg/sluice.toml:2: edge.listen: `nowhere` does not fit; write an address and a port such as "127.0.0.1:8080"
    cfg/sluice.toml:3: edge.max_body: `512K` does not fit; write a size such as "512KiB" (units: B, KiB, MiB, GiB)
    cfg/sluice.toml:4: edge.max_connections: 0 is out of range; write 1 to 1000000
    cfg/sluice.toml:5: edge.trusted_proxies[1]: `proxy` does not fit; write a network such as "10.0.0.0/8" or a single address
    cfg/sluice.toml:6: llm.model: is missing; write the model's name such as "gpt-5-mini"
    cfg/sluice.toml:7: llm.timeout: is a number; write a duration such as "15s" (units: ms, s, m, h, d)
    cfg/sluice.toml:9: telemetry.format: `xml` is not known here; known here: auto, json, human
    "#
    );
}

#[test]
fn where_telemetry_goes_is_checked_and_a_dsn_is_not_repeated() {
    let with = |dsn: &str, text: &str| {
        let environment = Environment::fixed([("DSN", dsn)]);
        let resolved = Input::new("cfg").environment(environment).main(text).resolve();
        resolved.map(|_| ()).map_err(|errors| errors.to_string())
    };
    let plain = with("", "[telemetry.sentry]\ndsn = 'https://hunter2@sentry.example/1'").unwrap_err();
    assert!(plain.contains("telemetry.sentry.dsn") && !plain.contains("hunter2"), "{plain}");
    insta::assert_snapshot!(
        main_errors("[telemetry.traces]\nendpoint = 'collector:4318'\nratio = 1.5\n[telemetry.sentry]\nenvironment = 'a/b'"),
        @r#"
    cfg/sluice.toml:2: telemetry.traces.endpoint: is not a URL of http or https; write one such as "https://example.com"
    cfg/sluice.toml:3: telemetry.traces.ratio: 1.5 is no part of a whole; write a number from 0 to 1, such as 0.1
    cfg/sluice.toml:4: telemetry.sentry.dsn: is missing; write a reference such as "file:PATH" or "env:NAME"
    cfg/sluice.toml:5: telemetry.sentry.environment: is not the name of an environment: 1 to 64 characters without blanks and slashes; write one such as "production"
    "#
    );
    insta::assert_snapshot!(main_errors("[telemetry.traces]\nendpoint = 'http://c:4318/v1/traces'\nratios = 1"), @r#"
    cfg/sluice.toml:2: telemetry.traces.endpoint: names the path of the spans, which is added to it; leave `/v1/traces` away: write where the collector listens, such as "http://127.0.0.1:4318"
    cfg/sluice.toml:3: telemetry.traces.ratios: is not a known key; did you mean `ratio`?
    "#);
    let sentry = "[telemetry.sentry]\ndsn = 'env:DSN'";
    for (dsn, reason) in [
        ("hunter2", "is not a URL"),
        ("ftp://hunter2@sentry.example/1", "is not a URL of https"),
        ("http://hunter2@sentry.example/1", "is http outside loopback"),
        ("https://sentry.example/1", "holds no key"),
        ("https://hunter2@sentry.example", "names no project"),
    ] {
        let error = with(dsn, sentry).unwrap_err();
        assert!(error.contains(&format!("telemetry.sentry.dsn: {reason}")) && !error.contains("hunter2"), "{error}");
    }
    for dsn in ["https://hunter2@sentry.example/1", "http://hunter2@127.0.0.1:8000/behind/a/path/42"] {
        assert_eq!(with(dsn, sentry), Ok(()));
    }
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    insta::assert_snapshot!(main_errors("[edge]\nlisten = \n[admin"), @"
    cfg/sluice.toml:2: not TOML: string values must be quoted, expected literal string
    cfg/sluice.toml:3: not TOML: unclosed table, expected `]`
    ");
}

#[test]
fn an_unknown_vendor_is_named_with_the_one_that_was_meant() {
    insta::assert_snapshot!(tenant_errors(&SOURCE.replace("generic", "strpe")), @"cfg/tenants/acme.toml:2: sources.orders.vendor: `strpe` is not a known vendor; did you mean `stripe`?");
    insta::assert_snapshot!(tenant_errors(&SOURCE.replace("generic", "acme-payments")), @"cfg/tenants/acme.toml:2: sources.orders.vendor: `acme-payments` is not a known vendor; known here: openai, slack, stripe, hubspot, notion, github, shopify, linear, zoom, twilio, discord, sendgrid, paypal, standard, svix, generic, custom");
}

#[test]
fn a_missing_secret_is_named_with_its_reference() {
    insta::assert_snapshot!(tenant_errors(&SOURCE.replace("env:ORDERS", "env:ODRERS")), @"cfg/tenants/acme.toml:3: sources.orders.secrets[0]: `env:ODRERS`: the environment variable ODRERS is not set; set it for the process that runs `sluice`, or refer to a file with `file:PATH`");
    insta::assert_snapshot!(tenant_errors("[sources.orders]\nvendor = 'generic'"), @r#"cfg/tenants/acme.toml:1: sources.orders.secrets: is missing: nothing could be verified; write a list of references, newest first, such as ["file:NAME.secret"]"#);
    insta::assert_snapshot!(tenant_errors(&SOURCE.replace("['env:ORDERS']", "[]")), @"cfg/tenants/acme.toml:3: sources.orders.secrets: is empty: nothing could be verified; name at least one secret");
    insta::assert_snapshot!(tenant_errors(&SOURCE.replace("env:ORDERS", "vault:kv/data/acme#stripe")), @"cfg/tenants/acme.toml:3: sources.orders.secrets[0]: `vault:kv/data/acme#stripe`: the provider is not configured; add `[secrets.vault]` with its address and how to log in to sluice.toml");
    insta::assert_snapshot!(tenant_errors(&SOURCE.replace("env:ORDERS", "vault:kv/acme#stripe")), @r#"cfg/tenants/acme.toml:3: sources.orders.secrets[0]: is no path of Vault's KV version 2; write the mount, `data`, the path and the field: "vault:secret/data/acme#stripe""#);
    let missing = tenant_errors(&SOURCE.replace("env:ORDERS", "file:none.secret"));
    assert!(missing.contains("cfg/none.secret: No such file or directory"), "{missing}");
}

#[test]
fn an_empty_secret_is_refused_and_one_byte_is_enough() {
    let with =
        |value: &str| input().environment(Environment::fixed([("ORDERS", value)])).tenant("acme", SOURCE).resolve();
    insta::assert_snapshot!(with("").expect_err("an empty secret"), @"cfg/tenants/acme.toml:3: sources.orders.secrets[0]: `env:ORDERS`: is empty; put the secret there: an empty secret would let anybody sign");
    assert!(with("x").is_ok());
}

#[test]
fn a_plain_credential_is_refused_without_repeating_it() {
    for text in [
        SOURCE.replace("env:ORDERS", "hunter2"),
        format!("[llm]\nmodel = 'm'\napi_key = 'hunter2'\n{SOURCE}"),
        format!(
            "{SOURCE}[[sources.orders.routes]]\nname='r'\naction='http_forward'\nurl='https://a.example'\nsecret='hunter2'"
        ),
        format!(
            "{SOURCE}[[sources.orders.routes]]\nname='r'\naction='http_call'\nurl='https://a.example'\nauth={{bearer='hunter2'}}"
        ),
        format!("{SOURCE}[[sources.orders.routes]]\nname='r'\naction='http_call'\nurl='https://me:hunter2@a.example'"),
        format!(
            "{SOURCE}[[sources.orders.routes]]\nname='r'\naction='http_call'\nurl='https://a.example'\nheaders={{Authorization='hunter2'}}"
        ),
    ] {
        let errors = tenant_errors(&text);
        assert!(errors.contains("env:NAME"), "no cure: {errors}");
        assert!(!errors.contains("hunter2"), "{errors}");
    }
    insta::assert_snapshot!(tenant_errors(&SOURCE.replace("env:ORDERS", "hunter2")), @r#"cfg/tenants/acme.toml:3: sources.orders.secrets[0]: is a plain value where only a reference to a secret may stand; put the value into a file that only the gateway may read and write "file:PATH", or into the environment and write "env:NAME""#);
}

#[test]
fn the_url_of_a_postgres_database_holds_a_password_only_behind_a_reference() {
    let database = |url: &str| format!("[database]\nurl = '{url}'");
    for plain in ["postgres://u:hunter-2@db/hooks", "postgresql://db/hooks?user=u&password=hunter-2"] {
        let error = main_errors(&database(plain));
        assert!(error.contains("sluice.toml:2: database.url: carries a password"), "{error}");
        assert!(error.contains("file:PATH") && !error.contains("hunter-2"), "{error}");
    }
    let environment = Environment::fixed([
        ("URL", "postgres://u:hunter-2@db/hooks?sslmode=verify-full&sslrootcert=ca.pem"),
        ("LOOSE", "postgres://u:hunter-2@db/hooks"),
        ("WRONG", "mysql://u:hunter-2@db/hooks"),
        ("ORDERS", "one"),
    ]);
    let resolve = |url: &str| {
        let input = Input::new("cfg").environment(environment.clone()).main(database(url).as_str());
        input.tenant("acme", SOURCE).resolve()
    };
    let config = resolve("env:URL").expect("a right configuration");
    assert!(!warnings(&config).contains("sslmode") && !format!("{config:?}").contains("hunter-2"));
    assert_eq!(config.database.data_dir(), std::path::absolute("cfg").expect("a path"));
    let here = resolve("postgres:///hooks?host=/run/postgresql&user=u").expect("a right configuration");
    assert!(!warnings(&here).contains("sslmode"));
    let loose = warnings(&resolve("env:LOOSE").expect("a right configuration"));
    assert!(loose.contains("database.url: leads to another machine without `sslmode=verify-full`"), "{loose}");
    let apart = |url: &str| {
        let main = format!("{}\ndata_dir = '/var/lib/sluice'", database(url));
        Input::new("cfg").environment(environment.clone()).main(main.as_str()).tenant("acme", SOURCE).resolve()
    };
    let config = apart("env:URL").expect("a right configuration");
    assert_eq!(config.database.data_dir(), std::path::Path::new("/var/lib/sluice"));
    let embedded = apart("sqlite://sluice.db").expect_err("a mistake").to_string();
    assert!(embedded.contains("database.data_dir: is for Postgres only"), "{embedded}");
    let wrong = resolve("env:WRONG").expect_err("a mistake").to_string();
    assert!(wrong.contains("postgres://USER@HOST/DATABASE") && !wrong.contains("hunter-2"), "{wrong}");
}

#[test]
fn the_public_key_of_an_asymmetric_scheme_may_stand_in_plain() {
    let key = "whpk_Sas51EoSKZKs29AcXjORQ7Z3CLvd0wm5Qee7KAQpCMc=";
    let text = format!("[sources.orders]\nvendor = 'standard'\nsecrets = ['{key}']");
    let config = input().tenant("acme", &text).tenant("beta", &text).resolve().expect("a public key is no secret");
    let tenant = config.tenants.values().next().expect("a tenant");
    let source = tenant.sources.values().next().expect("a source");
    assert!(source.keys[0].version.starts_with("public:"), "{}", source.keys[0].version);
}

#[test]
fn a_secret_under_two_tenants_is_refused() {
    let errors = input().tenant("acme", SOURCE).tenant("beta", SOURCE).resolve().expect_err("a shared secret");
    insta::assert_snapshot!(errors, @"cfg/tenants/beta.toml:3: sources.orders.secrets[0]: is the same secret as one of tenant `acme` (cfg/tenants/acme.toml:3); give each tenant a secret of its own in the vendor's settings: with a shared one, either can forge the other's deliveries");
    let own = SOURCE.replace("ORDERS", "OTHER");
    assert!(input().tenant("acme", SOURCE).tenant("beta", own).resolve().is_ok());
}

#[test]
fn more_than_three_secrets_are_refused() {
    insta::assert_snapshot!(
        tenant_errors(&SOURCE.replace("['env:ORDERS']", "['env:ORDERS', 'env:OTHER', 'env:ORDERS', 'env:OTHER']")),
        @"cfg/tenants/acme.toml:3: sources.orders.secrets: names 4 secrets; keep at most 3, newest first; each one more can forge"
    );
}

#[test]
fn an_old_secret_carries_its_end() {
    let text =
        SOURCE.replace("['env:ORDERS']", "['env:OTHER', { ref = 'env:ORDERS', not_after = 2026-12-01T00:00:00Z }]");
    let config = input().tenant("acme", &text).resolve().expect("a right configuration");
    let source = &config.tenants.values().next().expect("a tenant").sources.values().next().expect("a source").clone();
    let ends: Vec<_> =
        source.keys.iter().map(|key| (key.version.to_string(), key.not_after.map(|at| at.to_string()))).collect();
    assert_eq!(
        ends,
        [("env:OTHER".to_owned(), None), ("env:ORDERS".to_owned(), Some("2026-12-01T00:00:00.000Z".to_owned()))]
    );
    insta::assert_snapshot!(tenant_errors(&text.replace("2026-12-01T00:00:00Z", "'soon'")), @r#"cfg/tenants/acme.toml:3: sources.orders.secrets[1].not_after: `soon` does not fit; write a time with its offset such as "2026-12-01T00:00:00Z""#);
}

#[test]
fn callees_outside_loopback_are_called_over_https_and_private_ones_only_if_allowed() {
    insta::assert_snapshot!(main_errors("[llm]\nmodel = 'm'\nbase_url = 'http://llm.example/v1'"), @"cfg/sluice.toml:3: llm.base_url: `llm.example` would be called over http outside loopback; write its https URL");
    insta::assert_snapshot!(main_errors("[llm]\nmodel = 'm'\nbase_url = 'http://127.0.0.1:9000/v1'"), @r#"cfg/sluice.toml:3: llm.base_url: 127.0.0.1 is a private address; add "127.0.0.1/32" to `outbound.allow_private` in sluice.toml if it is meant"#);
    insta::assert_snapshot!(main_errors("[llm]\nmodel = 'm'\nbase_url = 'https://10.1.2.3/v1'"), @r#"cfg/sluice.toml:3: llm.base_url: 10.1.2.3 is a private address; add "10.1.2.3/32" to `outbound.allow_private` in sluice.toml if it is meant"#);
    let allowed =
        "[outbound]\nallow_private = ['127.0.0.0/8']\n[llm]\nmodel = 'm'\nbase_url = 'http://localhost:9000/v1/'";
    let config = input().main(allowed).resolve().expect("an allowed callee");
    assert_eq!(config.llm.expect("an LLM").base_url.as_str(), "http://localhost:9000/v1");
    insta::assert_snapshot!(route_errors("action = 'http_call'\nurl = 'http://crm.example/{{ subject_id }}'"), @"cfg/tenants/acme.toml:7: sources.orders.routes[0].url: `crm.example` would be called over http outside loopback; write its https URL");
}

#[test]
fn an_event_cannot_choose_who_is_called() {
    insta::assert_snapshot!(route_errors("action = 'http_call'\nurl = 'https://{{ data.host }}/x'"), @"cfg/tenants/acme.toml:7: sources.orders.routes[0].url: has a template in its host; write the host literally: an event must not choose who is called");
    insta::assert_snapshot!(route_errors("action = 'http_call'\nurl = 'https://crm.example{{ data.path }}'"), @"cfg/tenants/acme.toml:7: sources.orders.routes[0].url: has a template in its host; write the host literally: an event must not choose who is called");
}

#[test]
fn listeners_outside_loopback_need_tls_or_a_proxy_that_ends_it() {
    insta::assert_snapshot!(main_errors("[edge]\nlisten = '0.0.0.0:80'\n[admin]\nlisten = '0.0.0.0:81'"), @r#"
    cfg/sluice.toml:2: edge.listen: 0.0.0.0:80 is not loopback and the gateway would take deliveries without TLS; set `edge.tls`, or name the proxy that ends TLS in `edge.trusted_proxies`, or listen on 127.0.0.1
    cfg/sluice.toml:3: admin.scrape_token: is missing while the admin listener is not on loopback; write a reference such as "file:scrape.token": `/metrics` asks for it
    cfg/sluice.toml:4: admin.listen: 0.0.0.0:81 is not loopback and tokens would travel without TLS; set `admin.tls`, or name the proxy that ends TLS in `admin.trusted_proxies`, or listen on 127.0.0.1
    "#);
    let proxied = "[edge]\nlisten = '0.0.0.0:80'\ntrusted_proxies = ['10.0.0.1']\n\
        [admin]\nlisten = '0.0.0.0:81'\ntrusted_proxies = ['10.0.0.1']\nscrape_token = 'env:ORDERS'";
    assert!(input().main(proxied).resolve().is_ok());
}

#[test]
fn a_vendor_that_signs_the_url_needs_to_know_it() {
    let text = SOURCE.replace("generic", "hubspot");
    insta::assert_snapshot!(tenant_errors(&text), @"cfg/tenants/acme.toml:2: sources.orders.vendor: signs the URL that it calls, and the gateway is not told its own; set `edge.public_url` in sluice.toml to the https URL that vendors call");
    assert!(input().main("[edge]\npublic_url = 'https://hooks.example'").tenant("acme", text).resolve().is_ok());
}

#[test]
fn routes_are_checked_against_what_they_need() {
    insta::assert_snapshot!(route_errors("action = 'summarise'"), @"cfg/tenants/acme.toml:6: sources.orders.routes[0].action: `summarise` is not known here; known here: summarize_and_publish, wordpress_publish, http_call, http_forward, queue_publish, log");
    insta::assert_snapshot!(route_errors("action = 'summarize_and_publish'"), @"cfg/tenants/acme.toml:6: sources.orders.routes[0].action: needs an LLM and none is configured; add `[llm]` to sluice.toml or to this tenant's file");
    insta::assert_snapshot!(route_errors("action = 'wordpress_publish'\ntitle = 't'\nsummary = 's'"), @"cfg/tenants/acme.toml:6: sources.orders.routes[0].action: needs a WordPress site and this tenant has none; add `[wordpress]` with site, site_uuid and signing_key to this file");
    insta::assert_snapshot!(route_errors("action = 'queue_publish'"), @"cfg/tenants/acme.toml:6: sources.orders.routes[0].action: names 0 brokers; write one of redis = { url = …, stream = … }, rabbitmq = { url = …, exchange = …, routing_key = … }, nats = { url = …, subject = … }");
    insta::assert_snapshot!(route_errors("action = 'log'\nevent_types = ['a.*.b', '']"), @r#"
    cfg/tenants/acme.toml:7: sources.orders.routes[0].event_types[0]: `a.*.b` is not an event type: `*` may stand only at the end; write an exact type, or a prefix such as "invoice.*"
    cfg/tenants/acme.toml:7: sources.orders.routes[0].event_types[1]: `` is not an event type: an event type pattern cannot be empty; write an exact type, or a prefix such as "invoice.*"
    "#);
    insta::assert_snapshot!(route_errors("action = 'log'\n[[sources.orders.routes]]\nname = 'r'\naction = 'log'"), @"cfg/tenants/acme.toml:7: sources.orders.routes[1].name: a second route is named `r`; give each route of a source its own name: jobs are told apart by it");
    insta::assert_snapshot!(route_errors("action = 'log'\nfilter = [{ pointer = 'data', any_of = [] }]"), @r#"
cfg/tenants/acme.toml:7: sources.orders.routes[0].filter[0].pointer: is not a JSON pointer; begin it with `/`, such as "/data/amount"
cfg/tenants/acme.toml:7: sources.orders.routes[0].filter[0].any_of: names no value; write a list of values such as ["paid", "open"]
"#);
    insta::assert_snapshot!(route_errors("action = 'http_call'\nurl = 'https://a.example'\nauth = { bearer = 'env:ORDERS', basic = { user = 'u', password = 'env:OTHER' } }"), @"cfg/tenants/acme.toml:8: sources.orders.routes[0].auth: names 2 ways to authenticate; write one of { bearer = … }, { basic = … }, { header = … }, { oauth2 = … }");
}

#[test]
fn an_event_that_is_only_an_id_is_not_summarised_without_a_fetch() {
    let llm = "[llm]\nmodel = 'm'";
    let text = |keys: &str| {
        format!(
            "{}[[sources.orders.routes]]\nname = 'r'\naction = 'summarize_and_publish'\n{keys}",
            SOURCE.replace("generic", "notion")
        )
    };
    let with = |keys: &str| input().main(llm).tenant("acme", text(keys)).resolve();
    insta::assert_snapshot!(with("").expect_err("no fetch"), @"cfg/tenants/acme.toml:4: sources.orders.routes[0].fetch: is missing: `*` of notion carries only an id, there is nothing to summarise; add `fetch = { url = … }` that loads the resource, or narrow `event_types`");
    assert!(
        with("fetch = { url = 'https://api.notion.com/v1/pages/{{ subject_id }}', auth = { bearer = 'env:OTHER' } }")
            .is_ok()
    );
}

#[test]
fn a_wordpress_site_is_checked_as_a_whole() {
    insta::assert_snapshot!(
        tenant_errors(&format!("[wordpress]\nsite = 'http://blog.example'\nsite_uuid = 'x'\nsigning_key = 'env:OTHER'\n{SOURCE}")),
        @"
cfg/tenants/acme.toml:2: wordpress.site: `blog.example` would be called over http outside loopback; write its https URL
cfg/tenants/acme.toml:3: wordpress.site_uuid: is not a UUID; copy it from Settings → Sluice of the WordPress site
cfg/tenants/acme.toml:4: wordpress.signing_key: is not an Ed25519 private key in PKCS#8 PEM; make one with `openssl genpkey -algorithm ed25519`
"
    );
}

#[test]
fn a_sites_own_token_is_long_and_no_other_tenants() {
    let site = |token: &str| {
        format!(
            "[wordpress]\nsite = 'https://blog.example'\nsite_uuid = '7f8f0a2e-3c1b-4d5e-9f60-718293a4b5c6'\n\
             signing_key = 'env:SIGNING'\nsite_token = '{token}'\n"
        )
    };
    let key = include_str!("../fixtures/wordpress/signing-key.pem");
    let token = "0123456789abcdef0123456789abcdef";
    let environment = Environment::fixed([("SIGNING", key), ("LONG", token), ("SHORT", &token[1..])]);
    let read = |tenants: &[(&str, &str)]| {
        let mut input = Input::new("cfg").environment(environment.clone());
        for (name, token) in tenants {
            input = input.tenant(name, site(token));
        }
        input.resolve().map(|config| config.tenants.len()).map_err(|errors| errors.to_string())
    };
    assert_eq!(read(&[("acme", "env:LONG")]), Ok(1));
    insta::assert_snapshot!(read(&[("acme", "env:SHORT")]).unwrap_err(), @"cfg/tenants/acme.toml:5: wordpress.site_token: has fewer than 32 bytes; make one with `openssl rand -hex 32`");
    let plain = read(&[("acme", token)]).unwrap_err();
    assert!(plain.contains("site_token") && !plain.contains(token), "a token in the file itself: {plain}");
    let twice = read(&[("acme", "env:LONG"), ("other", "env:LONG")]).unwrap_err();
    assert!(twice.contains("site_token"), "one token under two tenants: {twice}");
}

#[test]
fn mode_meta_is_said_in_its_word_and_its_target_only_with_it() {
    let with = |keys: &str| route_errors(&format!("action = 'wordpress_publish'\ntitle = 't'\nsummary = 's'\n{keys}"));
    assert!(with("mode = 'post'").contains("mode: `post` is not known here; known here: meta"));
    let alone = with("target_post_id = '{{ data.post_id }}'");
    assert!(
        alone.contains("target_post_id: is for `mode = \"meta\"` only; add `mode = \"meta\"`, or remove it"),
        "{alone}"
    );
}

#[test]
fn the_environment_overrides_every_value_and_is_named_where_it_is_wrong() {
    let with = |variables: [(&str, &str); 2]| {
        input().environment(Environment::fixed(variables)).main("[edge]\nmax_body = '1KiB'").resolve()
    };
    let config = with([("SLUICE_EDGE__MAX_BODY", "2KiB"), ("SLUICE_EDGE__TRUSTED_PROXIES", "10.0.0.1, 10.0.0.2")])
        .expect("overrides");
    assert_eq!((config.edge.max_body, config.edge.trusted_proxies.len()), (2048, 2));
    insta::assert_snapshot!(
        with([("SLUICE_EDGE__MAX_BODY", "big"), ("SLUICE_EDGE__MAX_BDOY", "1KiB")]).expect_err("wrong overrides"),
        @r#"
    environment variable SLUICE_EDGE__MAX_BDOY: edge.max_bdoy: is not a known key; did you mean `max_body`?
    environment variable SLUICE_EDGE__MAX_BODY: edge.max_body: `big` does not fit; write a size such as "512KiB" (units: B, KiB, MiB, GiB)
    "#
    );

    let environment =
        Environment::fixed([("ORDERS", "one"), ("SLUICE_TENANTS__ACME__SOURCES__ORDERS__ENABLED", "false")]);
    let config = input().environment(environment).tenant("acme", SOURCE).resolve().expect("an override");
    let source = config.tenants.values().next().expect("a tenant").sources.values().next().expect("a source").clone();
    assert!(!source.enabled);

    let environment = Environment::fixed([("ORDERS", "one"), ("SLUICE_TENANTS__ACNE__X", "1")]);
    insta::assert_snapshot!(input().environment(environment).tenant("acme", SOURCE).resolve().expect_err("no such tenant"), @"environment variable SLUICE_TENANTS__ACNE__X: there is no tenant `acne`; did you mean `acme`?");
}

#[test]
fn what_is_odd_but_not_wrong_is_a_warning() {
    let text = format!("{SOURCE}tolerance = '30m'").replace("['env:ORDERS']", "['env:ORDERS', 'env:ORDERS']");
    let config = input().tenant("acme", text).tenant("empty", "").resolve().expect("only warnings");
    insta::assert_snapshot!(warnings(&config), @"
cfg/tenants/acme.toml:3: sources.orders.secrets[1]: is the same secret as an earlier one; remove it
cfg/tenants/acme.toml:4: sources.orders.tolerance: is more than 5 minutes: a captured delivery can be sent again for as long; leave it out unless the sender's clock is known to be wrong
cfg/tenants/empty.toml: sources: names no source: this tenant receives nothing; add one with `sluice source add`
");
}

#[test]
fn a_schema_of_the_operator_is_compiled() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = format!("{SOURCE}schemas = [{{ types = 'order.*', file = 'order.json' }}]");
    let resolve = || {
        let environment = Environment::fixed([("ORDERS", "one")]);
        Input::new(dir.path()).environment(environment).tenant("acme", &text).resolve()
    };
    assert!(resolve().expect_err("no file").to_string().contains("order.json: No such file"));
    fs::write(dir.path().join("order.json"), "{\"type\": \"nonsense\"}").expect("a file");
    assert!(resolve().expect_err("no schema").to_string().contains("is not a JSON Schema"));
    // Only patterns that take linear time, whatever the payload.
    let patterned = |pattern: &str| {
        let schema = serde_json::json!({"properties": {"name": {"pattern": pattern}}}).to_string();
        fs::write(dir.path().join("order.json"), schema).expect("a file");
        resolve().map(drop).map_err(|error| error.to_string())
    };
    assert!(patterned("^(?=a)(a+)+$").expect_err("a look-ahead").contains("is not a JSON Schema"));
    assert_eq!(patterned("^(a+)+$"), Ok(()));
}

#[test]
fn a_folder_is_read_with_its_tenants_and_secrets() {
    let dir = tempfile::tempdir().expect("a folder");
    let missing = load(dir.path()).expect_err("nothing there").to_string();
    assert!(missing.ends_with("sluice.toml: cannot be read: No such file or directory (os error 2); create it with `sluice init DIR`, or name it with --config"), "{missing}");

    fs::create_dir(dir.path().join("tenants")).expect("a folder");
    fs::write(dir.path().join("sluice.toml"), "[database]\nurl = 'sqlite://data/s.db'").expect("a file");
    fs::write(dir.path().join("tenants/acme.toml"), SOURCE.replace("env:ORDERS", "file:acme.secret")).expect("a file");
    fs::write(dir.path().join("tenants/.acme.toml.swp.toml"), "not a tenant").expect("a file");
    fs::write(dir.path().join("acme.secret"), "one\n").expect("a file");
    let config = load(dir.path()).expect("a right configuration");
    assert_eq!(config.database.data_dir(), dir.path().join("data"));
    // With the one that a rotation of its secret would keep beside it.
    assert_eq!(config.files.len(), 4);
    assert_eq!(config.tenants.len(), 1);
}

#[test]
fn receivers_of_alerts_are_checked() {
    let alerts = |text: &str| {
        let environment = Environment::fixed([
            ("URL", "https://hooks.example/T0/very-secret"),
            ("INSIDE", "https://10.1.2.3/T0/very-secret"),
            ("KEY", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
            ("BAD", "not base64!"),
        ]);
        let main = format!("[alerts]\n{text}");
        Input::new("cfg").environment(environment).main(main).resolve().map_err(|errors| errors.to_string())
    };
    let receiver = |keys: &str| alerts(&format!("[[alerts.receivers]]\nname = 'a'\n{keys}"));
    let wrong = |keys: &str| receiver(keys).expect_err(keys);
    insta::assert_snapshot!(wrong(""), @"cfg/sluice.toml:2: alerts.receivers[0].webhook: is missing; write one of `webhook`, `slack` and `email` for each receiver");
    insta::assert_snapshot!(wrong("slack = 'https://hooks.example/T0/x'"), @r#"cfg/sluice.toml:4: alerts.receivers[0].slack: is a plain value where only a reference to a secret may stand; put the value into a file that only the gateway may read and write "file:PATH", or into the environment and write "env:NAME""#);
    insta::assert_snapshot!(wrong("slack = 'env:URL'\nwebhook = 'https://a.example/'\nsecret = 'env:KEY'"), @"cfg/sluice.toml:2: alerts.receivers[0].webhook: is not the only channel of this receiver; write one of `webhook`, `slack` and `email` for each receiver");
    insta::assert_snapshot!(wrong("slack = 'env:INSIDE'"), @r#"cfg/sluice.toml:4: alerts.receivers[0].slack: 10.1.2.3 is a private address; add "10.1.2.3/32" to `outbound.allow_private` in sluice.toml if it is meant"#);
    insta::assert_snapshot!(wrong("webhook = 'http://a.example/'\nsecret = 'env:BAD'"), @"
cfg/sluice.toml:4: alerts.receivers[0].webhook: `a.example` would be called over http outside loopback; write its https URL
cfg/sluice.toml:5: alerts.receivers[0].secret: is not the base64 of a signing secret; make one with `echo whsec_$(openssl rand -base64 32)`
");
    insta::assert_snapshot!(wrong("webhook = 'https://a.example/'"), @r#"cfg/sluice.toml:2: alerts.receivers[0].secret: is missing; write a reference such as "file:PATH" or "env:NAME""#);
    insta::assert_snapshot!(wrong("slack = 'env:URL'\ncauses = ['breaker_open']"), @"cfg/sluice.toml:5: alerts.receivers[0].causes[0]: `breaker_open` is not known here; did you mean `breaker_opened`?");
    insta::assert_snapshot!(wrong("email = { server = 'smtp://mail.example', starttls = false, from = 'x', to = [] }"), @r#"
cfg/sluice.toml:4: alerts.receivers[0].email.starttls: is off outside loopback: alerts would travel in the clear; leave it out
cfg/sluice.toml:4: alerts.receivers[0].email.from: `x` is not an address; write one such as "Ops <ops@example.com>"
cfg/sluice.toml:4: alerts.receivers[0].email.to: names nobody; write a list of addresses such as ["ops@example.com"]
"#);
    insta::assert_snapshot!(wrong("email = { server = 'https://mail.example', user = 'u', from = 'a@example.com', to = ['b@example.com'] }"), @r#"
cfg/sluice.toml:4: alerts.receivers[0].email.server: is not the URL of a mail server; write "smtps://HOST" (TLS at once, port 465) or "smtp://HOST" (STARTTLS, port 587)
cfg/sluice.toml:4: alerts.receivers[0].email.user: stands without `password`, or the other way round; write both or none
"#);
    insta::assert_snapshot!(wrong("email = { server = 'smtps://u:p@192.168.1.1', from = 'a@example.com', to = ['b@example.com'] }"), @r#"
cfg/sluice.toml:4: alerts.receivers[0].email.server: carries a user; write `user`, and `password` as a reference, beside it
cfg/sluice.toml:4: alerts.receivers[0].email.server: 192.168.1.1 is a private address; add "192.168.1.1/32" to `outbound.allow_private` in sluice.toml if it is meant
"#);
    insta::assert_snapshot!(alerts("dead_letters = 0\nreceivers = [{ name = 'a', slack = 'env:URL' }, { name = 'a', slack = 'env:URL' }, { name = 'A b', slack = 'env:URL' }]").unwrap_err(), @"
cfg/sluice.toml:2: alerts.dead_letters: 0 is out of range; write 1 to 1000000
cfg/sluice.toml:3: alerts.receivers[1].name: a second receiver is named `a`; give each receiver its own name: the log and the metrics tell them apart by it
cfg/sluice.toml:3: alerts.receivers[2].name: `A b` does not fit; write 1 to 40 of a-z, 0-9, `-` and `_`
");
    let config = receiver("slack = 'env:URL'\ntenants = ['nobody']").unwrap();
    insta::assert_snapshot!(warnings(&config), @"
cfg/sluice.toml:5: alerts.receivers[0].tenants: names `nobody`, which has no file; correct the name
cfg/tenants: holds no tenant: the gateway has nothing to receive; add a source with `sluice source add`
");
    assert!(!format!("{config:?}").contains("very-secret"));
}

#[test]
fn artifacts_lie_in_a_folder_or_in_a_bucket_and_what_is_neither_is_named() {
    use sluice::config::{ArtifactPlace, Bucket};

    let read = |text: &str| Input::new("cfg").main(format!("[artifacts]\n{text}")).resolve();
    let place = |text: &str| read(text).unwrap().artifacts.place;
    let dir = std::path::absolute("cfg").unwrap();
    assert_eq!(place(""), ArtifactPlace::Folder(dir.join("artifacts")));
    assert_eq!(place("store = '/srv/objects'"), ArtifactPlace::Folder("/srv/objects".into()));
    let bucket = |prefix: &str, region: Option<&str>, endpoint: Option<&str>| {
        ArtifactPlace::Bucket(Bucket {
            name: "acme-sluice".into(),
            prefix: prefix.into(),
            region: region.map(Into::into),
            endpoint: endpoint.map(|url| url.parse().unwrap()),
        })
    };
    assert_eq!(place("store = 's3://acme-sluice'"), bucket("", None, None));
    assert_eq!(
        place("store = 's3://acme-sluice/of/prod/'\nregion = 'eu-west-1'\nendpoint = 'https://minio.example.com'"),
        bucket("of/prod", Some("eu-west-1"), Some("https://minio.example.com"))
    );
    let wrong = |text: &str| read(text).unwrap_err().to_string();
    for store in [
        "s3://",
        "s3://Acme",
        "s3://a",
        "s3://acme-sluice/../x",
        "s3://acme-sluice//x",
        "gs://acme",
        "",
        "s3://acme_x/y",
    ] {
        let told = wrong(&format!("store = '{store}'"));
        assert!(told.starts_with("cfg/sluice.toml:2: artifacts.store: "), "{store}: {told}");
    }
    for (text, key) in [
        ("region = 'eu-west-1'", "region"),
        ("endpoint = 'http://minio.example.com'\nstore = 's3://acme-sluice'", "endpoint"),
        ("endpoint = 'https://minio.example.com'", "endpoint"),
        ("link_ttl = '8d'", "link_ttl"),
        ("link_ttl = '1s'", "link_ttl"),
        ("archive = '1h'", "archive"),
        ("max_upload = '6GiB'", "max_upload"),
        ("transcript = true", "transcript"),
    ] {
        let told = wrong(text);
        assert!(told.contains(&format!("artifacts.{key}: ")), "{text}: {told}");
    }
    let told = route_errors("action = 'log'\nattachments = ['data.file']");
    assert!(told.contains("attachments: holds something that is not a JSON pointer"), "{told}");
    let postgres = "archive = '30d'\n[database]\nurl = 'postgres:///sluice?host=/run/postgresql'";
    let warned = read(postgres).unwrap().warnings;
    assert!(warned.iter().any(|warning| warning.to_string().contains("artifacts.store: is missing")), "{warned:?}");
}

/// A self-signed certificate and its key, PEM.
fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["hooks.example.com".to_owned()]).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn a_certificate_without_its_key_is_refused_and_neither_is_shown() {
    let ((cert, key), (_, foreign)) = (pair(), pair());
    let told = |cert: &str, key: &str| {
        let environment = Environment::fixed([("CERT", cert), ("KEY", key)]);
        let tls = "tls = { cert = 'env:CERT', key = 'env:KEY' }\n";
        let input = Input::new("cfg").environment(environment).main(format!("[edge]\n{tls}[admin]\n{tls}"));
        input.resolve().map(|_| ()).map_err(|errors| errors.to_string())
    };
    told(&cert, &key).expect("a pair");
    for (cert, key, wrong) in [
        ("nothing", &*key, "tls.cert: is not a certificate chain in PEM"),
        (&cert, "nothing", "tls.key: is not a private key in PEM"),
        (&cert, &foreign, "tls.key: is not the key of the certificate; renew both"),
    ] {
        let errors = told(cert, key).expect_err("no pair");
        for listener in ["edge", "admin"] {
            assert!(errors.contains(&format!("{listener}.{wrong}")), "{errors}");
        }
        assert!(!errors.contains("MII") && !errors.contains("nothing"), "{errors}");
    }
}

#[test]
fn what_only_a_trusted_proxy_may_say_needs_one() {
    insta::assert_snapshot!(
        main_errors("[edge]\nproxy_protocol = true\nclient_certificate_header = 'X-Client-Cert'\n"),
        @r#"
cfg/sluice.toml:2: edge.proxy_protocol: would be taken from nobody: every connection would be closed; name the proxy that passes connections on in `edge.trusted_proxies`
cfg/sluice.toml:3: edge.client_certificate_header: would be believed of nobody; name the proxy that ends TLS in `edge.trusted_proxies`
"#
    );
    insta::assert_snapshot!(
        main_errors("[edge]\nlisten = '0.0.0.0:443'\ntrusted_proxies = ['10.0.0.1']\nproxy_protocol = true\nclient_certificate_header = 'X Client'\n"),
        @r#"
cfg/sluice.toml:4: edge.proxy_protocol: passes connections on as they are, and the gateway would take deliveries without TLS; set `edge.tls`: TLS ends here, behind such a proxy
cfg/sluice.toml:5: edge.client_certificate_header: `X Client` does not fit; write the name of a header
"#
    );
}

#[test]
fn a_source_that_takes_nobody_or_anybody_by_mistake_is_refused() {
    let main = "[edge]\ntrusted_proxies = ['10.0.0.1']\nclient_certificate_header = 'X-Client-Cert'\n";
    let (cert, _) = pair();
    let told = |main: &str, keys: &str| {
        let environment = Environment::fixed([("ORDERS", "one"), ("CA", &*cert), ("NONE", "no PEM")]);
        let input = Input::new("cfg").environment(environment).main(main).tenant("acme", format!("{SOURCE}{keys}"));
        input.resolve().map_or_else(|errors| errors.to_string(), |_| String::new())
    };
    let digest = "00".repeat(32);
    let wrong: Vec<String> = [
        "allow_from = []",
        "allow_from = ['203.0.113.0/33']",
        "client_certificate = {}",
        "client_certificate = { names = [] }",
        "client_certificate = { names = ['a.example'] }",
        "client_certificate = { ca = 'env:CA', names = [] }",
        "client_certificate = { ca = 'env:CA', fingerprints = ['00:11'] }",
        &format!("client_certificate = {{ ca = 'env:CA', fingerprints = ['{digest}'] }}"),
        "client_certificate = { ca = 'env:NONE' }",
        "client_certificate = { ca = 'env:CA', cn = 'a.example' }",
    ]
    .iter()
    .map(|keys| told(main, keys))
    .collect();
    insta::assert_snapshot!(wrong.join("\n"), @r#"
cfg/tenants/acme.toml:4: sources.orders.allow_from: is empty: nobody could deliver; name networks, or leave it out for all
cfg/tenants/acme.toml:4: sources.orders.allow_from[0]: `203.0.113.0/33` does not fit; write a network such as "10.0.0.0/8" or a single address
cfg/tenants/acme.toml:4: sources.orders.client_certificate: names no certificate; add `names`, `fingerprints`, or a `ca` of its own
cfg/tenants/acme.toml:4: sources.orders.client_certificate.names: is empty; name one at least, or leave it out
cfg/tenants/acme.toml:4: sources.orders.client_certificate.names: are of no authority: anybody could issue a certificate with them; name the authority here as `ca`, or for all sources as `edge.client_ca`
cfg/tenants/acme.toml:4: sources.orders.client_certificate.names: are of no authority: anybody could issue a certificate with them; name the authority here as `ca`, or for all sources as `edge.client_ca`
cfg/tenants/acme.toml:4: sources.orders.client_certificate.names: is empty; name one at least, or leave it out
cfg/tenants/acme.toml:4: sources.orders.client_certificate.fingerprints[0]: is not a SHA-256 fingerprint; write the 64 hexadecimal digits of `openssl x509 -noout -fingerprint -sha256`
cfg/tenants/acme.toml:4: sources.orders.client_certificate.ca: has no effect beside fingerprints alone: they are taken whoever issued them; add `names`, or leave it out
cfg/tenants/acme.toml:4: sources.orders.client_certificate.ca: has no effect beside fingerprints alone: they are taken whoever issued them; add `names`, or leave it out
cfg/tenants/acme.toml:4: sources.orders.client_certificate.ca: is not a list of authorities' certificates in PEM; refer to a file with the `BEGIN CERTIFICATE` of each authority, intermediate ones too
cfg/tenants/acme.toml:4: sources.orders.client_certificate.cn: is not a known key; did you mean `ca`?
"#);
    insta::assert_snapshot!(told("", "client_certificate = { ca = 'env:CA' }"), @r#"
cfg/tenants/acme.toml:4: sources.orders.client_certificate: is asked for, but none can arrive: TLS does not end here, and no proxy is believed about it; set `edge.tls`, or `edge.client_certificate_header` in sluice.toml
"#);
    for keys in [
        "allow_from = ['203.0.113.0/24', '2001:db8::/32', '198.51.100.7']",
        "client_certificate = { ca = 'env:CA' }",
        "client_certificate = { ca = 'env:CA', names = ['a.example'] }",
        &format!("client_certificate = {{ fingerprints = ['{digest}'] }}"),
    ] {
        assert_eq!(told(main, keys), "", "{keys}");
    }
    assert_eq!(told(&format!("{main}client_ca = 'env:CA'"), "client_certificate = { names = ['a.example'] }"), "");
}

/// Who issues certificates is public: two tenants may be called by vendors of the same authority.
#[test]
fn an_authority_may_serve_two_tenants() {
    let (cert, _) = pair();
    let main = "[edge]\ntrusted_proxies = ['10.0.0.1']\nclient_certificate_header = 'X-Client-Cert'\n";
    let tenant = |key: &str| {
        format!("[sources.a]\nvendor = 'generic'\nsecrets = ['env:{key}']\nclient_certificate = {{ ca = 'env:CA' }}\n")
    };
    let environment = Environment::fixed([("ONE", "one"), ("TWO", "two"), ("CA", &*cert)]);
    let input = Input::new("cfg").environment(environment).main(main);
    let config = input.tenant("acme", tenant("ONE")).tenant("beta", tenant("TWO")).resolve().expect("right");
    assert!(config.asks_for_certificates());
}
