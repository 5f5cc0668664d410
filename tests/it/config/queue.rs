//! `queue_publish`.

use super::*;

const REDIS: &str = "rediss://gw:PLANTED@redis.example";

fn with(secrets: &[(&str, &str)], lines: &str) -> Result<(), String> {
    let own = [("ORDERS", "one"), ("CA", "no certificate")];
    let environment = Environment::fixed(own.iter().chain(secrets).copied());
    let text = format!("{SOURCE}[[sources.orders.routes]]\nname = 'r'\naction = 'queue_publish'\n{lines}");
    let input = Input::new("cfg").environment(environment).main("[outbound]\nallow_private = ['10.0.0.0/8']");
    let errors = input.tenant("acme", text).resolve().map(|_| ()).map_err(|errors| errors.to_string());
    errors.inspect_err(|text| assert!(!text.contains("PLANTED"), "{text}"))
}

#[test]
fn a_broker_is_named_by_its_url_which_is_a_secret_if_a_credential_is_in_it() {
    let secrets = [("R", REDIS), ("Q", "amqp://gw:PLANTED@10.0.0.1/%2f"), ("N", "tls://PLANTED@nats.example")];
    for lines in [
        "redis = { url = 'env:R', stream = 'orders' }",
        "redis = { url = 'rediss://redis.example:7000/2', stream = 'orders:{{ source }}', max_len = 1000 }\nbody = 'data'",
        "rabbitmq = { url = 'env:Q', exchange = 'events', routing_key = '{{ event_type }}' }\nheaders = { x-a = '{{ source }}' }",
        "rabbitmq = { url = 'env:Q', exchange = '', routing_key = 'queue' }",
        "rabbitmq = { url = 'env:Q', exchange = 'fanout' }",
        "nats = { url = 'env:N', subject = 'orders.{{ event_type }}' }",
    ] {
        assert_eq!(with(&secrets, lines), Ok(()), "{lines}");
    }
}

#[test]
fn what_cannot_work_is_refused_with_its_key_and_no_credential() {
    let secrets = [
        ("R", REDIS),
        ("HTTP", "https://gw:PLANTED@redis.example"),
        ("PLAIN", "nats://gw:PLANTED@93.184.216.34"),
        ("INSIDE", "tls://gw:PLANTED@192.168.1.1"),
    ];
    let prefix = "cfg/tenants/acme.toml:7: sources.orders.routes[0].";
    for (lines, key, words) in [
        ("redis = { url = 'env:R' }", "redis.stream", "is missing"),
        ("redis = { stream = 's' }", "redis.url", "is missing"),
        ("redis = { url = 'rediss://gw:PLANTED@r.example', stream = 's' }", "redis.url", "has a credential in it"),
        ("redis = { url = 'env:HTTP', stream = 's' }", "redis.url", "does not begin with redis:// or rediss://"),
        ("redis = { url = 'env:ABSENT', stream = 's' }", "redis.url", "`env:ABSENT`"),
        ("redis = { url = 'env:R', stream = 's', ca = 'env:CA' }", "redis.ca", "is not certificates in PEM"),
        ("redis = { url = 'env:R', stream = '{{ data.x' }", "redis", "stream: "),
        ("redis = { url = 'env:R', stream = 's', max_len = 0 }", "redis.max_len", "out of range"),
        ("redis = { url = 'env:R', stream = 's', subject = 'x' }", "redis.subject", "is not a known key"),
        ("rabbitmq = { url = 'amqps://q.example', exchange = '' }", "rabbitmq.routing_key", "is missing"),
        ("nats = { url = 'env:PLAIN', subject = 's' }", "nats.url", "without TLS at a public address"),
        ("nats = { url = 'env:INSIDE', subject = 's' }", "nats.url", "is a private address"),
        ("nats = { url = 'tls://n.example', subject = 'a.*' }", "nats", "subject: it is not a subject"),
    ] {
        let errors = with(&secrets, lines).unwrap_err();
        let place = format!("{prefix}{key}: ");
        assert!(errors.lines().any(|line| line.starts_with(&place) && line.contains(words)), "{lines}:\n{errors}");
    }
    let both = "redis = { url = 'env:R', stream = 's' }\nnats = { url = 'tls://n.example', subject = 's' }";
    assert!(with(&secrets, both).unwrap_err().contains("action: names 2 brokers"));
    let reserved = "redis = { url = 'env:R', stream = 's' }\nheaders = { event_id = 'x', nats-rollup = 'all' }";
    let errors = with(&secrets, reserved).unwrap_err();
    assert_eq!(errors.matches("is set by the gateway").count(), 2, "{errors}");
}

#[test]
fn a_url_with_a_credential_serves_one_tenant_and_an_authority_serves_all() {
    let certificate = rcgen::generate_simple_self_signed(vec!["redis.example".to_owned()]).expect("a certificate");
    let pem = certificate.cert.pem();
    let read = |url: &str| {
        let environment = Environment::fixed([("A", "one"), ("B", "two"), ("CA", &*pem), ("R", REDIS)]);
        let mut input = Input::new("cfg").environment(environment);
        for (name, secret) in [("a", "env:A"), ("b", "env:B")] {
            let text = format!(
                "[sources.s]\nvendor = 'generic'\nsecrets = ['{secret}']\n[[sources.s.routes]]\nname = 'r'\n\
                 action = 'queue_publish'\nredis = {{ url = '{url}', stream = 's', ca = 'env:CA' }}"
            );
            input = input.tenant(name, text);
        }
        input.resolve().map(|_| ()).map_err(|errors| errors.to_string())
    };
    assert_eq!(read("rediss://redis.example"), Ok(()));
    assert!(read("env:R").unwrap_err().contains("is the same secret as one of tenant `a`"));
}

#[test]
fn the_example_of_a_broker_is_understood() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/config/tenants/example.toml");
    let example = fs::read_to_string(file).expect("an example file");
    let block: Vec<&str> = example.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    let text = format!("{example}\n{}", block.join("\n"));
    let environment =
        Environment::fixed([("EXAMPLE_ORDERS_SECRET", "one"), ("EXAMPLE_RABBITMQ_URL", "amqps://u:p@q.example")]);
    let config = Input::new("cfg").environment(environment).tenant("example", text).resolve();
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let routes = &config.tenants.values().next().expect("a tenant").sources.values().next().expect("a source").routes;
    assert_eq!(routes.iter().map(|route| route.action.kind()).collect::<Vec<_>>(), ["log", "queue_publish"]);
}
