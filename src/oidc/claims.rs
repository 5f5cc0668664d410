//! What an ID token says of a person, and what they may do here for it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sluice_actors::domain::TenantName;

use crate::config::{Oidc, OidcRole};

/// Characters of a name that are taken over from the provider.
const NAME: usize = 48;

/// Somebody who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The provider's name for them, which it never gives to anybody else.
    pub subject: String,
    /// What to call them, and what to call them where somebody else has that name.
    pub names: [String; 2],
    /// What they are.
    pub role: OidcRole,
    /// The tenants they see; none: all.
    pub tenants: Option<Vec<TenantName>>,
}

/// Somebody who may not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} may not sign in: {why}")]
pub struct Refusal {
    /// The provider's name for them.
    pub subject: String,
    /// What to call them.
    pub name: String,
    /// Why, for operators.
    pub why: String,
}

/// The payload of a token that was verified.
pub(super) fn payload(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

/// Who may sign in by these claims.
pub(super) fn person(oidc: &Oidc, claims: &Value) -> Result<Person, Refusal> {
    let subject = claims["sub"].as_str().unwrap_or_default().to_owned();
    let names = names(oidc, claims, &subject);
    let refuse = |why: String| Refusal { subject: subject.clone(), name: names[0].clone(), why };
    // OpenID Connect Core §2: at most 255 characters.
    if subject.is_empty() || subject.len() > 255 {
        return Err(refuse("the provider names no subject, or a too long one".to_owned()));
    }
    if !oidc.domains.is_empty() && !oidc.domains.iter().any(|domain| is_of(claims, domain)) {
        return Err(refuse("their e-mail address is not verified, or of none of `admin.oidc.domains`".to_owned()));
    }
    if let Some((claim, _)) = oidc.require.iter().find(|(claim, value)| !holds(claims, claim, value)) {
        return Err(refuse(format!("the claim `{claim}` is not what `admin.oidc.require` asks for")));
    }
    let mut fitting = oidc.roles.iter().filter(|rule| holds(claims, &rule.claim, &rule.value));
    let Some(first) = fitting.next() else {
        return Err(refuse("none of `admin.oidc.roles` fits".to_owned()));
    };
    // The first that fits says which role; others of the same role add their tenants.
    let mut tenants = first.tenants.clone();
    for rule in fitting.filter(|rule| rule.role == first.role) {
        match (&mut tenants, &rule.tenants) {
            (Some(tenants), Some(more)) => tenants.extend(more.iter().cloned()),
            _ => tenants = None,
        }
    }
    if let Some(tenants) = &mut tenants {
        tenants.sort();
        tenants.dedup();
    }
    Ok(Person { subject, names, role: first.role, tenants })
}

/// Whether the claim is `value`, or holds it. An e-mail address counts only where it is verified.
fn holds(claims: &Value, claim: &str, value: &str) -> bool {
    if claim == "email" && !is_verified(claims) {
        return false;
    }
    match find(claims, claim) {
        Some(Value::Array(items)) => items.iter().any(|item| is(item, value)),
        Some(found) => is(found, value),
        None => false,
    }
}

fn is(found: &Value, value: &str) -> bool {
    match found {
        Value::String(text) => text == value,
        Value::Number(_) | Value::Bool(_) => serde_json::from_str(value).is_ok_and(|value: Value| value == *found),
        _ => false,
    }
}

/// The claim of this name; else what its dots lead to.
fn find<'a>(claims: &'a Value, claim: &str) -> Option<&'a Value> {
    claims.get(claim).or_else(|| claim.split('.').try_fold(claims, |value, key| value.get(key)))
}

fn is_verified(claims: &Value) -> bool {
    claims["email_verified"] == true
}

fn is_of(claims: &Value, domain: &str) -> bool {
    let of = claims["email"].as_str().and_then(|email| Some(email.rsplit_once('@')?.1));
    is_verified(claims) && of.is_some_and(|of| of.eq_ignore_ascii_case(domain))
}

