//! Who may do what. A handler takes an [`Allowed`] of the permission it needs, and the router is the
//! only one who makes them: a route without a permission does not compile, and a handler cannot run
//! for who does not have it.
//!
//! To add a permission: one line in `permissions!`. `docs/permissions.md` is made from them.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Serialize};
use sluice_actors::domain::{Mandate, TenantName};
use utoipa::ToSchema;

use super::{
    ApiError,
    records::{AuditEntry, Scope},
};

/// What somebody is to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A WordPress site: reads what became of jobs, asks for another try.
    Site,
    /// Sees all but payloads.
    Viewer,
    /// Also sees payloads and acts: pause, replay, release, cancel.
    Operator,
    /// Also decides who else may.
    Admin,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Site, Self::Viewer, Self::Operator, Self::Admin];

    /// The stored and shown word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or("a role is site, viewer, operator or admin")
    }
}

/// How somebody proved who they are.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// By the token in the data folder.
    DataFolder,
    /// By a token of the API.
    Token,
    /// By the cookie of a session; the digest under which it is kept and what else a change must
    /// present.
    Session {
        /// Of the cookie.
        digest: [u8; 32],
        /// To be sent back as a header, which another site's page cannot do.
        csrf: String,
        /// When it ends.
        expires_at: sluice_actors::domain::Timestamp,
    },
}

/// Who calls.
#[derive(Clone)]
pub struct Principal {
    /// The name in the audit: `user:…`, `token:…`.
    pub actor: String,
    /// What they are.
    pub role: Role,
    /// Whose objects they see.
    pub scope: Scope,
    /// How they proved it.
    pub proof: Proof,
}

/// What the router knows of a caller.
#[derive(Clone, Default)]
pub struct Caller {
    /// Who it is; none for a stranger.
    pub principal: Option<Principal>,
    /// Whether it may read metrics as a scraper: it presented the scrape token, or none is asked for.
    pub may_scrape: bool,
}

/// Whom a permission is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// Anyone who reaches the listener.
    Anyone,
    /// Scrapers, and who sees all tenants.
    Scrapers,
    /// Who has one of these roles, for the objects of their tenants.
    Roles(&'static [Role]),
    /// Who has one of these roles and sees all tenants: what it shows or changes is nobody's own.
    Whole(&'static [Role]),
}

/// A permission. Only this module has any.
pub trait Permission: sealed::Sealed + Send + Sync + 'static {
    /// Its name in documents.
    const NAME: &'static str;
    /// Whom it is for.
    const GRANT: Grant;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident = $grant:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}
            impl sealed::Sealed for $name {}
            impl Permission for $name {
                const NAME: &'static str = stringify!($name);
                const GRANT: Grant = $grant;
            }
        )*
    };
}

use Role::{Admin, Operator, Site, Viewer};

permissions! {
    /// Health, the console's own files, signing in.
    Public = Grant::Anyone;
    /// The scrape.
    Scrape = Grant::Scrapers;
    /// What everybody may know of themselves.
    SignedIn = Grant::Roles(&Role::ALL);
    /// What became of jobs.
    SeeJobs = Grant::Roles(&Role::ALL);
    /// Events, lanes, dead letters, sources: all but payloads.
    See = Grant::Roles(&[Viewer, Operator, Admin]);
    /// What is of no tenant: nodes, callees, the node's own state.
    SeeNode = Grant::Whole(&[Viewer, Operator, Admin]);
    /// What vendors sent, redacted.
    SeePayloads = Grant::Roles(&[Operator, Admin]);
    /// Who did what.
    SeeAudit = Grant::Roles(&[Operator, Admin]);
    /// Another try of one dead letter.
    RetryJobs = Grant::Roles(&[Site, Operator, Admin]);
    /// Pause, resume, probe, replay, release, cancel.
    Operate = Grant::Roles(&[Operator, Admin]);
    /// The prompt of a route on a stored event, and what the model makes of it.
    PreviewPrompts = Grant::Roles(&[Operator, Admin]);
    /// What to write for a new source, and where its URL goes.
    DraftSources = Grant::Roles(&[Operator, Admin]);
    /// A token that a vendor handed over: a secret, shown once.
    TakeHandshakes = Grant::Roles(&[Admin]);
    /// A secret that verifies no more, or verifies again.
    RevokeSecrets = Grant::Roles(&[Admin]);
    /// All that is kept of one subject, shown or erased for good.
    HandleSubjects = Grant::Roles(&[Admin]);
    /// The keys by which what is kept of a tenant is sealed: wrapped anew, made, erased for good.
    HandleKeys = Grant::Roles(&[Admin]);
    /// Users and tokens that may do no more than who makes them.
    ManageAccounts = Grant::Roles(&[Admin]);
    /// The configuration of the whole gateway.
    Configure = Grant::Whole(&[Admin]);
}