/// What to call somebody. No user that is added by hand can be called so.
fn names(oidc: &Oidc, claims: &Value, subject: &str) -> [String; 2] {
    let told = ["preferred_username", "email"].iter().find_map(|claim| claims[claim].as_str());
    let fits = |c: char| if c.is_ascii_alphanumeric() || "._@-".contains(c) { c } else { '-' };
    let name: String = told.filter(|name| !name.is_empty()).unwrap_or(subject).chars().take(NAME).map(fits).collect();
    let digest = Sha256::digest(format!("{}\0{subject}", oidc.issuer));
    [format!("oidc:{name}"), format!("oidc:{name}-{}", hex::encode(&digest[..6]))]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{config::RoleRule, secrets::Secret};

    fn rule(claim: &str, value: &str, role: OidcRole, tenants: Option<&[&str]>) -> RoleRule {
        let tenants = tenants.map(|names| names.iter().map(|name| name.parse().unwrap()).collect());
        RoleRule { claim: claim.into(), value: value.into(), role, tenants }
    }

    fn oidc(roles: Vec<RoleRule>) -> Oidc {
        Oidc {
            label: "x".into(),
            issuer: "https://login.example.com".into(),
            client_id: "sluice".into(),
            client_secret: Secret::new(b"x".to_vec()),
            scopes: Vec::new(),
            domains: Vec::new(),
            require: Vec::new(),
            roles,
            callback: "https://gate.example.com/".parse().unwrap(),
        }
    }

    #[test]
    fn the_first_rule_gives_the_role_and_its_equals_add_tenants() {
        let oidc = oidc(vec![
            rule("groups", "root", OidcRole::Admin, None),
            rule("realm.roles", "acme-ops", OidcRole::Operator, Some(&["acme"])),
            rule("groups", "bravo-ops", OidcRole::Operator, Some(&["bravo"])),
            rule("groups", "all", OidcRole::Viewer, None),
        ]);
        let of = |claims: Value| person(&oidc, &claims).map(|found| (found.role, found.tenants.map(|t| t.len())));
        assert_eq!(of(json!({ "sub": "1", "groups": ["all", "root"] })), Ok((OidcRole::Admin, None)));
        let both = json!({ "sub": "1", "groups": ["bravo-ops", "all"], "realm": { "roles": ["acme-ops"] } });
        assert_eq!(of(both), Ok((OidcRole::Operator, Some(2))), "a viewer of all is no operator of all");
        assert_eq!(of(json!({ "sub": "1", "groups": "all" })), Ok((OidcRole::Viewer, None)));
        for none in [json!({ "sub": "1" }), json!({ "sub": "1", "groups": ["All", "roots"] }), json!({ "groups": {} })]
        {
            assert!(of(none.clone()).is_err(), "{none}");
        }
    }

    #[test]
    fn an_address_that_nobody_verified_opens_nothing() {
        let mut oidc = oidc(vec![rule("email", "ada@example.com", OidcRole::Admin, None)]);
        let may = |oidc: &Oidc, verified: Value| {
            person(oidc, &json!({ "sub": "1", "email": "ada@example.com", "email_verified": verified })).is_ok()
        };
        for (verified, expected) in
            [(json!(true), true), (json!(false), false), (Value::Null, false), (json!("true"), false)]
        {
            assert_eq!(may(&oidc, verified), expected);
        }
        oidc.domains = vec!["Example.com".into()];
        assert!(may(&oidc, json!(true)));
        oidc.domains = vec!["ample.com".into()];
        assert!(!may(&oidc, json!(true)));
        oidc.domains.clear();
        oidc.require = vec![("hd".into(), "example.com".into())];
        assert!(!may(&oidc, json!(true)));
    }

    #[test]
    fn a_name_of_the_provider_is_none_that_is_added_by_hand() {
        let oidc = oidc(vec![rule("groups", "all", OidcRole::Viewer, None)]);
        let names = |claims: Value| person(&oidc, &claims).unwrap().names;
        let of =
            |name: &str, subject: &str| names(json!({ "sub": subject, "preferred_username": name, "groups": ["all"] }));
        assert_eq!(of("ada", "1")[0], "oidc:ada");
        assert_eq!(of("a/b\n<c>é", "1")[0], "oidc:a-b--c--");
        assert_ne!(of("ada", "1")[1], of("ada", "2")[1]);
        assert_eq!(of("", "subject 7")[0], "oidc:subject-7");
    }
}