impl Grant {
    /// Whether `caller` has it.
    fn check(self, caller: &Caller) -> Result<(), ApiError> {
        let known = || caller.principal.as_ref().ok_or(ApiError::Unauthorized);
        let (roles, whole) = match self {
            Self::Anyone => return Ok(()),
            Self::Scrapers if caller.may_scrape => return Ok(()),
            Self::Scrapers => (&[Viewer, Operator, Admin][..], true),
            Self::Roles(roles) => (roles, false),
            Self::Whole(roles) => (roles, true),
        };
        let principal = known()?;
        if !roles.contains(&principal.role) {
            return Err(ApiError::Forbidden(format!("the role {} may not do this", principal.role)));
        }
        if whole && !matches!(principal.scope, Scope::All) {
            return Err(ApiError::Forbidden("this is for those who see all tenants".to_owned()));
        }
        Ok(())
    }
}

/// Proof that the caller has the permission `P`.
pub struct Allowed<P> {
    principal: Principal,
    permission: PhantomData<fn() -> P>,
}

impl<P: Permission> Allowed<P> {
    /// Only the router asks.
    pub(super) fn grant(caller: &Caller) -> Result<Self, ApiError> {
        P::GRANT.check(caller)?;
        let stranger = || Principal {
            actor: "anonymous".to_owned(),
            role: Site,
            scope: Scope::Tenants(Vec::new()),
            proof: Proof::Token,
        };
        Ok(Self { principal: caller.principal.clone().unwrap_or_else(stranger), permission: PhantomData })
    }

    /// Whether the caller has another permission too.
    pub(super) fn also<Q: Permission>(&self) -> bool {
        Q::GRANT.check(&Caller { principal: Some(self.principal.clone()), may_scrape: false }).is_ok()
    }

    /// Who it is.
    pub(super) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Whose objects they see.
    pub(super) fn scope(&self) -> &Scope {
        &self.principal.scope
    }

    /// The tenants they see, where not all.
    pub(super) fn tenants(&self) -> Option<Vec<TenantName>> {
        match self.scope() {
            Scope::All => None,
            Scope::Tenants(tenants) => Some(tenants.clone()),
        }
    }

    /// They ask for a change, for this reason.
    pub(super) fn mandate(&self, reason: &str) -> Mandate {
        Mandate::new(&self.principal.actor, reason)
    }

    /// The line of the audit for what they do to `object`.
    pub(super) fn acts(
        &self,
        action: &str,
        tenant: Option<&str>,
        object: impl fmt::Display,
        reason: &str,
    ) -> AuditEntry {
        AuditEntry {
            actor: self.principal.actor.clone(),
            action: action.to_owned(),
            tenant: tenant.map(ToOwned::to_owned),
            object: object.to_string(),
            reason: reason.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(role: Role, scope: Scope) -> Caller {
        let principal = Principal { actor: "token:x".into(), role, scope, proof: Proof::Token };
        Caller { principal: Some(principal), may_scrape: false }
    }

    fn ends<P: Permission>(caller: &Caller) -> &'static str {
        Allowed::<P>::grant(caller).map_or_else(|error| error.status().1, |_| "ok")
    }

    #[test]
    fn each_role_has_its_permissions_and_a_stranger_none() {
        let of = |role| {
            let caller = caller(role, Scope::All);
            [
                ends::<SeeJobs>(&caller),
                ends::<See>(&caller),
                ends::<SeePayloads>(&caller),
                ends::<RetryJobs>(&caller),
                ends::<Operate>(&caller),
                ends::<ManageAccounts>(&caller),
            ]
        };
        let no = "forbidden";
        assert_eq!(of(Site), ["ok", no, no, "ok", no, no]);
        assert_eq!(of(Viewer), ["ok", "ok", no, no, no, no]);
        assert_eq!(of(Operator), ["ok", "ok", "ok", "ok", "ok", no]);
        assert_eq!(of(Admin), ["ok"; 6]);
        let stranger = Caller::default();
        assert_eq!((ends::<SignedIn>(&stranger), ends::<Public>(&stranger)), ("unauthorized", "ok"));
    }

    #[test]
    fn what_is_of_no_tenant_is_for_those_who_see_all() {
        let own = Scope::Tenants(vec!["acme".parse().unwrap()]);
        assert_eq!(ends::<SeeNode>(&caller(Admin, own.clone())), "forbidden");
        assert_eq!(ends::<SeeNode>(&caller(Viewer, Scope::All)), "ok");
        assert_eq!(ends::<Scrape>(&caller(Admin, own)), "forbidden");
        assert_eq!(ends::<Scrape>(&Caller { may_scrape: true, ..Caller::default() }), "ok");
        assert_eq!(ends::<Scrape>(&Caller::default()), "unauthorized");
    }
}
